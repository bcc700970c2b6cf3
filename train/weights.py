"""What a network starts from: nothing, LaVie's weights, an image model's, or those of an earlier run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor, nn

from schemas.document import DocumentError
from train.lavie import PUBLISHED_NAMES, read_published, used_weights
from train.lavie_config import SAME_NAME
from train.presets import TEMPORAL, Stage
from train.unet import VideoUNet, is_temporal

SPECS = "scratch, lavie:PATH, sd:FOLDER, x4:FOLDER, sd:FOLDER,x4:FOLDER or run:FOLDER"
IMAGE_MODELS: dict[str, tuple[Stage, ...]] = {"sd": ("base", "interpolation"), "x4": ("vsr",)}
"""Which stages an image model has the geometry of."""
# What must agree for weights of equal shapes to be the same function.
FUNCTIONAL = (
    "block_out_channels",
    "num_attention_heads",
    "norm_num_groups",
    "norm_eps",
    "flip_sin_to_cos",
    "freq_shift",
    "only_cross_attention",
    "act_fn",
    "mid_block_scale_factor",
)


@dataclass(frozen=True)
class Start:
    """Where a network's weights came from: parameter names, all dotted."""

    spec: str
    loaded: tuple[str, ...]
    fresh: tuple[str, ...]  # initialised at random (outputs at zero), since the source has none of that name
    unused: tuple[str, ...]  # in the source only

    def __str__(self) -> str:
        return f"{self.spec}: {len(self.loaded)} tensors loaded, {len(self.fresh)} fresh, {len(self.unused)} of the source unused"


def spec_for(spec: str, stage: Stage) -> str:
    """Which of several sources, joined by commas, is for a stage; of a folder of published checkpoints, which file.

    Raises:
        DocumentError: none is.
    """
    parts = [part.strip() for part in spec.split(",")]
    found = next((part for part in parts if stage in IMAGE_MODELS.get(part.partition(":")[0], (stage,))), None)
    if found is None:
        other = "x4:FOLDER (the x4 upscaler)" if stage == "vsr" else "sd:FOLDER (Stable Diffusion 1.4)"
        raise DocumentError(f"init = {spec!r} has no weights for the stage {stage}: add {other}, such as sd:FOLDER,x4:FOLDER")
    kind, _, path = found.partition(":")
    return f"{found}/{PUBLISHED_NAMES[stage]}" if kind == "lavie" and Path(path).is_dir() else found


def initialise(model: VideoUNet, spec: str, seed: int) -> Start:
    """Give a network its first weights, in place.

    Args:
        spec: `scratch`; `lavie:FILE` a published checkpoint; `sd:FOLDER` or `x4:FOLDER` an image UNet (or its whole pipeline)
            in diffusers' layout; `run:FOLDER` what an earlier run trained for this stage (interpolation may start from its
            base), or one network's folder.
        seed: of everything that the source does not have.

    Raises:
        DocumentError: an unknown spec, an unreadable source, or a source whose spatial weights are not those of this network.
    """
    kind, _, path = spec.partition(":")
    readers = {"lavie": _read_lavie, "sd": _read_image, "x4": _read_image, "run": _read_run}
    if spec != "scratch" and (kind not in readers or not path):
        raise DocumentError(f"init = {spec!r}: choose {SPECS}")
    config, weights = ({}, {}) if spec == "scratch" else readers[kind](Path(path), model)
    _check_same_function(model, config, spec)
    reset(model, seed)
    if spec != "scratch":
        return _load(model, weights, spec)
    # The answer begins at nothing: where a phase starts at a plain answer, a random one is many times what there is to add.
    for parameter in model.conv_out.parameters():
        nn.init.zeros_(parameter)
    return Start(spec, (), tuple(used_weights(model.state_dict())), ())


