"""An experiment over a real corpus: planned, packed once, trained, judged and reported; nothing done twice, and no failure spreads."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import train.loop
from curate.corpus import open_corpus
from curate.storage.views import RELATIONS
from curate.trace import trace
from pipelines.ablate import AblationResult, ablate
from pipelines.cli import app
from schemas.clip import clip_id
from schemas.document import DocumentError
from schemas.table import table_of
from train.cascade import write_mp4
from train.loop import Diverged

CLIPS, FRAMES, SIDE = 14, 16, 64
NO_CONTROLS = "harms = []\nnull = false"
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 220)}


def film(place: int) -> np.ndarray:
    """A square of one colour that crosses the frame, uint8 (F, H, W, 3)."""
    frames = np.full((FRAMES, SIDE, SIDE, 3), 30 + 5 * place, dtype=np.uint8)
    for number in range(FRAMES):
        left = (number * 2 + 3 * place) % (SIDE - 20)
        frames[number, 20:40, left : left + 20] = list(COLOURS.values())[place % 3]
    return frames


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of small films as the steps before would have left it."""
    folder = tmp_path_factory.mktemp("ablate")
    made = open_corpus(str(folder / "corpus"), create=True)
    for place in range(CLIPS):
        path, source = folder / f"film{place}.mp4", f"s{place:020d}"
        write_mp4(film(place), path, 8)
        known = {"source_id": source, "media_type": "video", "width": SIDE, "height": SIDE, "fps": 8.0, "status": "ok"}
        added = {**known, "uri": str(path), "sha256": source, "license": "CC0-1.0", "rights_uses": ["train"], "container_duration_s": 2.0}
        reading = {**known, "duration_s": 2.0, "frames": FRAMES}
        span = {"clip_id": clip_id(source, 0, FRAMES), "source_id": source, "media_type": "video", "shot_index": 0, "start_s": 0.0, "end_s": 2.0}
        span |= {"start_frame": 0, "end_frame": FRAMES, "num_frames": FRAMES, "fps": 8.0, "width": SIDE, "height": SIDE, "motion": place / CLIPS}
        text = f"a {list(COLOURS)[place % 3]} square moves"
        caption = {"clip_id": span["clip_id"], "captioner": "describe@1", "text": text, "start_s": 0.0, "end_s": 2.0}
        del reading["media_type"]
        rows = {"added": added, "readings": reading, "spans": span, "captions": caption}
        made.commit(source, {name: table_of([row], RELATIONS[name]) for name, row in rows.items()})
    return made.url


def write(
    folder: Path, corpus: str, seeds: str = "[0, 1]", moving: str = "moving", controls: str = "harms = []\nnull = false", phase: str = "steps = 4"
) -> Path:
    """An experiment file of two arms that learn for a few steps."""
    (folder / "all.toml").write_text('name = "all"\n')
    (folder / "moving.toml").write_text('name = "moving"\n[keep]\nmotion = { min = 0.4 }\n')
    (folder / "still.toml").write_text('name = "still"\n[keep]\nmotion = { min = 7 }\n')
    file = folder / "experiment.toml"
    file.write_text(f"""
name = "small"
corpus = "{corpus}"
seeds = {seeds}
on = "here"
threads = 1
phases = [{{ task = "text_to_video", batch = 2, frames = 8, validate_every = 4, {phase} }}]
evaluation = {{ levels = 2, samples = 1, steps = 1 }}
[held_out]
share = 0.3
clips = 3
[controls]
{controls}
[[arms]]
name = "all"
recipe = "all.toml"
[[arms]]
name = "moving"
recipe = "{moving}.toml"
[[questions]]
arm = "moving"
against = "all"
""")
    return file


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, corpus: str) -> tuple[AblationResult, Path]:
    """A finished experiment and its folder, not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    return ablate(write(folder, corpus), folder / "out"), folder / "out"


@pytest.fixture
def out(first: tuple[AblationResult, Path], tmp_path: Path) -> Path:
    """A copy of the finished experiment's folder, to go on from."""
    return Path(shutil.copytree(first[1], tmp_path / "out"))


def trials_in(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "trials.parquet").to_pylist()


def pieces_in(out: Path, kind: str = "*") -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in (out / "pieces").glob(f"{kind}/*/done.json")}


def test_an_experiment_runs_to_a_report_and_a_verdict(first: tuple[AblationResult, Path]):
    result, out = first
    assert result.report is not None and not result.failures
    page = result.report.read_text(encoding="utf-8")
    assert page.count("data:video/mp4;base64,") == 2, "one prompt, two arms"
    assert "moving" in result.verdicts[0] and "all" in result.verdicts[0]
    rows = pq.read_table(out / "outcomes.parquet").to_pylist()
    assert len(rows) == 2 * 2 * 3 * 2, "arms, seeds, clips, levels"
    seen = {(arm, seed): {row["key"] for row in rows if (row["arm"], row["seed"]) == (arm, seed)} for arm in ("all", "moving") for seed in (0, 1)}
    assert len(set(map(frozenset, seen.values()))) == 1, "every trial is evaluated on the same clips"
    assert not {key for keys in seen.values() for key in keys} & {clip for arm in result.plan.arms for clip in arm.kept}
    told = json.loads((out / "findings.json").read_text())
    assert told["experiment"]["name"] == "small" and len(told["answers"]) == 1


def test_one_seed_gives_every_arm_the_same_first_weights(tmp_path: Path, corpus: str):
    hardly = "steps = 1, warmup_steps = 1000000, ema_decay = 0.0"
    ablate(write(tmp_path, corpus, seeds="[3]", phase=hardly), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "outcomes.parquet").to_pylist()
    losses = {arm: [row["loss"] for row in rows if row["arm"] == arm] for arm in ("all", "moving")}
    assert np.allclose(losses["all"], losses["moving"], atol=1e-4)


