"""The commands that train, sample, measure and convert, asked for all they offer, as a user would."""

import json
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.train import with_init
from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from train.cascade import open_cascade
from train.checkpoint import load_component
from train.credentials import checkpoint_digest, read_credentials
from train.evaluate import SCORES
from train.lavie import read_published
from train.loop import train
from train.weights import spec_for

SHARED = """
name = "small"
parallel = "fsdp"
[[phases]]
task = "text_to_video"
steps = 2
batch = 4
frames = 4
height = 16
width = 16
first_frame = 0.5
"""


def clipmill(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line]


def test_sharded_workers_of_the_command_have_the_losses_of_one(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(SHARED)
    for name, workers in (("alone", 1), ("divided", 2)):
        clipmill("train", tmp_path / "run.toml", "--shards", shards, "--out", tmp_path / name, "--workers", workers)
    assert losses(tmp_path / "divided") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)


def test_a_sample_takes_numbers_for_each_stage_and_its_credentials_tell_them(trained: Path, tmp_path: Path) -> None:
    numbers = ("--steps", "base=3,interpolation=2,vsr=1", "--guidance", "base=3,vsr=1.5", "--rescale", 0.7, "--seed", 5)
    words = ("--prompt", "a square", "--negative", "a circle", "--sampler", "dpm")
    clipmill("sample", "--checkpoint", trained, "--out", tmp_path / "made.mp4", *numbers, *words)
    with av.open(str(tmp_path / "made.mp4")) as container:
        assert (container.streams.video[0].width, len(list(container.decode(video=0)))) == (64, 13)
    manifest = read_credentials(tmp_path / "made.mp4")
    assert manifest is not None
    told = next(one["data"] for one in manifest["assertions"] if one["label"] == "org.clipmill.generation")
    assert told["checkpoint_sha256"] == checkpoint_digest(trained)
    assert (told["prompt"], told["negative_prompt"], told["seed"]) == ("a square", "a circle", 5)
    assert (told["steps"], told["guidance"]) == ({"base": 3, "interpolation": 2, "vsr": 1}, {"base": 3, "vsr": 1.5})
    assert (told["rescale"], told["sampler"]) == (0.7, "dpm")


def test_a_longer_sample_goes_on_from_its_last_frame(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(SHARED)
    clipmill("train", tmp_path / "run.toml", "--shards", shards, "--out", tmp_path / "model")
    clipmill("sample", "--checkpoint", tmp_path / "model", "--prompt", "a square", "--steps", 2, "--longer", 2, "--out", tmp_path / "long.mp4")
    with av.open(str(tmp_path / "long.mp4")) as container:
        assert len(list(container.decode(video=0))) == 4 + 2 * 3


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("--steps", "many", "--steps many: give a number, or one for each stage"),
        ("--steps", "vsr=2", "say those of base too"),
        ("--guidance", "bass=2", "--guidance bass=.: choose from base, interpolation, vsr"),
        ("--sampler", "heun", "sampler 'heun': choose one of ddpm, ddim, euler, dpm"),
        ("--longer", "1", "was not trained to go on from a frame"),
        ("--upto", "end", "--upto 'end': choose one of base, interpolation, vsr"),
    ],
)
def test_what_cannot_be_sampled_is_refused_with_the_choices(trained: Path, tmp_path: Path, option: str, given: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        clipmill("sample", "--checkpoint", trained, "--prompt", "a square", "--out", tmp_path / "made.mp4", option, given)
    assert not (tmp_path / "made.mp4").exists()


def test_a_sampler_is_for_the_stages_that_are_not_trained_on_flow(shards: Path, tmp_path: Path) -> None:
    phase = Phase(task="text_to_video", steps=1, batch=2, frames=4, height=16, width=16, prediction="flow")
    cascade = open_cascade(train(TrainingRun(name="tiny", shards=str(shards), phases=(phase,)), tmp_path))
    with pytest.raises(DocumentError, match="trained on flow, which euler alone samples"):
        cascade("a square", steps=1, sampler="dpm")


def test_evaluating_prints_every_stage_and_writes_the_same_numbers(trained: Path, held_out_shards: Path, tmp_path: Path) -> None:
    told = clipmill("evaluate", "--checkpoint", trained, "--shards", held_out_shards, "--clips", 2, "--steps", 1, "--out", tmp_path / "scores.parquet")
    scores = pq.read_table(tmp_path / "scores.parquet")
    assert scores.schema.equals(SCORES)
    assert {row["stage"] for row in scores.to_pylist()} == {"base", "interpolation", "vsr"}
    assert [tuple(line.split()[:2]) for line in told.splitlines()[-len(scores) :]] == [(row["stage"], row["metric"]) for row in scores.to_pylist()]


def test_a_converted_cascade_is_the_published_layout_and_starts_another_run_whole(trained: Path, shards: Path, tmp_path: Path) -> None:
    clipmill("convert", "--checkpoint", trained, "--out", tmp_path / "lavie")
    assert sorted(path.name for path in (tmp_path / "lavie").iterdir()) == ["lavie_base.pt", "lavie_interpolation.pt", "lavie_vsr.pt"]
    for stage in ("base", "interpolation", "vsr"):
        weights = load_component(trained, stage).state_dict()
        assert all(torch.equal(weights[name], value) for name, value in read_published(tmp_path / "lavie" / f"lavie_{stage}.pt").items())
        assert spec_for(f"lavie:{tmp_path / 'lavie'}", stage) == f"lavie:{tmp_path / 'lavie'}/lavie_{stage}.pt"


def test_each_stage_takes_its_own_of_several_sources() -> None:
    both = "sd:one, x4:other"
    assert [spec_for(both, stage) for stage in ("base", "interpolation", "vsr")] == ["sd:one", "sd:one", "x4:other"]
    assert spec_for("run:model", "vsr") == "run:model"
    with pytest.raises(DocumentError, match="has no weights for the stage vsr: add x4:FOLDER"):
        spec_for("sd:one", "vsr")


@pytest.mark.parametrize(("init", "kept"), [("lavie:folder", None), ("run:model", None), ("sd:one,x4:other", "base")])
def test_weights_named_on_the_command_line_replace_those_of_the_phases(init: str, kept: str | None) -> None:
    phases = (Phase(task="text_to_video", steps=1, init="run:old"), Phase(task="interpolate", steps=1, frames=5, init="base"))
    changed = with_init(TrainingRun(name="small", phases=phases), init)
    assert (changed.init, [phase.init for phase in changed.phases]) == (init, [None, kept])
