"""Does the ablation find harm that is there, and none where there is none? Controls on generated and on real footage, and a null arm many times over.

Two corpora go through the whole mill: footage with known factors (captions carry information there), and real footage cut into a few hundred clips.
On each, arms of a quarter, half and all of the clips are compared, and clean clips are harmed at several doses. On the first, two halves of the same
clips are compared again and again, each time under seeds of their own.
    python -m benchmarks.ablation --work DIR                                   in small, for a shared CPU
    python -m benchmarks.ablation --work DIR --full --footage FOLDER           the size that the claim is made at, about 2 hours on 2 idle cores
    python -m benchmarks.ablation --work DIR --full --preset compact --device cuda
Everything is cached below DIR: an interrupted run goes on, and more seeds only train what is new.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that wait must not burn the cores of others

import numpy as np
import pyarrow.parquet as pq

from benchmarks.ablation_footage import cut_up
from benchmarks.generated_corpus import curated, write_footage
from pipelines.ablate import ablate
from pipelines.ablation.outcomes import paired, scores
from pipelines.ablation.statistics import Components, components, coverage, hierarchical_bootstrap, paired_t
from pipelines.curate import curate
from pipelines.demo.footage import SHIPPED, shipped_video
from schemas.recipe import read_recipe

VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov")


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes:
        copies: of every combination of factors, in the generated corpus.
        clips: cut from real footage.
        seeds, steps: of the controls.
        harms, shares: which, and at what doses.
        null_repetitions, null_seeds, null_steps: of the null arm.
        held_out: clips evaluated at most.
    """

    copies: int = 1
    clips: int = 80
    seeds: int = 5
    steps: int = 120
    harms: tuple[str, ...] = ("watermark", "wrong_captions")
    shares: tuple[float, ...] = (0.5,)
    null_repetitions: int = 20
    null_seeds: int = 3
    null_steps: int = 20
    held_out: int = 16