def reset(model: VideoUNet, seed: int) -> None:
    """Draw every weight anew, then silence the temporal outputs and the noise levels. The same seed gives the same weights; global state is untouched.

    Each noise level has a row of its own, which training meets seldom: drawn at random, it would be noise on the time embedding for long.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d | nn.GroupNorm | nn.LayerNorm | nn.Embedding):
                module.reset_parameters()
    if isinstance(model.class_embedding, nn.Embedding):
        nn.init.zeros_(model.class_embedding.weight)
    model.reset_temporal_outputs()


def inflate(image_unet_folder: Path | str, stage: Stage, seed: int = 0) -> VideoUNet:
    """The video network of a stage that, at its start, applies an image UNet to every frame of a clip.

    On a clip of one frame it equals the image model exactly. (On more, resnets share their statistics over frames.)

    Args:
        image_unet_folder: in diffusers' layout; Stable Diffusion 1.4's for base and interpolation, the x4 upscaler's for vsr.
        seed: of the temporal weights.
    """
    config, weights = _read_image(Path(image_unet_folder))
    levels = range(len(config["block_out_channels"]))
    temporal = TEMPORAL[stage] | ({"temporal_down": tuple(levels), "temporal_up": tuple(levels)} if stage == "vsr" else {})
    condition_channels = config["in_channels"] if stage == "interpolation" else 0
    model = VideoUNet(**config | temporal | {"in_channels": config["in_channels"] + condition_channels, "temporal_norm_groups": config["norm_num_groups"]})
    reset(model, seed)
    _load(model, weights, str(image_unet_folder))
    return model


def _read_lavie(path: Path, model: VideoUNet) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return {}, used_weights(read_published(path))


def _read_run(path: Path, model: VideoUNet) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config = model.config
    wider = ("interpolation", "base") if config["in_channels"] > config["out_channels"] else ("base",)
    stages = ("vsr",) if config["temporal_suffix"] == "temporal" else wider
    folder = _folder_with_config(path, *(f"{parent}{stage}" for stage in stages for parent in ("cascade/", "")))
    earlier = _from_folder(VideoUNet, folder)
    return dict(earlier.config), used_weights(earlier.state_dict())


def _read_image(path: Path, model: VideoUNet | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    folder = _folder_with_config(path, "unet")
    image_unet = _from_folder(UNet2DConditionModel, folder)
    return image_config(image_unet.config, str(folder)), image_unet.state_dict()


def _folder_with_config(path: Path, *inner: str) -> Path:
    folder = next((folder for folder in (path, *(path / name for name in inner)) if (folder / "config.json").is_file()), None)
    if folder is None:
        raise DocumentError(f"{path}: no config.json in it nor in {', '.join(inner)}; give a folder written by save_pretrained, or one that has it inside")
    return folder


def _from_folder(kind: Any, folder: Path) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        raise DocumentError(f"{folder}: not a {kind.__name__} that can be loaded ({str(error).strip().splitlines()[0]})") from error


def image_config(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """VideoUNet's spatial arguments for a diffusers image UNet.

    Raises:
        DocumentError: the image UNet has parts (several transformer layers, extra embeddings …) that the video network has not.
    """
    plain = {"act_fn": "silu", "downsample_padding": 1, "mid_block_scale_factor": 1, "mid_block_type": "UNetMidBlock2DCrossAttn"}
    plain |= {"transformer_layers_per_block": 1, "resnet_time_scale_shift": "default", "attention_type": "default", "time_embedding_type": "positional"}
    plain |= dict.fromkeys(("class_embed_type", "addition_embed_type", "encoder_hid_dim_type", "time_embedding_dim", "timestep_post_act"))
    plain |= dict.fromkeys(("dual_cross_attention", "class_embeddings_concat", "resnet_skip_time_act"), False)
    odd = sorted(name for name, value in plain.items() if config.get(name, value) != value)
    if odd:
        raise DocumentError(f"{source}: an image UNet with {odd[0]} = {config[odd[0]]!r} has no video form here; Stable Diffusion 1.x and the x4 upscaler do")
    ours = {name: config[name] for name in SAME_NAME}
    ours["num_attention_heads"] = config["attention_head_dim"]
    only_cross = config["only_cross_attention"]
    middle = config.get("mid_block_only_cross_attention")
    ours["middle_only_cross_attention"] = (only_cross if isinstance(only_cross, bool) else False) if middle is None else middle
    ours["down_attention"] = tuple("CrossAttn" in kind for kind in config["down_block_types"])
    ours["up_attention"] = tuple("CrossAttn" in kind for kind in config["up_block_types"])
    return ours


def _check_same_function(model: VideoUNet, config: Mapping[str, Any], spec: str) -> None:
    levels = len(model.config["block_out_channels"])
    for name in FUNCTIONAL:
        mine, theirs = (_spread(source.get(name), levels) for source in (model.config, config))
        if name in config and mine != theirs:
            raise DocumentError(f"init = {spec!r}: its {name} is {config[name]}, this network's is {model.config[name]}; choose the preset it was made with")


def _spread(value: Any, levels: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,) * levels


def _load(model: VideoUNet, weights: Mapping[str, Tensor], source: str) -> Start:
    """Load what both have. Only temporal parts may be missing or left over; new input channels start at zero weight."""
    mine = used_weights(model.state_dict())
    weights = dict(weights)
    if "conv_in.weight" in weights:
        weights["conv_in.weight"] = _widened(weights["conv_in.weight"], mine["conv_in.weight"].shape[1])
    missing = sorted(mine.keys() - weights.keys())
    unused = sorted(weights.keys() - mine.keys())
    strange = [key for key in (*missing, *unused) if not is_temporal(key)]
    strange += sorted(key for key in mine.keys() & weights.keys() if mine[key].shape != weights[key].shape)
    if strange:
        raise DocumentError(
            f"{source}: {len(strange)} spatial weights are missing, left over or of another shape; the first is {strange[0]}. Another preset or stage?"
        )
    loaded = {key: value for key, value in weights.items() if key in mine}
    model.load_state_dict(loaded, strict=False)
    return Start(source, tuple(sorted(loaded)), tuple(missing), tuple(unused))


def _widened(weight: Tensor, channels: int) -> Tensor:
    """(O, I, 3, 3) with zeros for the input channels beyond those there are."""
    extra = channels - weight.shape[1]
    return torch.cat([weight, weight.new_zeros(weight.shape[0], extra, *weight.shape[2:])], dim=1) if extra > 0 else weight
