"""Settle: what single sudden changes are, where that is plain without a network: a cut, the same scene again, or a doubt."""

from enum import Enum

import numpy as np

from curate.shots.recent import Recent
from curate.shots.signals import AROUND, correlation_ratio, likeness


class Verdict(Enum):
    """On a sudden change."""

    CUT = "cut"
    SAME = "the same scene before and after"
    DOUBT = "doubt"


LEAST_CHANGE, LEAST_SUDDENNESS = 3.0, 1.5
"""Below these a change is not looked at."""
CUT_SUDDENNESS, CUT_LIKENESS = 4.0, 0.6
"""A cut stands alone by four times, between pictures that do not look alike."""
JUMP_SUDDENNESS, JUMP_LIKENESS = 6.0, 0.87
"""A jump within one take stands alone by six times; the pictures look alike, though not as frames of one movement do."""
FLAT = 6.0
"""Deviation of luma below which a picture shows nothing."""
SAME_LIKENESS, SAME_RATIO = 0.9, 0.93
TONE_LEVELS = 15.0
"""Mean levels by which a flash or a change of exposure moves a picture."""


def verdict(recent: Recent, number: int, suddenness: float) -> Verdict | None:
    """On the change from frame `number - 1` to `number`; None where there is nothing to it."""
    here = recent.index(number)
    if recent.change[here] < LEAST_CHANGE or suddenness < LEAST_SUDDENNESS:
        return None
    before, after = recent.luma[here - 1 : here], recent.luma[here : here + 1]
    alike = float(likeness(before, after, 2)[0])
    if returns(recent, number, number):
        return Verdict.SAME
    plain = min(recent.spread[here - 1], recent.spread[here]) > FLAT
    if plain and suddenness >= CUT_SUDDENNESS and alike <= CUT_LIKENESS:
        return Verdict.CUT
    if plain and suddenness >= JUMP_SUDDENNESS and float(likeness(before, after, 3)[0]) <= JUMP_LIKENESS:
        return Verdict.CUT
    return Verdict.DOUBT if alike <= 0.85 else None


def returns(recent: Recent, start: int, end: int) -> bool:
    """Whether the same scene is seen shortly before frame `start` and shortly after frame `end - 1`, with only light in between.

    In between there must be nothing, or frames that are flat or the same scene in another tone: a flash, a camera's shutter, lightning,
    a change of exposure. (A short shot of something else between two of the same is not light.)
    """
    first, last = max(start - AROUND, recent.first), min(end + AROUND, recent.end)
    before, after = np.arange(first, start), np.arange(max(end, start), last)
    if len(before) == 0 or len(after) == 0:
        return False
    pairs = np.stack(np.meshgrid(before, after, indexing="ij"), -1).reshape(-1, 2)
    alike = likeness(recent.luma[pairs[:, 0] - recent.first], recent.luma[pairs[:, 1] - recent.first], 1)
    for (b, a), like in sorted(zip(map(tuple, pairs.tolist()), alike.tolist()), key=lambda pair: (pair[0][1] - pair[0][0], pair[0])):
        if (like >= SAME_LIKENESS or _same_in_another_tone(recent, b, a)) and _only_light(recent, b, a):
            return True
    return False


def _same_in_another_tone(recent: Recent, b: int, a: int) -> bool:
    here, there = recent.index(b), recent.index(a)
    one, other = recent.luma[here], recent.luma[there]
    if min(recent.spread[here], recent.spread[there]) < FLAT:
        return False
    return correlation_ratio(one, other) >= SAME_RATIO and correlation_ratio(other, one) >= SAME_RATIO


def _only_light(recent: Recent, b: int, a: int) -> bool:
    reference = recent.luma[recent.index(b)]
    for number in range(b + 1, a):
        here = recent.index(number)
        moved = abs(float(recent.luma[here].mean()) - float(reference.mean())) > TONE_LEVELS
        flat = recent.spread[here] < 2 * FLAT
        if moved and (flat or correlation_ratio(reference, recent.luma[here]) >= 0.8):
            continue
        if likeness(reference[None], recent.luma[here][None], 1)[0] < SAME_LIKENESS:
            return False
    return True