def test_a_second_run_makes_nothing_and_a_new_seed_trains_only_itself(out: Path, tmp_path: Path, corpus: str):
    before = pieces_in(out)
    ablate(write(tmp_path, corpus), out)
    assert pieces_in(out) == before

    ablate(write(tmp_path, corpus, seeds="[0, 1, 5]"), out)
    assert {(row["seed"], row["fresh"]) for row in trials_in(out)} == {(0, False), (1, False), (5, True)}


def test_an_interrupted_experiment_goes_on_where_it_was(tmp_path: Path, corpus: str):
    def stops(what: str, done: float, total: float) -> None:
        if what.startswith("moving, seed 0"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate(write(tmp_path, corpus, seeds="[0]"), tmp_path / "out", listener=stops)
    finished = pieces_in(tmp_path / "out", "training")
    assert len(finished) == 1
    ablate(write(tmp_path, corpus, seeds="[0]"), tmp_path / "out")
    assert [(row["arm"], row["fresh"]) for row in trials_in(tmp_path / "out")] == [("all", False), ("moving", True)]
    assert finished.items() <= pieces_in(tmp_path / "out", "training").items()


def test_a_trial_that_fails_is_told_and_stops_no_other(out: Path, tmp_path: Path, corpus: str, monkeypatch: pytest.MonkeyPatch):
    real, begun = train.loop.train, list[int]()

    def fails_once(run: Any, folder: Path, listener: Any) -> Path:
        begun.append(run.seed)
        if len(begun) == 1:
            raise Diverged("the loss is nan")
        return real(run, folder, listener)

    monkeypatch.setattr(train.loop, "train", fails_once)
    result = ablate(write(tmp_path, corpus, seeds="[0, 1, 9]"), out)
    assert begun == [9, 9], "the arm that came after was trained"
    assert len(result.failures) == 1 and "seed 9: Diverged: the loss is nan" in result.failures[0]
    assert json.loads((out / "findings.json").read_text())["answers"][0]["interval"]["seeds"] == 2


def test_controls_are_made_from_the_clean_arm_and_reported(out: Path, tmp_path: Path, corpus: str):
    controls = 'harms = ["watermark", "duplicated"]\nshares = [0.5]\nsteps = 2\nseeds = 1'
    result = ablate(write(tmp_path, corpus, controls=controls), out)
    assert not result.failures
    told = json.loads((out / "findings.json").read_text())
    assert [answer["asked"]["expected"] for answer in told["answers"]] == ["unknown", "worse", "worse", "no difference"]
    assert "controls came out as they must" in result.verdicts[-1]


def test_a_plan_writes_nothing(tmp_path: Path, corpus: str):
    result = ablate(write(tmp_path, corpus), tmp_path / "out", plan_only=True)
    told = "\n".join(result.verdicts)
    assert "2 arms and 0 controls, 2 seeds, 4 trials" in told and "of them also in `all`" in told
    assert result.report is None and not (tmp_path / "out").exists()


def test_an_empty_arm_is_refused_before_any_work(tmp_path: Path, corpus: str):
    before = sorted(Path(corpus).rglob("*"))
    with pytest.raises(DocumentError, match="arm `moving` is empty"):
        ablate(write(tmp_path, corpus, moving="still"), tmp_path / "out")
    assert sorted(Path(corpus).rglob("*")) == before and not (tmp_path / "out").exists()


def test_a_sweep_makes_its_arms_from_one_recipe(tmp_path: Path, corpus: str):
    (tmp_path / "two.toml").write_text('name = "two"\n[keep]\nmotion = { min = 0.3 }\nnum_frames = { min = 8 }\n')
    result = ablate(write(tmp_path, corpus), tmp_path / "out", sweep=str(tmp_path / "two.toml"), plan_only=True)
    assert {arm.name for arm in result.plan.arms} == {"whole", "no-rule", "without-motion", "without-num_frames", "only-motion", "only-num_frames"}


def test_the_command_makes_a_sweep_from_a_recipe_alone(tmp_path: Path, corpus: str):
    (tmp_path / "two.toml").write_text('name = "two"\n[keep]\nmotion = { min = 0.3 }\nnum_frames = { min = 8 }\n')
    told = CliRunner().invoke(app, ["ablate", "--sweep", str(tmp_path / "two.toml"), "--corpus", corpus, "--plan"])
    assert told.exit_code == 0, told.output
    assert "Arm `without-motion`" in told.output and "Arm `only-num_frames`" in told.output


def test_the_command_asks_for_an_experiment_or_a_recipe():
    told = CliRunner().invoke(app, ["ablate"])
    assert isinstance(told.exception, DocumentError) and "give an experiment file, or --sweep with a recipe" in str(told.exception)


def test_a_corpus_remembers_the_ablations_that_copied_and_learned_its_clips(first: tuple[AblationResult, Path], corpus: str):
    result, out = first
    clip = result.plan.arms[0].kept[0]
    assert str(out.resolve()) in trace(open_corpus(corpus), "clip", clip).checkpoints


def test_arms_that_train_on_the_same_clips_in_the_same_way_are_trained_once(tmp_path: Path, corpus: str):
    file = write(tmp_path, corpus, seeds="[0]", moving="all")
    ablate(file, tmp_path / "out")
    assert len(pieces_in(tmp_path / "out", "training")) == 1 and len(trials_in(tmp_path / "out")) == 2
