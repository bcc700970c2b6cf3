"""Findings: everything an ablation found, and its tables as Parquet, JSON and Markdown."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ablation.outcomes import scores
from pipelines.ablation.plan import Plan
from pipelines.ablation.statistics import Interval, paired_t
from pipelines.ablation.verdict import Answer
from pipelines.ablation.wording import figure, headline, sentence, signed
from schemas.experiment import EVERYTHING, Metric
from schemas.table import column

CURVES = pa.schema(
    [
        column("arm", pa.string(), "The arm", by="ablate"),
        column("seed", pa.int64(), "The seed", by="ablate"),
        column("task", pa.string(), "The phase", by="ablate"),
        column("step", pa.int64(), "Steps trained", by="ablate"),
        column("loss", pa.float64(), "Held-out loss at that step", by="ablate"),
    ]
)

TRIALS = pa.schema(
    [
        column("arm", pa.string(), "The arm", by="ablate"),
        column("seed", pa.int64(), "The seed", by="ablate"),
        column("control", pa.bool_(), "Whether it is one of the controls", by="ablate"),
        column("status", pa.string(), "`ok` or `failed`", by="ablate"),
        column("reason", pa.string(), "Why it failed", by="ablate"),
        column("clips", pa.int64(), "Clips it trained on", by="ablate"),
        column("hours", pa.float64(), "Hours of footage it trained on", unit="h", by="ablate"),
        column("steps", pa.int64(), "Steps over all phases", by="ablate"),
        column("seconds", pa.float64(), "Time its training took", unit="s", by="ablate"),
        column("fresh", pa.bool_(), "Whether it was trained now, rather than found from before", by="ablate"),
        column("shards", pa.string(), "Digest of what it trained on", by="ablate"),
        column("training", pa.string(), "Digest of its training, the name of its folder among the pieces", by="ablate"),
    ]
)


@dataclass(frozen=True)
class Sampled:
    """One video an arm made, to be shown beside the others of the same prompt and seed."""

    arm: str
    seed: int
    prompt: str
    path: Path


@dataclass(frozen=True)
class Findings:
    """What an ablation found.

    Attributes:
        plan: what was planned.
        outcomes: schema OUTCOMES.
        curves: schema CURVES.
        trials: schema TRIALS.
        answers: each question, answered.
        unasked: questions that could not be asked, with the reason.
        samples: videos of the compared arms.
        coverage: method to the share of simulated experiments, like this one, whose interval held the truth.
        lineage: what it came from: the corpus, and digests of its pool and of the recipes.
        versions: of what made it.
        seconds: the time this run took.
        reproduce: the command that repeats it.
    """

    plan: Plan
    outcomes: pa.Table
    curves: pa.Table
    trials: pa.Table
    answers: tuple[Answer, ...]
    unasked: tuple[str, ...]
    samples: tuple[Sampled, ...]
    coverage: Mapping[str, float]
    lineage: Mapping[str, str]
    versions: Mapping[str, str]
    seconds: float
    reproduce: str

    @property
    def questions(self) -> list[Answer]:
        """Answers to what was really asked."""
        return [answer for answer in self.answers if answer.as_expected is None]

    @property
    def controls(self) -> list[Answer]:
        """Answers to questions whose answer was known."""
        return [answer for answer in self.answers if answer.as_expected is not None]

    @property
    def verdicts(self) -> list[str]:
        """One sentence that sums up several real questions, one for each of them, then one for the controls."""
        several = [headline(self.questions, self.plan.budget)] if len(self.questions) > 1 else []
        return [*several, *(sentence(answer, self.plan.budget) for answer in self.questions), *([trust(self.controls)] if self.controls else [])]

    @property
    def failures(self) -> list[dict[str, Any]]:
        return [row for row in self.trials.to_pylist() if row["status"] == "failed"]

    def arm_interval(self, arm: str, metric: Metric, view: str = EVERYTHING) -> Interval | None:
        """An arm's metric over its seeds; None where no seed finished."""
        keys = None if view == EVERYTHING else self.plan.held_out.views[view]
        found = scores(self.outcomes, arm, self.plan.experiment.main_task, metric, keys)
        return paired_t(found.by_seed, self.plan.experiment.confidence) if found.seeds and found.keys else None


