"""LaVie's configurations: the published classes' arguments, checked and translated into VideoUNet's.

What a configuration asks for and the published code cannot run is refused, with a sentence that says why.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from train.presets import TEMPORAL, Stage

# Values that the published code can run: any other is refused.
FIXED = {
    "act_fn": ("silu", "swish", "mish"),
    "class_embed_type": (None, "timestep", "identity"),
    "dual_cross_attention": (False,),
    "mid_block_type": ("UNetMidBlock3DCrossAttn", "UNetMidBlock2DCrossAttn"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
}
# Arguments that diffusers, LaVie and VideoUNet call the same.
SAME_NAME = (
    "in_channels",
    "out_channels",
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "only_cross_attention",
    "use_linear_projection",
    "num_class_embeds",
    "class_embed_type",
    "act_fn",
    "resnet_time_scale_shift",
    "mid_block_scale_factor",
    "norm_num_groups",
    "norm_eps",
    "center_input_sample",
    "flip_sin_to_cos",
    "freq_shift",
    "downsample_padding",
)
# Names that change nothing: sizes that are only noted, precision that float32 has anyway, and what is read from the weights.
WITHOUT_EFFECT = ("sample_size", "upcast_attention", "max_noise_level", "freeze_pretrained_2d_upsampler")
ELSEWHERE = (
    "attention_head_dim",
    "down_block_types",
    "up_block_types",
    "down_temporal_idx",
    "mid_temporal",
    "up_temporal_idx",
    "temporal_module_config",
    "use_first_frame",
    "use_relative_position",
    "video_condition",
)
# Of `temporal_module_config`: the kinds of attention, and the names that are ours too.
KINDS = {"Spatial": "frame", None: "frame", "Temporal": "time", "CrossFrame": "frames", "SpatialTemporalShift": "shifted"}
MODULE_NAMES = {
    "num_attention_layers": "layers",
    "num_attention_head": "heads",
    "attention_head_dim": "head_channels",
    "attention_dim_div": "divisor",
    "temporal_shift_fold_div": "shifted_share",
    "attention_bias": "bias",
    "activation_fn": "activation",
    "norm_num_groups": "norm_groups",
    "use_linear_projection": "linear",
    "use_dcn_warpping": "deform",
}
CROSS_FRAME_MODES = ("0_i-1", "i-1_i", "0_i-1_i", "i-1_i_i+1")
BLOCKS = {"down": ("DownBlock3D", "CrossAttnDownBlock3D"), "up": ("UpBlock3D", "CrossAttnUpBlock3D")}
# Defaults of the published super-resolution class that differ from those of the other two and of ours.
VSR_DEFAULTS: dict[str, Any] = {
    "in_channels": 7,
    "block_out_channels": (256, 512, 512, 1024),
    "cross_attention_dim": 1024,
    "only_cross_attention": (True, True, True, False),
    "use_linear_projection": True,
    "num_class_embeds": 1000,
    "down_temporal_idx": (0, 1, 2),
    "up_temporal_idx": (0, 1, 2),
    "down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
    "up_block_types": ("CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "UpBlock3D"),
}
DEFAULTS: dict[str, Any] = {
    "cross_attention_dim": 1280,
    "down_block_types": ("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
}


def translate_config(config: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """VideoUNet's arguments for a configuration in the published code's names.

    Raises:
        ValueError: a switch is set to something the published code cannot run.
    """
    given = {**(VSR_DEFAULTS if stage == "vsr" else DEFAULTS), **config}
    _check_names(config, stage)
    ours = {name: given[name] for name in SAME_NAME if name in given}
    ours["num_attention_heads"] = given.get("attention_head_dim", 8)
    for way in BLOCKS:
        ours[f"{way}_attention"] = _with_attention(given[f"{way}_block_types"], way)
    sparse = stage != "base" and config.get("use_first_frame", False)  # the published base class takes the switch and ignores it
    ours |= TEMPORAL[stage] | {"temporal_init": "reference", "spatial_attention": "sparse_causal" if sparse else "full"}
    if stage == "vsr":
        ours["temporal_down"] = tuple(given["down_temporal_idx"])
        ours["temporal_middle"] = given.get("mid_temporal", False)
        ours["temporal_up"] = tuple(given["up_temporal_idx"])
        ours["temporal_condition"] = given.get("video_condition", False)
        module = config.get("temporal_module_config") or {}
        ours["temporal_scale"] = module.get("use_scale_shift", False)
        ours["temporal_attention"] = _attention_in_modules(module)
    return ours


def _check_names(config: Mapping[str, Any], stage: Stage) -> None:
    """Refuse values that no published network can have; say which names are none of the published classes'."""
    for name, allowed in FIXED.items():
        if name in config and config[name] not in allowed:
            raise ValueError(f"config {name} = {config[name]!r}: the published code only runs {', '.join(map(repr, allowed))}")
    if config.get("downsample_padding") == 0 and len(config.get("down_block_types", DEFAULTS["down_block_types"])) > 1:
        raise ValueError("config downsample_padding = 0: the published code cannot halve a size without padding")
    heads = config.get("attention_head_dim", 8)
    if stage == "interpolation" and config.get("use_relative_position", False) and set(heads if isinstance(heads, Sequence) else [heads]) != {1}:
        raise ValueError("config use_relative_position = True: the published interpolation network has no positions over time; set it to false")
    unknown = sorted(name for name in config.keys() - {*FIXED, *SAME_NAME, *WITHOUT_EFFECT, *ELSEWHERE} if not name.startswith("_"))
    if unknown:
        warnings.warn(f"config: {', '.join(unknown)} is no argument of the published networks, and is ignored", stacklevel=4)


