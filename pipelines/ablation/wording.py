"""Verdicts in words: an answer as a sentence for people, with its uncertainty and what it would take to know more."""

from collections.abc import Sequence

import numpy as np

from pipelines.ablation.verdict import Answer
from schemas.experiment import EVERYTHING

FOUND = ("better", "worse")


def sentence(answer: Answer, budget: str) -> str:
    """The answer in one sentence or two; `budget` says what was equal, such as `200 steps each`."""
    question, measure = answer.asked.question, answer.measure
    where = "" if question.view == EVERYTHING else f" on what `{question.view}` keeps of the held-out clips"
    if answer.outcome in FOUND:
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


def headline(answers: Sequence[Answer], budget: str) -> str:
    """Several answers summed up in one sentence: what was found by name, the rest by number."""
    found = [f"`{one.asked.question.arm}` trains a {one.outcome} model than `{one.asked.question.against}`" for one in answers if one.outcome in FOUND]
    equal, undecided = (sum(one.outcome == outcome for one in answers) for outcome in ("no difference", "undecided"))
    told = found or ["no difference was found in any"]
    told += [f"{equal} make{'s' if equal == 1 else ''} no difference worth knowing"] if equal else []
    told += [f"{undecided} stay{'s' if undecided == 1 else ''} undecided"] if undecided else []
    return f"Of {len(answers)} questions asked at {budget}: {'; '.join(told)}."


def _undecided(answer: Answer, where: str) -> str:
    interval, title = answer.interval, answer.measure.title
    if interval.seeds < 2:
        return f"with one seed the {title}{where} differs by {signed(interval.estimate)}, which says nothing about other seeds; train at least 2, better 5."
    nearly = " The interval excludes zero by itself, but not once it is corrected for how many questions were asked." if interval.excludes_zero else ""
    if answer.seeds_needed is not None and answer.seeds_needed <= interval.seeds:
        return (
            f"the {title}{where} differs by {signed(interval.estimate)} ({_certainty(answer)}).{nearly} These {interval.seeds} seeds find a difference of "
            f"{figure(answer.effect)} four times in five, but cannot rule one out; more seeds would."
        )
    wanted = [f"{answer.seeds_needed} seeds" if answer.seeds_needed is not None else "more than 10,000 seeds"]
    wanted += [f"{answer.clips_needed} held-out clips"] if answer.clips_needed is not None else []
    rough = " (roughly, since so few seeds tell little of their spread)" if interval.seeds < 4 else ""
    return (
        f"the {title}{where} differs by {signed(interval.estimate)} ({_certainty(answer)}).{nearly} Finding a difference of {figure(answer.effect)} would "
        f"take at least {' or '.join(wanted)}{rough}; these {interval.seeds} seeds could have found {figure(answer.detectable)}."
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


def duration(seconds: float) -> str:
    """Seconds as people say them: `48 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
