"""Frozen encoders: each part of the cascade works in the latent space it was published with, in tiles where pictures are large."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from train.cascade import open_cascade
from train.encoders import LatentSpace, TextFeatures, open_encoders, open_latent_space, published_folder
from train.loop import train


def toy_autoencoder(levels: int, sample_size: int = 32) -> AutoencoderKL:
    """Stable Diffusion's kind of autoencoder, of a few thousand weights."""
    torch.manual_seed(levels)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    return AutoencoderKL(**kinds, block_out_channels=(8,) * levels, norm_num_groups=4, layers_per_block=1, latent_channels=4, sample_size=sample_size).eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user fills it: Stable Diffusion's autoencoder (a factor of 8), and the upscaler's (a factor of 4)."""
    folder = tmp_path_factory.mktemp("models")
    toy_autoencoder(4).save_pretrained(folder / "vae")
    toy_autoencoder(3).save_pretrained(folder / "upscaler" / "vae")
    return folder


def run_in(models: Path | None, shards: Path | str = "", *phases: Phase) -> TrainingRun:
    chosen = phases or (Phase(task="text_to_video", steps=1),)
    return TrainingRun(name="toy", shards=str(shards), latent="stable-diffusion", models=str(models) if models else None, phases=chosen)


def test_super_resolution_works_in_the_upscalers_latent_space_and_the_others_in_stable_diffusions(models: Path) -> None:
    run = run_in(models)
    assert [open_latent_space(run, component).downscale for component in ("base", "interpolation", "vsr")] == [8, 8, 4]
    assert published_folder(run, "base") == str(models) and published_folder(run, "vsr") == str(models / "upscaler")


def test_without_the_upscalers_folder_all_parts_share_one_space(models: Path, tmp_path: Path) -> None:
    (tmp_path / "vae").symlink_to(models / "vae")
    assert open_latent_space(run_in(tmp_path), "vsr").downscale == 8
    with pytest.raises(DocumentError, match="needs published weights: set `models`"):
        open_encoders(run_in(None), "vsr", torch.device("cpu"), tmp_path / "autoencoder")


def test_a_cascade_over_published_spaces_is_trained_and_sampled(models: Path, shards: Path, tmp_path: Path) -> None:
    base = Phase(task="text_to_video", steps=1, batch=1, frames=2, height=32, width=32)
    upscale = Phase(task="upscale", steps=1, batch=1, frames=2, height=32, width=32)
    cascade = open_cascade(train(run_in(models, shards, base, upscale), tmp_path / "model"))
    assert cascade("a square", steps=1).shape == (2, 128, 128, 3)
    assert cascade.vsr.config["in_channels"] == 4 + 3 and cascade.latents.downscale == 8


def test_the_exact_space_loses_nothing_and_makes_fine_patterns_as_loud_as_coarse_ones() -> None:
    space = open_latent_space(TrainingRun(name="exact", latent="exact", phases=(Phase(task="text_to_video", steps=1),)))
    clip = torch.rand(1, 3, 2, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = space.encode(clip)
    assert latents.shape == (1, 12, 2, 4, 6)
    assert torch.allclose(space.decode(latents), clip, atol=1e-5)
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 1, 64, 64)
    flat, across = space.encode(ramp)[0, 0].abs().mean().item(), space.encode(ramp)[0, 1].abs().mean().item()
    assert 0.5 < flat < 2 and 0.1 < across < 1


def test_phases_in_latent_spaces_of_their_own_make_one_cascade(shards: Path, tmp_path: Path) -> None:
    exact = {"prediction": "flow", "start": "plain", "timesteps": "last", "latent": "exact"}
    base = Phase(task="text_to_video", steps=1, batch=1, frames=2, height=16, width=16)
    between = Phase(task="interpolate", steps=1, batch=1, frames=5, height=16, width=16, keys="both", **exact)
    upscale = Phase(task="upscale", steps=1, batch=1, frames=2, height=32, width=32, noise_level=10, **exact)
    folder = train(TrainingRun(name="mixed", shards=str(shards), phases=(base, between, upscale)), tmp_path / "model")
    cascade = open_cascade(folder)
    assert [cascade.space_of(stage).channels for stage in ("base", "interpolation", "vsr")] == [8, 12, 12]
    assert cascade.interpolation.config["in_channels"] == 36
    assert cascade("a square", steps=1).shape == (5, 64, 64, 3)
    cascade.save_pretrained(tmp_path / "again")
    assert (open_cascade(tmp_path / "again")("a square", steps=1) == cascade("a square", steps=1)).all()


def test_large_pictures_are_coded_in_tiles_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder = toy_autoencoder(3)
    widest: list[int] = []
    decode = autoencoder.decoder.forward
    monkeypatch.setattr(autoencoder.decoder, "forward", lambda latents, *rest: (widest.append(latents.shape[-1]), decode(latents, *rest))[1])
    latents = torch.randn(1, 4, 1, 24, 24)
    whole = LatentSpace(autoencoder).decode(latents)
    tiled = LatentSpace(autoencoder).in_tiles().decode(latents)
    assert whole.shape == tiled.shape == (1, 3, 1, 96, 96)
    assert widest[0] == 24 and len(widest) > 2 and max(widest[1:]) <= 8
    assert (whole - tiled).abs().mean() < 0.5 * whole.std()


def test_captions_not_used_for_longest_are_forgotten_and_encoded_alike_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.encoders.KNOWN_CAPTIONS", 2)
    text, encoded = TextFeatures(), []
    features = text._features
    monkeypatch.setattr(text, "_features", lambda caption: encoded.append(caption) or features(caption))
    first = text.encode(["a", "b"])
    text.encode(["a", "c", "a"])
    again = text.encode(["b", "c"])
    assert encoded == ["a", "b", "c", "b"]
    assert torch.equal(first[1], again[0])