def _with_attention(kinds: Sequence[str], way: str) -> tuple[bool, ...]:
    """Which of a configuration's blocks have transformers; the published code also takes names that begin with UNetRes."""
    kinds = [kind.removeprefix("UNetRes") for kind in kinds]
    strange = next((kind for kind in kinds if kind not in BLOCKS[way]), None)
    if strange is not None:
        raise ValueError(f"config {way}_block_types: {strange!r} is not one of {', '.join(BLOCKS[way])}")
    return tuple(kind == BLOCKS[way][1] for kind in kinds)


def _attention_in_modules(module: Mapping[str, Any]) -> dict[str, Any] | None:
    """`ModuleAttention` for a `temporal_module_config`; None where both of its attentions are left empty, as they were released."""
    first, second = module.get("attention_block_types") or ("", "")
    if first == second == "":
        return None
    name = "config temporal_module_config"
    if second == "" or not {first, second} <= {"", *KINDS}:
        kinds = ", ".join(map(repr, KINDS))
        raise ValueError(f"{name}.attention_block_types = {[first, second]}: the second must be one of {kinds}, the first one of them or empty")
    seen = module.get("cross_frame_attention_mode")
    if "CrossFrame" in (first, second) and seen not in CROSS_FRAME_MODES:
        raise ValueError(f"{name}.cross_frame_attention_mode = {seen!r}: the published code only runs {', '.join(CROSS_FRAME_MODES)}")
    if "SpatialTemporalShift" in (first, second) and module.get("temporal_shift_direction") != "right":
        raise ValueError(f"{name}.temporal_shift_direction = {module.get('temporal_shift_direction')!r}: the published code only runs 'right'")
    if module.get("use_dcn_warpping") and not module.get("use_deformable_conv"):
        raise ValueError(f"{name}.use_dcn_warpping: the published code cannot run it without use_deformable_conv")
    told = {ours: module[theirs] for theirs, ours in MODULE_NAMES.items() if module.get(theirs) is not None}
    seen_frames = tuple(seen.split("_")) if seen in CROSS_FRAME_MODES else ()
    return told | {"kinds": (None if first == "" else KINDS[first], KINDS[second]), "seen": seen_frames}
