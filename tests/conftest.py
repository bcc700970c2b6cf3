"""What every test may ask for: the shared footage with truth labels (absent for most people), and quiet libraries."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from curate.embedding.model_list import PUBLISHED_PREDICTORS, Model

os.environ.setdefault("HF_HUB_OFFLINE", "1")
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("searching", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ROOT = Path(__file__).resolve().parents[1]


def shared_folder() -> Path | None:
    """The folder with truth-labelled footage, beside the checkout or named by CLIPMILL_SHARED."""
    candidates = [os.environ.get("CLIPMILL_SHARED"), str(ROOT.parent / "shared")]
    return next((Path(path) for path in candidates if path and (Path(path) / "media").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder (media/, lavie/, weights/); skips with a reason where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("the shared footage with truth labels is not on this machine (set CLIPMILL_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def shared_media(shared: Path) -> Path:
    """The truth-labelled footage."""
    return shared / "media"


@pytest.fixture(scope="session")
def made_footage(tmp_path_factory) -> Path:
    """A folder of small generated films: two shots with a cut, one moving shot, a still picture held, and a file that is no video."""
    import ffmpeg
    import imageio_ffmpeg

    folder = tmp_path_factory.mktemp("footage")
    size, rate = "320x180", 24

    def generated(name: str, seconds: float):
        return ffmpeg.input(f"{name}=size={size}:rate={rate}", f="lavfi", t=seconds)

    films = {
        "two shots.mp4": ffmpeg.concat(generated("testsrc2", 1.5), generated("mandelbrot", 1.5)),
        "moving.mp4": generated("mandelbrot", 2),
        "still.mp4": ffmpeg.input(f"color=c=gray:size={size}:rate={rate}", f="lavfi", t=1.5),
    }
    for name, stream in films.items():
        made = ffmpeg.output(stream, str(folder / name), vcodec="libx264", crf=20, preset="ultrafast", pix_fmt="yuv420p", threads=1, loglevel="error")
        made.run(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    (folder / "broken.mp4").write_bytes(b"this is no video")
    return folder


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of models with small stand-ins for those that no wheel ships, which the registry names for the session.

    Architectures, layouts and readers are the real ones; only sizes are small, and weights are drawn at random.
    """
    from curate import models

    folder, before = tmp_path_factory.mktemp("models"), models.MODELS
    _small_clip(folder / "clip-vit-l-14")
    _small_heads(folder)
    _small_published(folder, (each.name for each in PUBLISHED_PREDICTORS))
    models.MODELS = tuple(_as_found(each, folder) for each in before)
    yield folder
    models.MODELS = before


def _small_clip(folder: Path) -> None:
    """CLIP of two layers and 768 dimensions, as transformers saves it to the hub."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 768}
    text, vision = CLIPTextConfig(**sizes, eos_token_id=49407), CLIPVisionConfig(**sizes, image_size=56, patch_size=14)
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=768)).save_pretrained(folder)


def improved_head(wide: int, relu: bool) -> Any:
    """The improved predictor's layers as its authors and simple-aesthetics-predictor define them, drawn at random."""
    from torch import nn

    between = [*([nn.ReLU()] if relu else []), nn.Dropout(0.2)]
    parts = [nn.Linear(wide, 1024), *between, nn.Linear(1024, 128), *between, nn.Linear(128, 64), *between, nn.Linear(64, 16)]
    return nn.Sequential(*parts, *([nn.ReLU()] if relu else []), nn.Linear(16, 1))


def _small_heads(folder: Path) -> None:
    """LAION's aesthetic heads, as LAION saves them: stacks of linear layers, and a single one."""
    import torch

    torch.manual_seed(1)
    heads = {
        "laion-aesthetic-v2/sac+logos+ava1-l14-linearMSE.pth": torch.nn.ModuleDict({"layers": improved_head(768, relu=False)}),
        "laion-aesthetic-v2-ava/ava+logos-l14-linearMSE.pth": torch.nn.ModuleDict({"layers": improved_head(768, relu=False)}),
        "laion-aesthetic-v2-ava-relu/ava+logos-l14-reluMSE.pth": torch.nn.ModuleDict({"layers": improved_head(768, relu=True)}),
        "laion-aesthetic-v1/sa_0_4_vit_l_14_linear.pth": torch.nn.Linear(768, 1),
    }
    for name, head in heads.items():
        (folder / name).parent.mkdir()
        torch.save(dict(head.state_dict()), folder / name)


def _small_published(folder: Path, names: Iterable[str]) -> None:
    """Checkpoints as simple-aesthetics-predictor pushes them: CLIP's picture half with the head beside it, and code that nobody is to run."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        wide = 512 if "base" in name else 768
        config = CLIPVisionConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14, projection_dim=wide
        )
        head = {"predictor": torch.nn.Linear(wide, 1)} if "-v1-" in name else {"layers": improved_head(wide, relu="relu" in name)}
        tensors = {**CLIPVisionModelWithProjection(config).state_dict(), **torch.nn.ModuleDict(head).state_dict()}
        tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        told = {**config.to_dict(), "model_type": "aesthetics_predictor", "auto_map": {"AutoModel": "modeling_v1.AestheticsPredictorV1"}}
        (folder / name).mkdir()
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / name / "model.safetensors")
        (folder / name / "config.json").write_text(json.dumps(told))
        (folder / name / "modeling_v1.py").write_text("raise SystemExit('code from a repository was run')")


def _as_found(model: Model, folder: Path) -> Model:
    """The registry's entry with the sizes and digests of the files in the folder, where it has any."""
    files = [folder / model.name / file.name for file in model.files]
    if not files[0].is_file():
        return model
    told = zip(model.files, (path.read_bytes() for path in files), strict=True)
    return replace(model, files=tuple(replace(file, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()) for file, data in told))
