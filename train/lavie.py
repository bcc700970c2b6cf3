"""LaVie's published checkpoints: read, checked, and written back.

The layout is our own (the key map is the identity), so there is little to convert: the configuration's names
(train/lavie_config.py), the `ema` wrapper, and constants that some files carry and others do not.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.document import DocumentError
from train.lavie_config import translate_config
from train.presets import Stage, unet_config
from train.unet import VideoUNet

PUBLISHED_NAMES: dict[str, str] = {stage: f"lavie_{stage}.pt" for stage in ("base", "interpolation", "vsr")}
"""The files that were released, in one folder."""


def stage_of(state_dict: Mapping[str, Tensor]) -> Stage:
    """Which of the three networks a state dict belongs to, told by the names of its temporal attention."""
    if any(".attn_temporal." in key for key in state_dict):
        return "vsr"
    if any(".attn_temp.time_rel_pos_bias." in key for key in state_dict):
        return "base"
    if any(".attn_temp." in key for key in state_dict):
        return "interpolation"
    raise ValueError("these weights have no temporal attention (keys with attn_temp or attn_temporal), so they are not LaVie's")


def from_recording(config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> VideoUNet:
    """The network that a configuration in the published code's names and its weights describe, in eval mode.

    Which of the three stages it is follows from the weights; every width, depth and number of heads from the configuration.
    Where that does not say whether temporal modules see the low-resolution frames, the weights do.

    Args:
        config: in the names of the published classes' arguments; what is missing has their defaults.
        state_dict: weights in the published layout. `rotary_emb.freqs` may be missing.

    Raises:
        ValueError: a switch the published code cannot run, or weights that do not fit the configuration.

    Names of the configuration that the published classes do not have are ignored, with a warning that says so.
    """
    stage = stage_of(state_dict)
    if stage == "vsr":
        config = {"video_condition": any(".v_cond_conv." in key for key in state_dict), **config}
    return _loaded(translate_config(config, stage), state_dict, "the recorded weights")


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