FULL = Size(
    copies=3,
    clips=300,
    steps=200,
    harms=("watermark", "wrong_captions", "frozen", "duplicated", "low_resolution"),
    shares=(0.25, 0.5),
    null_seeds=5,
    null_steps=40,
    held_out=48,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for corpora, pieces and results")
    parser.add_argument("--full", action="store_true", help="the size that the claim is made at")
    parser.add_argument("--footage", type=Path, help="folder of real films; by default those of the demo")
    parser.add_argument("--preset", default="tiny", choices=("tiny", "compact"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", nargs="*", default=["generated", "real", "null", "coverage"], help="which parts to run")
    for name in ("seeds", "steps", "clips", "copies", "null-repetitions", "null-seeds", "null-steps", "held-out"):
        parser.add_argument(f"--{name}", type=int)
    given = parser.parse_args()
    chosen = {name: getattr(given, name) for name in Size.__dataclass_fields__ if getattr(given, name, None) is not None}
    size = replace(FULL if given.full else Size(), **chosen)
    machine = {"preset": given.preset, "device": given.device, "threads": given.threads}
    report = [f"# Ablation controls on {given.device}", "", f"{platform.machine()}, {os.cpu_count()} cores, preset {given.preset}, {size}", ""]
    if "generated" in given.parts or "null" in given.parts:
        corpus = generated_corpus(given.work / "generated", size)
    if "generated" in given.parts:
        report += controls("generated", corpus, given.work, size, machine)
    if "real" in given.parts:
        report += controls("real", real_corpus(given.work / "real", given.footage, size), given.work, size, machine)
    if "null" in given.parts:
        report += null_arms(corpus, given.work, size, machine)
    if "coverage" in given.parts:
        report += coverages()
    text = "\n".join(report) + "\n"
    (given.work / "results.md").write_text(text, encoding="utf-8")
    print(text)


def generated_corpus(folder: Path, size: Size) -> str:
    """Footage with known factors, through the mill."""
    footage = folder / "footage"
    if not (footage / "rights.csv").exists():
        write_footage(footage, size.copies)
    return curated(footage, folder / "corpus").url


def real_corpus(folder: Path, films: Path | None, size: Size) -> str:
    """Real films cut up, through the mill."""
    footage = folder / "footage"
    if not (footage / "rights.csv").exists():
        found = sorted(path for path in films.rglob("*") if path.suffix in VIDEOS) if films else [shipped_video(name) for name in SHIPPED]
        cut_up(found, footage, size.clips)
    return _curated(footage, folder / "corpus")


def _curated(footage: Path, corpus: Path) -> str:
    made = curate(
        [str(footage)], str(corpus), read_recipe("everything"), rights=str(footage / "rights.csv"), policy=None, profile="embedded", on="here", listener=say
    )
    return made.corpus.url


def experiment(name: str, corpus: str, size: Size, machine: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An experiment as JSON values, which are TOML's too."""
    phase = {"task": "text_to_video", "steps": size.steps, "batch": 4, "frames": 16, "height": 32, "width": 32, "validate_every": max(1, size.steps // 4)}
    told = {"name": name, "corpus": corpus, "seeds": list(range(size.seeds)), "on": "here", **machine, "phases": [phase]}
    told |= {
        "held_out": {"share": 0.2, "clips": size.held_out},
        "evaluation": {"levels": 6, "samples": 3},
        "metrics": ["held_out_loss", "caption_gain", "region_loss"],
    }
    return {**told, **changes}


def controls(name: str, corpus: str, work: Path, size: Size, machine: dict[str, Any]) -> list[str]:
    """Arms of fewer clips, and harms at several doses."""
    arms = [{"name": arm, "recipe": "everything", "share": share} for arm, share in (("all", 1.0), ("half", 0.5), ("quarter", 0.25))]
    questions = [{"arm": arm, "against": "all"} for arm in ("half", "quarter")]
    asked = {"harms": list(size.harms), "shares": list(size.shares), "steps": size.steps}
    out = work / f"{name}-controls"
    file = _written(out, experiment(name, corpus, size, machine, arms=arms, questions=questions, controls=asked))
    began = time.monotonic()
    result = ablate(file, out, listener=say)
    told = json.loads((out / "findings.json").read_text(encoding="utf-8"))
    lines = [f"## {name.capitalize()} footage", "", f"{len(told['held_out']['clips'])} held-out clips; {time.monotonic() - began:.0f} s now", ""]
    lines += ["| arm | against | metric | difference | interval | p, corrected | spread | expected | found |", "|---|---|---|---|---|---|---|---|---|"]
    for answer in told["answers"]:
        question, interval = answer["asked"]["question"], answer["interval"]
        cells = [question["arm"], question["against"], question["metric"], f"{interval['estimate']:+.4f}", f"{interval['low']:+.4f} to {interval['high']:+.4f}"]
        cells += [f"{answer['p']:.4f}", f"{interval['spread']:.4f}", answer["asked"]["expected"], answer["outcome"]]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", *(f"- {verdict}" for verdict in result.verdicts), *(f"- {failure}" for failure in result.failures), ""]


def null_arms(corpus: str, work: Path, size: Size, machine: dict[str, Any]) -> list[str]:
    """Two halves of the same clips, under fresh seeds each time: how often are they called different?"""
    quick = replace(size, steps=size.null_steps, seeds=size.null_repetitions * size.null_seeds)
    arms = [{"name": half, "recipe": "everything", "half": half} for half in ("first", "second")]
    asked = {"questions": [{"arm": "first", "against": "second"}], "controls": {"harms": [], "null": False}, "metrics": ["held_out_loss"]}
    out = work / "null"
    file = _written(out, experiment("null", corpus, quick, machine, arms=arms, evaluation={"levels": 4, "samples": 0}, **asked))
    ablate(file, out, listener=say)
    outcomes = pq.read_table(out / "outcomes.parquet")
    _, differences = paired(*(scores(outcomes, arm, "text_to_video", "held_out_loss") for arm in ("first", "second")))
    groups = np.split(differences[: len(differences) // size.null_seeds * size.null_seeds], len(differences) // size.null_seeds)
    called = sum(paired_t(group.mean(axis=1)).p < 0.05 for group in groups)
    naive = sum(paired_t(group.mean(axis=0)).p < 0.05 for group in groups)
    parts = components(differences)
    return [
        "## Null arm",
        "",
        f"Two halves of the same clips, {len(groups)} repetitions of {size.null_seeds} seeds and {size.null_steps} steps: called different in {called} of "
        f"{len(groups)} by a paired t over seeds. A t over clips, which is not used, calls {naive} of {len(groups)} different.",
        f"Spread of the difference: {parts.seeds:.5f} between seeds, {parts.clips:.5f} between clips, {parts.rest:.5f} the rest.",
        "",
    ]


def coverages() -> list[str]:
    """What intervals that say 95 % really cover, by seeds, where seeds and clips both vary."""
    rng, parts = np.random.default_rng(0), Components(seeds=1.0, clips=0.0, rest=2.0)

    def by_t(values: np.ndarray) -> tuple[float, float]:
        found = paired_t(values.mean(axis=1))
        return found.low, found.high

    def by_percentiles(values: np.ndarray) -> tuple[float, float]:
        means = values.mean(axis=1)
        drawn = means[rng.integers(0, len(means), (1000, len(means)))].mean(axis=1)
        return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))

    def by_hierarchy(values: np.ndarray) -> tuple[float, float]:
        found = hierarchical_bootstrap(values, rng, draws=1000)
        return found.low, found.high

    lines = ["## Coverage of intervals that say 95 %", "", "| seeds | paired t | percentile bootstrap | hierarchical bootstrap | the same, clips vary too |"]
    lines.append("|---|---|---|---|---|")
    for seeds in (3, 5, 8, 16):
        shares = [coverage(method, parts, seeds, 24, 2000, rng) for method in (by_t, by_percentiles)]
        both = [coverage(by_hierarchy, replace(parts, clips=clips), seeds, 24, 1000, rng) for clips in (0.0, 1.0)] if seeds >= 8 else [None, None]
        lines.append("| " + " | ".join([str(seeds), *(f"{share:.3f}" if share is not None else "refused" for share in (*shares, *both))]) + " |")
    return [*lines, ""]


def _written(out: Path, told: dict[str, Any]) -> Path:
    """The experiment as a TOML file."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{told['name']}.toml"
    file.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in told.items()) + "\n", encoding="utf-8")
    return file


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def say(what: str, done: float, total: float) -> None:
    """One line for each piece of work that is done."""
    if done >= total:
        print(f"{time.strftime('%H:%M:%S')} {what}: {done:.0f}", flush=True)


if __name__ == "__main__":
    main()
