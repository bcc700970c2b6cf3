"""LaVie's published checkpoints and configurations: read, checked, and written back.

The layout is our own (the key map is the identity), so there is little to convert: the configuration's names, the `ema`
wrapper, and constants that some files carry and others do not.
"""

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.document import DocumentError
from train.presets import TEMPORAL, Stage, unet_config
from train.unet import VideoUNet

# Switches with one value that the published code can run, or that a released network has: any other is refused.
FIXED = {
    "act_fn": ("silu", "swish", "mish"),
    "class_embed_type": (None, "timestep", "identity"),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "mid_block_type": ("UNetMidBlock3DCrossAttn", "UNetMidBlock2DCrossAttn"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "video_condition": (False,),
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
)
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


def stage_of(state_dict: Mapping[str, Tensor]) -> Stage:
    """Which of the three networks a state dict belongs to, told by the names of its temporal attention."""
    if any(".attn_temporal." in key for key in state_dict):
        return "vsr"
    if any(".attn_temp.time_rel_pos_bias." in key for key in state_dict):
        return "base"
    if any(".attn_temp." in key for key in state_dict):
        return "interpolation"
    raise ValueError("these weights have no temporal attention (keys with attn_temp or attn_temporal), so they are not LaVie's")


def translate_config(config: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """VideoUNet's arguments for a configuration in the published code's names.

    Raises:
        ValueError: a switch is set to something the published networks never use.
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
        _check_temporal_module(config.get("temporal_module_config") or {})
    return ours


def _check_names(config: Mapping[str, Any], stage: Stage) -> None:
    """Refuse values that no published network can have; say which names are none of the published classes'."""
    for name, allowed in FIXED.items():
        if name in config and config[name] not in allowed:
            raise ValueError(f"config {name} = {config[name]!r}: the published networks only use {', '.join(map(repr, allowed))}, and so does this one")
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


def _check_temporal_module(module_config: Mapping[str, Any]) -> None:
    if any(module_config.get("attention_block_types", ())):
        raise ValueError("config temporal_module_config.attention_block_types: the published network has no attention there, so leave both empty")
    if module_config.get("use_scale_shift", False):
        raise ValueError("config temporal_module_config.use_scale_shift: the published network adds, it does not scale; set it to false")


def from_recording(config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> VideoUNet:
    """The network that a configuration in the published code's names and its weights describe, in eval mode.

    Which of the three stages it is follows from the weights; every width, depth and number of heads from the configuration.

    Args:
        config: in the names of the published classes' arguments; what is missing has their defaults.
        state_dict: weights in the published layout. `rotary_emb.freqs` may be missing.

    Raises:
        ValueError: a switch the published networks never use, or weights that do not fit the configuration.

    Names of the configuration that the published classes do not have are ignored, with a warning that says so.
    """
    return _loaded(translate_config(config, stage_of(state_dict)), state_dict, "the recorded weights")


def used_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights the network computes with: without the rotary constants, and without a table the published code makes but never reads."""
    return {key: value for key, value in state_dict.items() if not key.endswith("rotary_emb.freqs") and not key.startswith("time_rel_pos_bias.")}


def read_published(path: Path | str) -> dict[str, Tensor]:
    """The weights in a published .pt file: its `ema` if it has one, else the file itself. Runs no code from the file.

    Raises:
        DocumentError: no such file, or not a dictionary of tensors.
    """
    if not Path(path).is_file():
        raise DocumentError(f"{path}: no such file; give the path of a LaVie checkpoint, such as lavie_base.pt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise DocumentError(f"{path}: not a PyTorch file that can be read safely ({str(error).splitlines()[0]})") from error
    if isinstance(content, dict) and isinstance(content.get("ema"), dict):
        content = content["ema"]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise DocumentError(f"{path}: expected a dictionary of tensors, or one under the key 'ema', as LaVie's checkpoints are")
    return content


def load_published(path: Path | str, stage: Stage, config: Mapping[str, Any] | None = None) -> VideoUNet:
    """A published checkpoint as a network in eval mode.

    Args:
        config: VideoUNet's arguments; by default the full-size published network of the stage.

    Raises:
        DocumentError: the file is of another stage, or keys or shapes are not those of the network.
    """
    weights = read_published(path)
    if config is None:
        config = unet_config("lavie", stage)
        found = stage_of(weights)
        if found != stage:
            raise DocumentError(f"{path}: these are the weights of the {found} stage, not of {stage}")
    return _loaded(config, weights, str(path))


def export_published(model: VideoUNet, path: Path | str) -> None:
    """Write a network's weights in the published layout, under `ema`, where LaVie's own code looks for them. Atomic."""
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    partial = Path(f"{path}.partial")
    torch.save({"ema": weights}, partial)
    partial.replace(path)


def _loaded(config: Mapping[str, Any], state_dict: Mapping[str, Tensor], source: str) -> VideoUNet:
    weights = used_weights(state_dict)
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in used_weights(VideoUNet(**config).state_dict()).items()}
    wrong = sorted(shapes.keys() ^ weights.keys()) or sorted(key for key, shape in shapes.items() if tuple(weights[key].shape) != shape)
    if wrong:
        raise DocumentError(f"{source}: {len(wrong)} keys or shapes differ from the network the configuration describes; the first is {wrong[0]}")
    model = VideoUNet(**config)
    model.load_state_dict(weights)
    return model.eval()
