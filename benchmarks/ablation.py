"""Does the ablation find harm that is there, and none where there is none? Controls on generated and on real footage, and a null arm many times over.

Two corpora go through the whole mill: footage with known factors (captions carry information there), and real footage cut into a few hundred clips.
On each, an arm of a quarter of the clips is compared with all of them, and clean clips are harmed at several doses. On the first, two halves of the
same clips are compared again and again, each time under seeds of their own.
    python -m benchmarks.ablation --work DIR --footage FOLDER                  the size that the claim is made at
    python -m benchmarks.ablation --work DIR --parts null                      one part; parts may run side by side
    python -m benchmarks.ablation --work DIR --footage FOLDER --preset compact --steps 400 --side 32 --frames 16 --device cuda
Everything is cached below DIR: an interrupted run goes on, and more seeds only train what is new.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that wait must not burn the cores of others

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.ablation_footage import cut_up, described
from benchmarks.generated_corpus import curated, write_footage
from pipelines.ablate import ablate
from pipelines.ablation.arms import CLEAN, OUTCOME_METRICS, dose_name
from pipelines.ablation.outcomes import paired, scores
from pipelines.ablation.statistics import Components, components, coverage, hierarchical_bootstrap, paired_t
from pipelines.demo.footage import SHIPPED, shipped_video
from schemas.experiment import Harm

VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov")


PARTS = ("generated", "real", "null", "coverage")
HARMS: tuple[Harm, ...] = ("watermark", "wrong_captions")
DOSES = (0.25, 0.5)


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes:
        copies: of every combination of factors, in the generated corpus.
        clips: cut from real footage.
        seeds, steps: of the controls.
        frames, side: of what is trained: a square of so many pixels.
        held_out: clips evaluated at most.
        null_repetitions, null_seeds, null_steps, null_held_out: of the null arm.
    """

    copies: int = 3
    clips: int = 200
    seeds: int = 5
    steps: int = 100
    frames: int = 8
    side: int = 24
    held_out: int = 32
    null_repetitions: int = 20
    null_seeds: int = 5
    null_steps: int = 12
    null_held_out: int = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for corpora, pieces and results")
    parser.add_argument("--footage", type=Path, help="folder of real films; by default those of the demo")
    parser.add_argument("--preset", default="tiny", choices=("tiny", "compact"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS, help="which parts to run")
    for name in Size.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Size, name))
    given = parser.parse_args()
    size = Size(**{name: getattr(given, name) for name in Size.__dataclass_fields__})
    machine = {"preset": given.preset, "device": given.device}
    run: dict[str, Callable[[], list[str]]] = {
        "generated": lambda: controls("generated", generated_corpus(given.work / "generated", size), given.work, size, machine, DOSES, size.seeds),
        "real": lambda: controls("real", real_corpus(given.work / "real", given.footage, size), given.work, size, machine, DOSES[-1:], 2),
        "null": lambda: null_arms(generated_corpus(given.work / "generated", size), given.work, size, machine),
        "coverage": coverages,
    }
    for part in given.parts:
        began, cpu = time.monotonic(), time.process_time()
        lines = run[part]()
        spent = f"{time.process_time() - cpu:.0f} CPU seconds, {time.monotonic() - began:.0f} s in all, of what was not there before."
        (given.work / f"{part}.md").write_text("\n".join([*lines, spent, ""]), encoding="utf-8")
    print(f"# Ablation controls on {given.device}\n\n{platform.machine()}, {os.cpu_count()} cores, preset {given.preset}, {size}\n")
    print("\n".join((given.work / f"{part}.md").read_text(encoding="utf-8") for part in PARTS if (given.work / f"{part}.md").exists()))


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
    return described(footage, folder / "corpus").url


