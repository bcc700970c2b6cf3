"""Borders: black or plain bars, and blurred pillars, around the picture, with the rectangle of the picture inside."""

from typing import Any, ClassVar

import numpy as np

from curate.observers.base import Frames, Observer, Series, Span

PLAIN_SPREAD, PLAIN_CHANGE, CONTRAST = 10.0, 6.0, 14.0
LEAST_SHARE, MOST_SHARE = 0.015, 0.45
STEP = 4
"""Of so many frames one is looked at."""
FULL = [0.0, 0.0, 1.0, 1.0]


class Borders(Observer):
    """Looks at the profile of every row and column over a clip: bars are plain, stay as they are, and end in a straight edge."""

    columns: ClassVar = ("border", "content_box")
    size: ClassVar = (256, 0)

    def __init__(self) -> None:
        self._profiles = Series("rows", "columns", "row_spread", "column_spread")

    def observe(self, frames: Frames) -> None:
        seen = frames.numbers % STEP == 0
        if not seen.any():
            return
        luma = frames.luma[seen].astype(np.float32)
        values = {"rows": luma.mean(2), "columns": luma.mean(1), "row_spread": luma.std(2), "column_spread": luma.std(1)}
        self._profiles.add(frames.numbers[seen], values)

    def close(self, span: Span) -> dict[str, Any]:
        taken = self._profiles.take(span)
        if len(taken["rows"]) == 0:
            return {"border": "none", "content_box": FULL}
        top, bottom = _bars(taken["rows"], taken["row_spread"])
        left, right = _bars(taken["columns"], taken["column_spread"])
        kinds = {(False, False): "none", (True, False): "letterbox", (False, True): "pillarbox", (True, True): "windowbox"}
        kind = kinds[top > 0 or bottom > 0, left > 0 or right > 0]
        return {"border": kind, "content_box": [round(value, 4) for value in (left, top, 1 - right, 1 - bottom)]}


def _bars(levels: np.ndarray, spreads: np.ndarray) -> tuple[float, float]:
    """Shares of the plain lines at the beginning and the end; (T, N) mean and deviation of each line in each sample."""
    plain = (spreads.max(0) < PLAIN_SPREAD) & (np.ptp(levels, axis=0) < PLAIN_CHANGE)
    count = levels.shape[1]
    found = []
    for order in (slice(None), slice(None, None, -1)):
        ordered = plain[order]
        length = int(np.argmin(ordered)) if not ordered.all() else 0
        share = length / count
        found.append(share if LEAST_SHARE <= share <= MOST_SHARE and levels[:, order][:, : max(length, 1)].max() < 32 else 0.0)
    return found[0], found[1]