def trust(controls: list[Answer]) -> str:
    """What the controls say of the method at this size, in a sentence."""
    wrong = [answer for answer in controls if not answer.as_expected]
    if not wrong:
        harms = list(dict.fromkeys(answer.asked.harm for answer in controls if answer.asked.harm))
        seen = [f"harm by {_listed(harms)} is found"] if harms else []
        seen += ["two halves of the same clips are not called different"] if any(answer.asked.harm is None for answer in controls) else []
        return f"The controls came out as they must ({len(controls)} of {len(controls)}): {', and '.join(seen)}."
    missed = [answer.asked.harm for answer in wrong if answer.asked.harm]
    told = [f"harm by {_listed(missed)} was not found, so at this size the absence of a difference means little"] if missed else []
    told += ["two halves of the same clips were called different, so doubt small differences"] if len(missed) < len(wrong) else []
    return f"{len(controls) - len(wrong)} of {len(controls)} controls came out as they must: {'; '.join(told)}."


def _listed(harms: list[Any]) -> str:
    return " and ".join(str(harm).replace("_", " ") for harm in harms)


def write_tables(findings: Findings, out: Path) -> None:
    """`outcomes`, `curves` and `trials` as Parquet, `findings.json` for machines, `verdict.md` for a pull request."""
    for name, table in (("outcomes", findings.outcomes), ("curves", findings.curves), ("trials", findings.trials)):
        pq.write_table(table, out / f"{name}.parquet", compression="zstd")
    (out / "findings.json").write_text(json.dumps(_as_json(findings), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "verdict.md").write_text(markdown(findings), encoding="utf-8")


def _as_json(findings: Findings) -> dict[str, Any]:
    plan = findings.plan
    return {
        "experiment": plan.experiment.model_dump(mode="json"),
        "verdicts": findings.verdicts,
        "answers": [_answer_as_json(answer) for answer in findings.answers],
        "arms": [{"name": arm.name, "control": arm.entrant.control, "kept": len(arm.kept), "hours": arm.hours, "drawn": arm.clips_drawn} for arm in plan.arms],
        "held_out": {"clips": list(plan.held_out.clips), "views": {name: sorted(keys) for name, keys in plan.held_out.views.items()}},
        "warnings": [*plan.warnings, *findings.unasked],
        "failures": findings.failures,
        "coverage": dict(findings.coverage),
        "lineage": dict(findings.lineage),
        "versions": dict(findings.versions),
        "seconds": findings.seconds,
        "reproduce": findings.reproduce,
    }


def _answer_as_json(answer: Answer) -> dict[str, Any]:
    told = asdict(answer)
    told["asked"] = {"question": answer.asked.question.model_dump(mode="json"), "expected": answer.asked.expected, "harm": answer.asked.harm}
    told["as_expected"] = answer.as_expected
    return {key: _finite(value) for key, value in told.items()}


def _finite(value: Any) -> Any:
    """JSON has no infinity: such a bound is null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def markdown(findings: Findings) -> str:
    """The verdicts and the table of differences, to paste into a pull request."""
    lines = [f"## Ablation `{findings.plan.experiment.name}`", "", *(f"- {verdict}" for verdict in findings.verdicts), ""]
    lines += ["| arm | against | metric | difference | interval | p, corrected | verdict |", "|---|---|---|---|---|---|---|"]
    for answer in findings.answers:
        question, interval = answer.asked.question, answer.interval
        bounds = f"{signed(interval.low)} to {signed(interval.high)}"
        cells = [question.arm, question.against, answer.measure.title, signed(interval.estimate), bounds, figure(answer.p), answer.outcome]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"{findings.plan.trials} trials, {len(findings.plan.held_out.clips)} held-out clips; repeat with `{findings.reproduce}`.", ""]
    return "\n".join(lines)
