"""Small figures for pages: where a column's numbers lie, and which side of the threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT, BINS = 240.0, 68.0, 24


@dataclass(frozen=True)
class Bar:
    """One bar, in the units of the figure's view box."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Histogram:
    """A distribution ready to draw: bars, the allowed stretch (left edge, width), and its captions."""

    column: str
    asks: str
    bars: tuple[Bar, ...]
    allowed: tuple[float, float] | None
    low: str
    high: str
    note: str


def histogram(column: str, values: Sequence[float | None], minimum: float | None, maximum: float | None) -> Histogram:
    """The distribution of a column over clips, nulls counted apart, with the stretch between `minimum` and `maximum` marked."""
    known = np.array([value for value in values if value is not None], float)
    thresholds = [bound for bound in (minimum, maximum) if bound is not None]
    low, high = _extent([*known.tolist(), *thresholds])
    counts, _ = np.histogram(known, BINS, (low, high))
    tallest, step = max(1, counts.max()), WIDTH / BINS
    heights = counts / tallest * (HEIGHT - 6)
    bars = tuple(
        Bar(round(index * step + 1, 2), round(HEIGHT - height, 2), round(step - 2, 2), round(float(height), 2))
        for index, height in enumerate(heights)
        if height
    )

    def at(bound: float) -> float:
        return round((bound - low) / (high - low) * WIDTH, 2)

    left, right = at(minimum) if minimum is not None else 0.0, at(maximum) if maximum is not None else WIDTH
    missing = len(values) - len(known)
    note = f"{len(known)} clips" + (f", {missing} unmeasured" if missing else "")
    return Histogram(column, asked(minimum, maximum), bars, (left, round(right - left, 2)) if thresholds else None, f"{low:.3g}", f"{high:.3g}", note)


def asked(minimum: float | None, maximum: float | None) -> str:
    """A range in words: `≥ 4`, `≤ 0.5`, `0.1 – 3`."""
    if minimum is not None and maximum is not None:
        return f"{minimum:g} – {maximum:g}"
    return f"≥ {minimum:g}" if minimum is not None else f"≤ {maximum:g}" if maximum is not None else ""


def _extent(values: list[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    wide_enough = high - low > 1e-9 * max(1.0, abs(low), abs(high))
    return (low, high) if wide_enough else (low - 0.5, high + 0.5)
