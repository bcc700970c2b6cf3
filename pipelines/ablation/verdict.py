"""Verdicts: each question answered from paired trials, with its uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from pipelines.ablation.arms import Asked
from pipelines.ablation.outcomes import MEASURES, Measure, paired, scores
from pipelines.ablation.statistics import (
    FEWEST_FOR_BOOTSTRAP,
    Interval,
    clips_needed,
    components,
    coverage,
    detectable_effect,
    hierarchical_bootstrap,
    holm,
    paired_t,
    seeds_needed,
)
from schemas.experiment import EVERYTHING, Ablation

Outcome = Literal["better", "worse", "no difference", "undecided"]
RELATIVE_EFFECT = 0.01
"""The smallest difference worth knowing where a question names none: this share of the other arm's value."""


@dataclass(frozen=True)
class Answer:
    """A question, answered.

    Attributes:
        asked: the question, and of a control its right answer.
        task: the phase it was asked of.
        value, other: means over seeds of the arm and of the one it was compared with.
        interval: of the arm minus the other.
        p: corrected for the number of questions asked together.
        questions: how many were asked together.
        effect: the smallest difference worth knowing.
        detectable: the smallest difference that these seeds find four times in five.
        seeds_needed, clips_needed: how many are needed to see `effect`; None where no number is enough.
        outcome: of the arm compared with the other.
    """

    asked: Asked
    task: str
    value: float
    other: float
    interval: Interval
    p: float
    questions: int
    effect: float
    detectable: float
    seeds_needed: int | None
    clips_needed: int | None
    outcome: Outcome

    @property
    def measure(self) -> Measure:
        return MEASURES[self.asked.question.metric]

    @property
    def as_expected(self) -> bool | None:
        """Of a control, whether the answer is the right one; None for a question whose answer is unknown."""
        if self.asked.expected == "unknown":
            return None
        return self.outcome == "worse" if self.asked.expected == "worse" else self.outcome in ("no difference", "undecided")


def judge(outcomes: pa.Table, asked: Sequence[Asked], views: Mapping[str, frozenset[str]], experiment: Ablation) -> tuple[list[Answer], list[str]]:
    """Every question answered, and those that could not be, with the reason.

    P-values are corrected within the questions whose answer is unknown, and within the controls.
    """
    raw: list[Answer] = []
    unasked: list[str] = []
    for one in asked:
        seeds, differences, other = compare(outcomes, one, views, experiment)
        if differences.size:
            raw.append(_answer(one, differences, other, experiment))
        else:
            why = "no seed was finished by both" if not seeds else "no held-out clip has this metric in this view"
            unasked.append(f"`{one.question.arm}` against `{one.question.against}` on {MEASURES[one.question.metric].title}: {why}")
    answers: list[Answer] = []
    for known in (False, True):
        family = [answer for answer in raw if (answer.asked.expected != "unknown") == known]
        for answer, p in zip(family, holm([answer.interval.p for answer in family])):
            answers.append(_settled(replace(answer, p=p, questions=len(family)), experiment.confidence))
    return answers, unasked


def compare(outcomes: pa.Table, asked: Asked, views: Mapping[str, frozenset[str]], experiment: Ablation) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """The seeds both arms finished, the differences of shape (seeds, clips), and the other arm's values of that shape."""
    question = asked.question
    task = question.task or experiment.main_task
    keys = None if question.view == EVERYTHING else views[question.view]
    one, other = (scores(outcomes, arm, task, question.metric, keys) for arm in (question.arm, question.against))
    seeds, differences = paired(one, other)
    return seeds, differences, np.array([other.values[other.seeds.index(seed)] for seed in seeds]).reshape(differences.shape)


def _answer(asked: Asked, differences: np.ndarray, other: np.ndarray, experiment: Ablation) -> Answer:
    if experiment.interval == "hierarchical-bootstrap" and len(differences) >= FEWEST_FOR_BOOTSTRAP:
        interval = hierarchical_bootstrap(differences, np.random.default_rng(experiment.evaluation.seed), experiment.confidence)
    else:
        interval = paired_t(differences.mean(axis=1), experiment.confidence)
    other_mean, alpha = float(other.mean()), 1 - experiment.confidence
    effect = asked.question.effect or abs(other_mean) * RELATIVE_EFFECT
    several = interval.seeds > 1
    return Answer(
        asked=asked,
        task=asked.question.task or experiment.main_task,
        value=other_mean + interval.estimate,
        other=other_mean,
        interval=interval,
        p=interval.p,
        questions=1,
        effect=effect,
        detectable=detectable_effect(interval.spread, interval.seeds, alpha),
        seeds_needed=seeds_needed(effect, interval.spread, alpha) if several else None,
        clips_needed=clips_needed(effect, components(differences), interval.seeds, alpha) if several and differences.shape[1] > 1 else None,
        outcome="undecided",
    )


def _settled(answer: Answer, confidence: float) -> Answer:
    interval = answer.interval
    if answer.p < 1 - confidence:
        lower = interval.estimate < 0
        return replace(answer, outcome="better" if lower == answer.measure.lower_is_better else "worse")
    inside = -answer.effect < interval.low and interval.high < answer.effect
    return replace(answer, outcome="no difference" if inside else "undecided")


def simulated_coverage(outcomes: pa.Table, answers: Sequence[Answer], views: Mapping[str, frozenset[str]], experiment: Ablation) -> dict[str, float]:
    """What the intervals used here really cover, with as many seeds and clips and the spread of the first answer's differences.

    A paired t interval speaks of these held-out clips, a hierarchical bootstrap of others as well, so each is tried on its own claim.
    """
    if not answers:
        return {}
    _, differences, _ = compare(outcomes, answers[0].asked, views, experiment)
    if min(differences.shape) < 2:
        return {}
    parts, rng = components(differences), np.random.default_rng(experiment.evaluation.seed)

    def by_t(values: np.ndarray) -> tuple[float, float]:
        found = paired_t(values.mean(axis=1), experiment.confidence)
        return found.low, found.high

    def by_bootstrap(values: np.ndarray) -> tuple[float, float]:
        found = hierarchical_bootstrap(values, rng, experiment.confidence, draws=1000)
        return found.low, found.high

    seeds, clips = differences.shape
    covers = {"paired t over seeds": coverage(by_t, replace(parts, clips=0.0), seeds, clips, 1000, rng)}
    if experiment.interval == "hierarchical-bootstrap":
        covers["hierarchical bootstrap over seeds and clips"] = coverage(by_bootstrap, parts, seeds, clips, 200, rng)
    return covers
