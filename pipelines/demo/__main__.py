"""`python -m pipelines.demo`: curate the demo's footage, train a tiny cascade on the shards, sample it, and compare two recipes."""

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from curate.corpus import Corpus
from pipelines.ablate import ablate
from pipelines.curate import curate
from pipelines.demo.footage import prepare_footage
from pipelines.progress import Listener, progress_shown
from pipelines.report import Extras, write_report
from pipelines.train import Asking, sample_video, train_shards
from pipelines.verbs.mistakes import mistakes_said_plainly
from pipelines.verbs.options import console, engine_named, funnel_shown
from schemas.recipe import read_recipe
from schemas.source import STATUS_REJECTED

PROOF = "“{prompt}”, through all three stages after minutes of training on two cores: a proof that the mill turns, not of quality."
STEPS = {"base": 20, "interpolation": 1, "vsr": 1}
"""Sampling steps: the later stages predict a residual, which one step gives."""

PROMPT = "a big grey cartoon rabbit on green grass"
RIGHTS = Path(__file__).with_name("rights.csv")


def main() -> None:
    """Run every step in order; each resumes, so a second run only does what is missing."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for everything the demo makes")
    parser.add_argument("--on", default="here", help="auto, here or ray")
    given = parser.parse_args()
    began = time.monotonic()
    with mistakes_said_plainly(), progress_shown(console) as listener:
        made = run(given.out, engine_named(given.on), listener)
    table = Table(show_header=False, box=None, padding=(0, 2))
    for what, where in made.items():
        table.add_row(what, str(where))
    console.print()
    console.print(table)
    console.print(f"\ndone in {time.monotonic() - began:.0f} s")


def run(out: Path, on, listener: Listener) -> dict[str, object]:
    """The main job; returns what was made and where."""
    recipe = read_recipe("demo")
    with _timed("footage, shots, scores, captions, shards"):
        footage = prepare_footage(out / "footage")
        curated = curate([str(footage)], str(out / "corpus"), recipe, rights=str(RIGHTS), policy=None, profile="embedded", on=on, listener=listener)
    console.print(funnel_shown(curated.selection))
    _say_what_was_quarantined(curated.corpus)
    with _timed("three training phases and their autoencoder"):
        checkpoint = train_shards("demo", curated.shards.folder, out / "model", listener)
    with _timed("a sampled video"):
        video = sample_video(checkpoint, PROMPT, out / "sample.mp4", Asking(steps=STEPS, guidance=2.0), listener)
    with _timed("the ablation"):
        ablation = ablate("demo", out / "ablation", corpus=str(out / "corpus"), on=on, listener=listener)
    report = write_report(curated.corpus, curated.selection.name, Extras(video, PROOF.format(prompt=PROMPT), ablation.verdicts))
    return {
        "corpus": out / "corpus",
        "shards": curated.shards.folder,
        "report.html": report,
        "cascade": checkpoint,
        "sample.mp4": video,
        "ablation": ablation.report,
        "verdict": " ".join(ablation.verdicts),
    }


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    console.print(f"{what}: {time.monotonic() - began:.0f} s")


def _say_what_was_quarantined(corpus: Corpus) -> None:
    for row in corpus.table("sources").to_pylist():
        if row["status"] == STATUS_REJECTED:
            console.print(f"quarantined before decoding: {Path(row['uri']).name}: {row['reason']}")


if __name__ == "__main__":
    main()
