"""The loop resumes bit for bit, keeps whole files only, and refuses another run's folder."""

import json
import tarfile
from pathlib import Path

import pytest
import torch

from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from train.checkpoint import begin, load_component
from train.data import ClipReader, training_batches
from train.loop import Diverged, train
from train.shards import Shards

BASE = Phase(task="text_to_video", steps=5, batch=2, frames=4, height=16, width=16, checkpoint_every=2)


class Interrupted(Exception):
    """Stands for the power going out."""


def interrupting(at: int):
    def listener(what: str, done: float, total: float) -> None:
        if done == at:
            raise Interrupted

    return listener


def weights(cascade: Path, component: str = "base") -> dict[str, torch.Tensor]:
    return load_component(cascade, component).state_dict()


def run_of(shards: Path, *phases: Phase, seed: int = 0) -> TrainingRun:
    return TrainingRun(name="tiny", seed=seed, shards=str(shards), phases=phases)


def test_every_phase_leaves_its_part_and_the_story_of_its_data(trained: Path, shards: Path):
    assert {path.name for path in trained.iterdir() if path.is_dir()} == {"autoencoder", "base", "interpolation", "vsr"}
    lineage = json.loads((trained / "lineage.json").read_text())
    assert set(lineage) == {"shards", "run", "versions", "commit"}
    assert "clip3" in lineage["shards"]["clips"]
    assert lineage["run"]["shards"] == str(shards)


def test_the_logbook_has_losses_and_validations_of_every_phase(trained: Path):
    lines = [json.loads(line) for line in (trained.parent / "metrics.jsonl").read_text().splitlines()]
    assert {line["task"] for line in lines if "loss" in line} == {"autoencode", "text_to_video", "interpolate", "upscale"}
    assert {line["task"] for line in lines if "held_out_loss" in line} == {"autoencode", "text_to_video", "interpolate", "upscale"}


@pytest.mark.parametrize("at", [1, 3, 4])
def test_an_interrupted_run_ends_in_the_same_weights_bit_for_bit(shards: Path, tmp_path: Path, at: int):
    run = run_of(shards, BASE)
    whole = train(run, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(run, tmp_path / "broken", interrupting(at))
    resumed = train(run, tmp_path / "broken")
    one, other = weights(whole), weights(resumed)
    assert all(torch.equal(one[name], other[name]) for name in one)
    steps = [[json.loads(line)["step"] for line in (folder.parent / "metrics.jsonl").read_text().splitlines()] for folder in (whole, resumed)]
    assert steps[0] == steps[1]


def test_a_second_call_does_nothing_again(trained: Path, tiny_run: TrainingRun):
    heard: list[str] = []
    assert train(tiny_run, trained.parent, lambda what, done, total: heard.append(what)) == trained
    assert heard == []


def test_the_seed_decides(shards: Path, tmp_path: Path):
    short = BASE.model_copy(update={"steps": 1})
    folders = [train(run_of(shards, short, seed=seed), tmp_path / name) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    first, again, other = (weights(folder)["conv_in.weight"] for folder in folders)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_accumulated_gradients_are_those_of_the_whole_batch(shards: Path, tmp_path: Path):
    phase = BASE.model_copy(update={"steps": 2, "batch": 4})
    one = weights(train(run_of(shards, phase), tmp_path / "whole"))
    other = weights(train(run_of(shards, phase.model_copy(update={"accumulate": 2})), tmp_path / "parts"))
    assert all(torch.allclose(one[name], other[name], atol=2e-5) for name in one)


@pytest.mark.parametrize("trainable", ["temporal", "spatial"])
def test_training_one_kind_of_weights_leaves_the_other_alone(shards: Path, tmp_path: Path, trainable: str):
    start = weights(train(run_of(shards, BASE.model_copy(update={"steps": 1})), tmp_path / "image"))
    phase = BASE.model_copy(update={"steps": 2, "trainable": trainable, "init": f"run:{tmp_path / 'image' / 'cascade' / 'base'}"})
    ended = weights(train(run_of(shards, phase), tmp_path / "video"))
    moved = {name for name in start if not torch.equal(start[name], ended[name])}
    assert moved and {"_temp" in name or name.startswith("temporal_") for name in moved} == {trainable == "temporal"}


def test_another_run_is_refused_in_the_same_folder(trained: Path, tiny_run: TrainingRun):
    with pytest.raises(DocumentError, match="differs in seed"):
        train(tiny_run.model_copy(update={"seed": 5}), trained.parent)


def test_a_folder_of_an_older_version_is_still_its_runs_when_settings_have_come_since(shards: Path, tmp_path: Path):
    run = run_of(shards, BASE)
    begin(tmp_path, run, Shards(str(shards)))
    lineage = tmp_path / "cascade" / "lineage.json"
    told = json.loads(lineage.read_text())
    del told["run"]["cache"], told["run"]["phases"][0]["weight_decay"]
    lineage.write_text(json.dumps(told))
    begin(tmp_path, run, Shards(str(shards)))


def test_a_folder_of_a_newer_version_is_refused_by_the_setting_it_has(shards: Path, tmp_path: Path):
    run = run_of(shards, BASE)
    begin(tmp_path, run, Shards(str(shards)))
    lineage = tmp_path / "cascade" / "lineage.json"
    told = json.loads(lineage.read_text())
    told["run"]["of_tomorrow"] = 1
    lineage.write_text(json.dumps(told))
    with pytest.raises(DocumentError, match="of_tomorrow"):
        begin(tmp_path, run, Shards(str(shards)))


def test_other_shards_are_refused_in_the_same_folder(shards: Path, held_out_shards: Path, tmp_path: Path):
    moving = tmp_path / "shards"
    moving.symlink_to(shards)
    run = run_of(moving, BASE.model_copy(update={"steps": 1}))
    train(run, tmp_path / "model")
    moving.unlink()
    moving.symlink_to(held_out_shards)
    with pytest.raises(DocumentError, match="other shards"):
        train(run, tmp_path / "model")


def test_a_loss_that_is_no_number_stops_the_run_with_advice(shards: Path, tmp_path: Path):
    wild = BASE.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0, "clip_norm": None})
    with pytest.raises(Diverged, match="lower learning_rate"):
        train(run_of(shards, wild), tmp_path / "model")


def test_grids_of_samples_are_drawn_at_validations(trained: Path):
    import cv2

    grids = {path.name: cv2.imread(str(path)) for path in (trained.parent / "grids").iterdir()}
    assert set(grids) == {"autoencode-0000003.png", "interpolate-0000003.png", "text_to_video-0000004.png", "upscale-0000003.png"}
    assert grids["text_to_video-0000004.png"].shape == (3 * 2 * 16, 8 * 16, 3)
    assert grids["upscale-0000003.png"].shape == (3 * 3 * 32, 8 * 32, 3)


def test_a_clip_that_does_not_decode_is_replaced_and_told(shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for tar in shards.glob("*.tar"):
        (tmp_path / tar.name).write_bytes(tar.read_bytes())
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        video = tar.getmember("clip2.mp4")
    with (tmp_path / "shard-000000.tar").open("r+b") as stream:
        stream.seek(video.offset_data)
        stream.write(b"\0" * video.size)
    reader = ClipReader(Shards(str(tmp_path)), BASE)
    seen = {key for batch in training_batches(reader, 0, range(2), 0, 0) for key in batch.keys}
    assert "clip2" not in seen and len(seen) == 5
    assert "clip2 does not decode" in caplog.text