def experiment(name: str, corpus: str, size: Size, machine: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An experiment as JSON values, which are TOML's too."""
    shape = {"batch": 4, "frames": size.frames, "height": size.side, "width": size.side}
    learning = {"optimizer": "adamw-fused", "learning_rate_schedule": "cosine", "ema_decay": 0.95}
    phase = {"task": "text_to_video", "steps": size.steps, **shape, **learning, "validate_every": max(1, size.steps // 2)}
    told = {"name": name, "corpus": corpus, "seeds": list(range(size.seeds)), "on": "here", **machine, "phases": [phase]}
    told |= {
        "held_out": {"share": 0.2, "clips": size.held_out},
        "evaluation": {"levels": 5, "samples": 3},
        "metrics": ["held_out_loss", "caption_gain", "region_loss"],
    }
    return {**told, **changes}


def controls(name: str, corpus: str, work: Path, size: Size, machine: dict[str, Any], doses: Sequence[float], pairs: int) -> list[str]:
    """An arm of fewer clips under `pairs` seeds, and two harms at some doses."""
    arms = [{"name": "all", "recipe": "everything"}, {"name": "quarter", "recipe": "everything", "share": 0.25}]
    asked = {"harms": HARMS, "shares": doses, "steps": size.steps, "null": False, "seeds": size.seeds}
    out = work / f"{name}-controls"
    told = experiment(name, corpus, replace(size, seeds=pairs), machine, arms=arms, questions=[{"arm": "quarter", "against": "all"}], controls=asked)
    result = ablate(_written(out, told), out, listener=say)
    found = json.loads((out / "findings.json").read_text(encoding="utf-8"))
    lines = [f"## {name.capitalize()} footage", "", f"{len(result.plan.arms[0].kept)} clips to train on, {len(found['held_out']['clips'])} held out.", ""]
    lines += ["| arm | against | metric | arm's value | other's | difference | 95 % interval | p, corrected | spread over seeds | expected | found |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|---|", *(_row(answer) for answer in found["answers"]), ""]
    lines += dose_series(pq.read_table(out / "outcomes.parquet"), doses)
    trials = pq.read_table(out / "trials.parquet").to_pylist()
    lines += [f"{len(trials)} trials, trained for {sum(row['seconds'] or 0 for row in trials):.0f} s.", ""]
    return [*lines, *(f"- {verdict}" for verdict in result.verdicts), *(f"- {failure}" for failure in result.failures), ""]


def _row(answer: dict[str, Any]) -> str:
    question, interval = answer["asked"]["question"], answer["interval"]
    cells = [question["arm"], question["against"], question["metric"], f"{answer['value']:.4f}", f"{answer['other']:.4f}", f"{interval['estimate']:+.4f}"]
    cells += [f"{interval['low']:+.4f} to {interval['high']:+.4f}", f"{answer['p']:.4f}", f"{interval['spread']:.4f}"]
    return "| " + " | ".join([*cells, answer["asked"]["expected"], answer["outcome"]]) + " |"


def dose_series(outcomes: pa.Table, doses: Sequence[float]) -> list[str]:
    """What each dose does to the metric of its own harm and to the loss overall, against the clean control."""
    lines = ["| harm | dose | metric | difference from clean | 95 % interval |", "|---|---|---|---|---|"]
    for harm in HARMS:
        for share in doses:
            for metric in (OUTCOME_METRICS[harm], "held_out_loss"):
                _, values = paired(*(scores(outcomes, arm, "text_to_video", metric) for arm in (dose_name(harm, share), CLEAN)))
                found = paired_t(values.mean(axis=1))
                lines.append(f"| {harm} | {share:.0%} | {metric} | {found.estimate:+.4f} | {found.low:+.4f} to {found.high:+.4f} |")
    return [*lines, ""]


def null_arms(corpus: str, work: Path, size: Size, machine: dict[str, Any]) -> list[str]:
    """Two halves of the same clips, under fresh seeds each time: how often are they called different?"""
    quick = replace(size, steps=size.null_steps, seeds=size.null_repetitions * size.null_seeds, held_out=size.null_held_out)
    arms = [{"name": half, "recipe": "everything", "half": half} for half in ("first", "second")]
    asked = {"questions": [{"arm": "first", "against": "second"}], "controls": {"harms": [], "null": False}, "metrics": ["held_out_loss"]}
    out = work / "null"
    told = experiment("null", corpus, quick, machine, arms=arms, evaluation={"levels": 2, "samples": 0}, **asked)
    told["phases"][0] |= {"validate_every": quick.steps, "warmup_steps": quick.steps // 4}
    ablate(_written(out, told), out, listener=say)
    outcomes = pq.read_table(out / "outcomes.parquet")
    _, differences = paired(*(scores(outcomes, arm, "text_to_video", "held_out_loss") for arm in ("first", "second")))
    groups = np.split(differences[: len(differences) // size.null_seeds * size.null_seeds], len(differences) // size.null_seeds)
    called = sum(paired_t(group.mean(axis=1)).p < 0.05 for group in groups)
    naive = sum(paired_t(group.mean(axis=0)).p < 0.05 for group in groups)
    parts = components(differences)
    return [
        "## Null arm",
        "",
        f"Two halves of the same clips, {len(groups)} repetitions of {size.null_seeds} seeds, {size.null_steps} steps, {differences.shape[1]} held-out clips: "
        f"called different in {called} of {len(groups)} by a paired t over seeds. A t over clips, which is not used, calls {naive} of {len(groups)} different.",
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
