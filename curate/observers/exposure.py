"""Exposure: brightness, black frames and flashes, from the mean and the brightest luma of every frame."""

from typing import Any, ClassVar

import numpy as np

from curate.observers.base import Frames, Observer, Series, Span

BLACK_MEAN, BLACK_BRIGHTEST = 24.0, 48.0
"""Luma levels of a black frame: 16 is video black, with room for noise and a fade's last frames."""
FLASH_RISE, FLASH_S = 24.0, 0.35
"""A flash lifts the mean by a tenth of the range and is gone within a third of a second (ITU-R BT.1702 counts rises over 20 cd/m2)."""


class Exposure(Observer):
    """Mean luma is enough at 48x27."""

    columns: ClassVar = ("flashes", "brightness", "black_share")
    size: ClassVar = (48, 27)

    def __init__(self) -> None:
        self._series = Series("mean", "brightest", "lasts_s")

    def observe(self, frames: Frames) -> None:
        luma = frames.luma.reshape(len(frames), -1)
        values = {"mean": luma.mean(1), "brightest": luma.max(1), "lasts_s": frames.ends_s - frames.times_s}
        self._series.add(frames.numbers, values)

    def close(self, span: Span) -> dict[str, Any]:
        taken = self._series.take(span)
        mean, lasts_s = taken["mean"], taken["lasts_s"]
        black = (mean < BLACK_MEAN) & (taken["brightest"] < BLACK_BRIGHTEST)
        total_s = max(float(lasts_s.sum()), 1e-9)
        return {
            "brightness": round(float((mean * lasts_s).sum() / total_s / 255), 4),
            "black_share": round(float(lasts_s[black].sum() / total_s), 4),
            "flashes": flashes(mean, max(1, round(FLASH_S * len(mean) / total_s))),
        }


def flashes(mean: np.ndarray, longest: int) -> int:
    """Excursions above what comes before and after, at most `longest` frames long, in mean luma per frame."""
    if len(mean) < 3:
        return 0
    wide = 2 * longest + 1
    padded = np.pad(mean, longest, mode="edge")
    # Opening by a window longer than a flash takes the flash away and leaves steps and slopes.
    eroded = np.lib.stride_tricks.sliding_window_view(padded, wide).min(1)
    opened = np.lib.stride_tricks.sliding_window_view(np.pad(eroded, longest, mode="edge"), wide).max(1)
    above = mean - opened > FLASH_RISE
    return int(above[0]) + int((above[1:] & ~above[:-1]).sum())
