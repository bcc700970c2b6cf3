"""Run files are checked before any work, and the command's functions train and sample from them."""

import shutil
from pathlib import Path

import pytest

from curate.corpus import open_corpus
from curate.trace import trace
from pipelines.train import Asking, read_run, sample_video, train_shards
from schemas.document import DocumentError
from train.credentials import read_credentials

SMALL = """
name = "small"
[[phases]]
task = "text_to_video"
steps = 1
batch = 2
frames = 4
height = 16
width = 16
"""


@pytest.mark.parametrize("name", ["demo", "lavie"])
def test_shipped_runs_are_valid(name: str):
    assert read_run(name).name == name


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("colour = 3", "`phases.0.colour` is not a key here"),
        ('task = "dance"', "Input should be 'autoencode', 'text_to_video', 'interpolate' or 'upscale'"),
        ("batch = 3\naccumulate = 2", "cannot be computed in 2 equal parts"),
        ('task = "interpolate"\nframes = 12', "one more than a multiple of 4"),
        ('start = "plain"', "only interpolate and upscale have"),
        ("stride = [3, 1]", "smallest and the largest step"),
    ],
)
def test_a_wrong_run_file_is_refused_in_plain_words(tmp_path: Path, line: str, told: str):
    changed = tuple(new.split(" =")[0] + " " for new in line.splitlines())
    kept = [old for old in SMALL.splitlines() if not old.startswith(changed)]
    (tmp_path / "run.toml").write_text("\n".join([*kept, line]))
    with pytest.raises(DocumentError) as refused:
        read_run(tmp_path / "run.toml")
    assert told in str(refused.value)


def test_an_unknown_name_lists_the_shipped_ones():
    with pytest.raises(DocumentError, match="demo, lavie"):
        read_run("nothing")


def test_a_run_without_shards_says_how_to_give_them(tmp_path: Path):
    (tmp_path / "run.toml").write_text(SMALL)
    with pytest.raises(DocumentError, match="--shards"):
        train_shards(tmp_path / "run.toml", None, tmp_path / "model")


def test_the_corpus_that_shards_lie_in_remembers_what_was_trained_on_them(tmp_path: Path, shards: Path):
    (tmp_path / "run.toml").write_text(SMALL)
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    shutil.copytree(shards, corpus.path("shards", "all"))
    for _ in range(2):
        train_shards(tmp_path / "run.toml", Path(corpus.path("shards", "all")), tmp_path / "model")
    (known,) = corpus.read("trainings").to_pylist()
    assert (known["selection"], known["run"], known["checkpoint"]) == ("all", "small", str(tmp_path / "model"))
    assert known["clip_ids"] == trace(corpus, "checkpoint", str(tmp_path / "model")).clips


def test_a_run_file_trains_and_its_cascade_samples_a_signed_video(tmp_path: Path, shards: Path):
    (tmp_path / "run.toml").write_text(SMALL)
    checkpoint = train_shards(tmp_path / "run.toml", shards, tmp_path / "model")
    heard: list[str] = []
    made = sample_video(checkpoint, "a square", tmp_path / "out" / "made.mp4", Asking(steps=2), listener=lambda what, done, total: heard.append(what))
    assert made.stat().st_size > 500
    assert heard == ["sample base"] * 2
    assert read_credentials(made) is not None
