"""Funnel: how many clips and hours each rule of a recipe rejects, alone and in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

FUNNEL = pa.schema(
    [
        ("rule", pa.string()),
        ("wants", pa.string()),
        ("alone_clips", pa.int64()),
        ("alone_hours", pa.float64()),
        ("rejected_clips", pa.int64()),
        ("rejected_hours", pa.float64()),
        ("left_clips", pa.int64()),
        ("left_hours", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Step:
    """One rule in the funnel.

    Attributes:
        rule: what the ledger calls it; `clips` for the first step, which rejects nothing.
        wants: what it asks, in words and numbers.
        alone_clips: clips it rejects by itself; null for a draw, which only has a meaning after the rules before it.
        alone_hours: their hours.
        rejected_clips: clips it rejects of those that the rules before it left.
        rejected_hours: their hours.
        left_clips: clips left after it.
        left_hours: their hours.
    """

    rule: str
    wants: str
    alone_clips: int | None
    alone_hours: float | None
    rejected_clips: int
    rejected_hours: float
    left_clips: int
    left_hours: float


def rule_steps(names: Sequence[tuple[str, str]], masks: Sequence[tuple[int, int, float]]) -> Iterator[Step]:
    """The steps of rules that judge each clip by itself.

    `names` are (rule, wants) in order; `masks` are (bit i is set where rule i rejects, clips, seconds), each mask once.
    """
    left_clips, left_s = sum(clips for _, clips, _ in masks), sum(seconds for _, _, seconds in masks)
    yield Step("clips", "all that were measured", None, None, 0, 0.0, left_clips, left_s / 3600)
    for index, (rule, wants) in enumerate(names):
        bit = 1 << index
        alone = [(clips, seconds) for mask, clips, seconds in masks if mask & bit]
        first = [(clips, seconds) for mask, clips, seconds in masks if mask & bit and not mask & (bit - 1)]
        (all_clips, all_s), (first_clips, first_s) = _total(alone), _total(first)
        left_clips, left_s = left_clips - first_clips, max(left_s - first_s, 0.0)
        yield Step(rule, wants, all_clips, all_s / 3600, first_clips, first_s / 3600, left_clips, left_s / 3600)


def _total(found: Sequence[tuple[int, float]]) -> tuple[int, float]:
    return sum(clips for clips, _ in found), sum(seconds for _, seconds in found)


def funnel_table(steps: Sequence[Step]) -> pa.Table:
    """The funnel as data."""
    return pa.Table.from_pylist([vars(step) for step in steps], schema=FUNNEL)
