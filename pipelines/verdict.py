"""Verdicts: each question answered from paired trials, with its uncertainty, in a sentence for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from pipelines.arms import Asked
from pipelines.outcomes import MEASURES, Measure, paired, scores
from pipelines.statistics import Interval, clips_needed, components, detectable_effect, hierarchical_bootstrap, holm, paired_t, seeds_needed
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


def judge(outcomes: pa.Table, asked: Sequence[Asked], views: Mapping[str, frozenset[str]], experiment: Ablation) -> list[Answer]:
    """Every question answered; p-values are corrected within the questions whose answer is unknown, and within the controls."""
    raw = [_answer(outcomes, one, views, experiment) for one in asked]
    answers: list[Answer] = []
    for known in (False, True):
        family = [answer for answer in raw if (answer.asked.expected != "unknown") == known]
        for answer, p in zip(family, holm([answer.interval.p for answer in family]) if family else []):
            answers.append(_settled(replace(answer, p=p, questions=len(family)), experiment.confidence))
    return answers


def _answer(outcomes: pa.Table, asked: Asked, views: Mapping[str, frozenset[str]], experiment: Ablation) -> Answer:
    question = asked.question
    task = question.task or experiment.phases[0].task
    keys = None if question.view == EVERYTHING else views[question.view]
    one, other = (scores(outcomes, arm, task, question.metric, keys) for arm in (question.arm, question.against))
    seeds, differences = paired(one, other)
    if experiment.interval == "hierarchical-bootstrap" and len(seeds) >= 8:
        interval = hierarchical_bootstrap(differences, np.random.default_rng(experiment.evaluation.seed), experiment.confidence)
    else:
        interval = paired_t(differences.mean(axis=1), experiment.confidence)
    other_mean = float(np.mean([other.by_seed[other.seeds.index(seed)] for seed in seeds]))
    effect = question.effect or abs(other_mean) * RELATIVE_EFFECT
    alpha = 1 - experiment.confidence
    return Answer(
        asked=asked,
        task=task,
        value=other_mean + interval.estimate,
        other=other_mean,
        interval=interval,
        p=interval.p,
        questions=1,
        effect=effect,
        detectable=detectable_effect(interval.spread, interval.seeds, alpha),
        seeds_needed=seeds_needed(effect, interval.spread, alpha) if interval.seeds > 1 else None,
        clips_needed=clips_needed(effect, components(differences), interval.seeds, alpha) if interval.seeds > 1 and differences.shape[1] > 1 else None,
        outcome="undecided",
    )


def _settled(answer: Answer, confidence: float) -> Answer:
    interval = answer.interval
    if answer.p < 1 - confidence:
        lower = interval.estimate < 0
        return replace(answer, outcome="better" if lower == answer.measure.lower_is_better else "worse")
    inside = -answer.effect < interval.low and interval.high < answer.effect
    return replace(answer, outcome="no difference" if inside else "undecided")


def sentence(answer: Answer, budget: str) -> str:
    """The answer in one sentence or two; `budget` says what was equal, such as `200 steps each`."""
    question, measure = answer.asked.question, answer.measure
    where = "" if question.view == EVERYTHING else f" on what `{question.view}` keeps of the held-out clips"
    if answer.outcome in ("better", "worse"):
        verb = "trains a better model than" if answer.outcome == "better" else "trains a worse model than"
        way = "lower" if answer.interval.estimate < 0 else "higher"
        return (
            f"`{question.arm}` {verb} `{question.against}` at {budget}: its {measure.title}{where} is {way} by {figure(abs(answer.interval.estimate))}, "
            f"{figure(answer.value)} against {figure(answer.other)} ({_certainty(answer)})."
        )
    if answer.outcome == "no difference":
        return (
            f"`{question.arm}` and `{question.against}` train equally good models at {budget}: their {measure.title}{where} differs by less than "
            f"{figure(answer.effect)}, the smallest difference worth knowing ({_certainty(answer)})."
        )
    return f"No difference found between `{question.arm}` and `{question.against}` at {budget}: {_undecided(answer, where)}"


def _undecided(answer: Answer, where: str) -> str:
    interval, title = answer.interval, answer.measure.title
    if interval.seeds < 2:
        return f"with one seed the {title}{where} differs by {signed(interval.estimate)}, which says nothing about other seeds; train at least 2, better 5."
    nearly = " The interval excludes zero by itself, but not once it is corrected for how many questions were asked." if interval.excludes_zero else ""
    wanted = [f"{answer.seeds_needed} seeds" if answer.seeds_needed is not None else "more than 10,000 seeds"]
    wanted += [f"{answer.clips_needed} held-out clips"] if answer.clips_needed is not None else []
    rough = ", roughly, since so few seeds tell little of their spread" if interval.seeds < 4 else ""
    return (
        f"the {title}{where} differs by {signed(interval.estimate)} ({_certainty(answer)}).{nearly} To see {figure(answer.effect)}, at least "
        f"{' or '.join(wanted)} would be needed{rough}; these could see {figure(answer.detectable)}."
    )


def _certainty(answer: Answer) -> str:
    interval = answer.interval
    bounds = f"{interval.confidence * 100:g} % interval {signed(interval.low)} to {signed(interval.high)}"
    method = {"paired-t": "paired t", "hierarchical-bootstrap": "hierarchical bootstrap"}[interval.method]
    corrected = f" corrected for {answer.questions} questions" if answer.questions > 1 else ""
    return f"{bounds}, {method} over {interval.seeds} seeds, p {probability(answer.p)}{corrected}"


def figure(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:.3g}" if np.isfinite(value) else "∞"


def signed(value: float) -> str:
    """A difference, with its sign and a true minus."""
    return f"{value:+.3g}".replace("-", "−").replace("inf", "∞")


def probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
