"""Quality against the truth and over time, on clips whose order is known."""

from pathlib import Path

import numpy as np
import pytest

from schemas.document import DocumentError
from train.evaluate import score_cascade
from train.features import EmbeddedFeatures, VideoFeatures
from train.quality import flicker, lpips, perceptual_distance, psnr, ssim, temporal_consistency


def moving(seed: int = 0, noise: float = 0.0) -> np.ndarray:
    """A disc that moves over a ramp, with noise on every frame."""
    chance = np.random.default_rng(seed)
    down, across = np.mgrid[:64, :64]
    frames = [np.where(np.hypot(across - 16 - 4 * t, down - 32)[..., None] < 12, (220, 60, 40), across[..., None] * (1, 2, 1)) for t in range(6)]
    return np.clip(np.stack(frames) + chance.normal(0, noise, (6, 64, 64, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> EmbeddedFeatures:
    return EmbeddedFeatures()


def test_more_noise_is_worse_by_every_measure_against_the_truth(model: EmbeddedFeatures):
    true, slight, strong = moving(), moving(1, 4.0), moving(1, 30.0)
    assert psnr(true, true) == 100.0
    assert psnr(slight, true) > psnr(strong, true) > 10
    assert ssim(true, true) == pytest.approx(1.0, abs=1e-5)
    assert ssim(slight, true) > ssim(strong, true)
    assert perceptual_distance(model, true, true) == pytest.approx(0, abs=1e-9)
    assert perceptual_distance(model, slight, true) < perceptual_distance(model, strong, true)


def test_psnr_is_the_formula():
    dark, light = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 16, np.uint8)
    assert psnr(dark, light) == pytest.approx(20 * np.log10(255 / 16))


def test_flicker_and_consistency_tell_shuffled_frames(model: EmbeddedFeatures):
    clip = moving()
    shuffled = clip[[3, 0, 5, 1, 4, 2]]
    assert flicker(clip) < flicker(shuffled)
    assert temporal_consistency(model, clip) > temporal_consistency(model, shuffled)
    assert flicker(clip[:1]) == 0
    assert temporal_consistency(model, clip[:1]) == 1


def test_alignment_prefers_the_right_caption(model: EmbeddedFeatures, shared_media: Path):
    import av

    with av.open(str(next(shared_media.glob("raw/*01_dog*")))) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for _, frame in zip(range(3), container.decode(video=0))])
    assert model.alignment(frames, "a dog runs over the grass") > model.alignment(frames, "a red sports car on a race track")


def test_lpips_is_left_out_where_its_weights_are_not():
    clip = moving()
    found = lpips(clip, clip)
    assert found is None or found == pytest.approx(0, abs=1e-6)


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(DocumentError, match="is not a folder"):
        VideoFeatures("/nowhere/videomae")


def test_a_cascade_is_scored_at_every_stage(trained: Path, held_out_shards: Path):
    table = score_cascade(trained, str(held_out_shards), most_clips=3, steps=2)
    found = {(row["stage"], row["metric"]): row for row in table.to_pylist()}
    assert {stage for stage, _ in found} == {"base", "interpolation", "vsr"}
    assert found["base", "frechet_clips"]["model"] == "efficientnet-lite0"
    assert found["interpolation", "psnr"]["count"] == 3
    losses = [found["vsr", f"held_out_loss_at_{level}"] for level in (100, 300, 500, 700, 900)]
    assert all(row["count"] == 3 and row["low"] < row["high"] for row in losses)
    for stage in ("interpolation", "vsr"):
        gain = found[stage, "psnr"]["value"] - found[stage, "psnr_of_plain"]["value"]
        assert found[stage, "psnr_gain"]["value"] == pytest.approx(gain)
    assert all(row["low"] <= row["value"] <= row["high"] for row in found.values() if row["metric"] not in ("frechet_frames", "frechet_clips", "kernel_clips"))
