"""Latents kept beside the shards train to the same losses, decode nothing again, and go with a clip that is taken down."""

import json
from pathlib import Path

import numpy as np
import pytest

from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from tests.train.conftest import make_shards
from train import frames
from train.data import ClipReader
from train.encoders import Encoders, open_latent_space, open_text
from train.latents import LatentCache
from train.loop import train
from train.shards import Shards

BASE = Phase(task="text_to_video", steps=3, batch=2, frames=4, height=16, width=16, images=1, stride=(1, 3), crop="centre")
BETWEEN = Phase(task="interpolate", steps=2, batch=2, frames=5, height=16, width=16, crop="centre", latent="exact")


def run_on(folder: Path, cache: bool, *phases: Phase) -> TrainingRun:
    return TrainingRun(name="kept", shards=str(folder), cache=cache, phases=phases or (BASE, BETWEEN))


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line]


def encoders(run: TrainingRun, component: str = "base") -> Encoders:
    return Encoders(open_latent_space(run, component), open_text("embedded", None, "cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "shards", range(4), images=1)


def test_losses_are_equal_with_and_without_kept_latents(folder: Path, tmp_path: Path) -> None:
    plain = train(run_on(folder, False), tmp_path / "plain")
    kept = train(run_on(folder, True), tmp_path / "kept")
    assert losses(tmp_path / "plain") == losses(tmp_path / "kept")
    weights = [(place / "base" / "diffusion_pytorch_model.safetensors").read_bytes() for place in (plain, kept)]
    assert weights[0] == weights[1]


def test_what_is_kept_is_neither_decoded_nor_encoded_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(run_on(folder, True), tmp_path / "first")

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("decoded again")

    for module in ("train.data.decode_frames", "train.latents.decode_frames"):
        monkeypatch.setattr(module, refuse)
    train(run_on(folder, True), tmp_path / "second")
    assert losses(tmp_path / "first") == losses(tmp_path / "second")


def test_every_file_is_named_for_its_clip_below_the_shards_so_that_a_takedown_finds_it(folder: Path, tmp_path: Path) -> None:
    train(run_on(folder, True), tmp_path / "model")
    kept = sorted((folder / "latents").rglob("*.*"))
    keys = {entry.key for entry in Shards(str(folder)).entries}
    assert len(kept) == 2 * len(keys)
    assert {path.name.split("-")[0] for path in kept} == keys


def test_other_media_another_caption_or_another_size_is_encoded_anew(folder: Path) -> None:
    run = run_on(folder, True)
    shards = Shards(str(folder))
    assert LatentCache(shards, BASE, encoders(run)).fill(shards.entries) == 5
    assert LatentCache(shards, BASE, encoders(run)).fill(shards.entries) == 0
    larger = BASE.model_copy(update={"height": 20})
    assert LatentCache(shards, larger, encoders(run)).fill(shards.entries) == 5
    assert LatentCache(shards, BASE, encoders(run_on(folder, True, BETWEEN), "interpolation")).fill(shards.entries) == 5


def test_a_clip_that_does_not_decode_is_passed_over_as_without_a_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, whole = Shards(str(folder)), frames.decode_frames

    def broken(sample, width, height):
        if sample.key == "clip1":
            raise frames.UnreadableClip("clip1 does not decode")
        return whole(sample, width, height)

    monkeypatch.setattr("train.latents.decode_frames", broken)
    cache = LatentCache(shards, BASE, encoders(run_on(folder, True)))
    assert cache.fill(shards.entries) == 4
    reader = ClipReader(shards, BASE, latents=cache)
    with pytest.raises(frames.UnreadableClip, match="clip1 has no cached latents"):
        reader.clip(next(entry for entry in reader.clips if entry.key == "clip1"), None)


def test_random_crops_cannot_be_kept(folder: Path) -> None:
    with pytest.raises(DocumentError, match="set crop = 'centre'"):
        LatentCache(Shards(str(folder)), BASE.model_copy(update={"crop": "random"}), encoders(run_on(folder, True)))
