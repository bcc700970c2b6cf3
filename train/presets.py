"""Presets: the sizes of network offered, as data. `lavie` is the published one; the others are the same code, smaller.

The small ones have no published weights to agree with, so their interpolation stage keeps the base's order, positions and
spatial attention: a base model starts it whole, where LaVie's own must throw part of it away. Their frames are numbered, since
attention over time gives equal frames equal answers, and at the highest noise levels frames differ by their noise alone.
"""

from typing import Any, Literal

Preset = Literal["tiny", "compact", "lavie"]
Stage = Literal["base", "interpolation", "vsr"]
STAGES: dict[str, str] = {"base": "text_to_video", "interpolation": "interpolate", "vsr": "upscale"}
"""The stages of the cascade in order, each with the task that trains it."""

# How time enters the published network of each stage, whatever its size.
TEMPORAL: dict[str, dict[str, Any]] = {
    "base": {},
    "interpolation": {"spatial_attention": "sparse_causal", "temporal_position": "after_ff", "temporal_encoding": "none"},
    "vsr": {"temporal_suffix": "temporal", "temporal_resblocks": True, "temporal_middle": True},
}

_SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "base": {
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_attention": (True, True),
            "num_attention_heads": 2,
            "norm_num_groups": 8,
            "frame_positions": True,
            "place_positions": True,
            "text_summary": True,
        },
        "vsr": {
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_attention": (False, True),
            "num_attention_heads": 2,
            "norm_num_groups": 8,
            "frame_positions": True,
            "use_linear_projection": True,
            "num_class_embeds": 1000,
            "temporal_down": (0, 1),
            "temporal_up": (0, 1),
            "temporal_norm_groups": 8,
        },
    },
    "compact": {
        "base": {
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "down_attention": (True, True, True, False),
            "num_attention_heads": (4, 4, 8, 8),
            "frame_positions": True,
        },
        "vsr": {
            "block_out_channels": (128, 256, 256, 512),
            "layers_per_block": 1,
            "down_attention": (False, True, True, True),
            "num_attention_heads": (2, 4, 4, 8),
            "frame_positions": True,
            "only_cross_attention": (True, True, True, False),
            "use_linear_projection": True,
            "num_class_embeds": 1000,
            "temporal_down": (0, 1, 2, 3),
            "temporal_up": (0, 1, 2, 3),
        },
    },
    "lavie": {
        "base": {"cross_attention_dim": 768},
        "interpolation": {"cross_attention_dim": 768, **TEMPORAL["interpolation"]},
        "vsr": {
            "block_out_channels": (256, 512, 512, 1024),
            "down_attention": (False, True, True, True),
            "cross_attention_dim": 1024,
            "only_cross_attention": (True, True, True, False),
            "use_linear_projection": True,
            "num_class_embeds": 1000,
            "temporal_down": (0, 1, 2, 3),
            "temporal_up": (0, 1, 2, 3),
        },
    },
}


def unet_config(preset: Preset, stage: Stage, latent_channels: int = 4, text_channels: int | None = None, keys: int = 1) -> dict[str, Any]:
    """VideoUNet's arguments for a preset and a stage.

    Args:
        latent_channels: of the autoencoder; noisy input and prediction have as many. Interpolation adds as many of condition for
            each key frame that a frame is shown, super-resolution three of low-resolution RGB at the size of the latents.
        text_channels: of the text encoder; by default the preset's own (384, MiniLM's, for tiny and compact).
        keys: how many key frames interpolation shows with each frame.

    Raises:
        ValueError: no such preset or stage.
    """
    if preset not in _SIZES:
        raise ValueError(f"preset {preset!r}: choose one of {', '.join(_SIZES)}")
    if stage not in ("base", "interpolation", "vsr"):
        raise ValueError(f"stage {stage!r}: choose one of base, interpolation, vsr")
    sizes = _SIZES[preset]
    config = {"cross_attention_dim": 384, **sizes.get(stage, sizes["base"])}
    if stage == "vsr":
        config |= TEMPORAL["vsr"]
    if text_channels is not None:
        config["cross_attention_dim"] = text_channels
    condition_channels = {"base": 0, "interpolation": keys * latent_channels, "vsr": 3}[stage]
    return config | {"in_channels": latent_channels + condition_channels, "out_channels": latent_channels}
