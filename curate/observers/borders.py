"""Borders: black bars, or blurred ones, around the picture, with the rectangle of the picture inside.

A black bar is more than darkness: over the whole clip nothing in it lights up, it ends in a straight line beyond which nearly everything
does at some time, and there is one like it on the opposite side. Blurred bars are the picture itself, enlarged and blurred to fill the
frame: they end in straight lines, and the picture enlarged explains them. Dark, plain or softly focused footage has neither.
"""

from typing import Any, ClassVar

import cv2
import numpy as np

from curate.observers.base import Frames, Observer, Span

STEP = 4
"""Of so many frames one is looked at."""
MOST_SAMPLES, LOOKED_AT = 256, 24
"""Samples held, older ones thinned; and how many of a clip are looked at."""
LEAST_SHARE, MOST_SHARE = 0.01, 0.47
"""A bar is at least and at most so much of the picture's side."""
BLACK_LEVEL, LIT_LEVELS = 40, 14
"""Luma of a bar, and by how much a pixel must differ from it at some time to be lit."""
UNLIT, LIT = 0.02, 0.5
"""Shares of lit pixels in a line of a bar, and in the picture's lines next to it."""
WEAKLY_LIT, ASYMMETRY = 0.1, 0.015
"""Where one bar is plain, its pair may end in a picture less lit than that, at the same place but for so much of the picture's side."""
BLURRED, EDGE = 1.5, 2.0
"""How much sharper than a blurred bar the picture is, and how much stronger its edge is than what is near."""
ENLARGED, BLUR = 0.8, 0.025
"""Correlation of both blurred bars with the picture enlarged, and its blur over the picture's side."""
NEAR = np.array([*range(-8, -2), *range(3, 9)])
"""Lines near an edge, from it."""
SMALLEST = 16
"""Pixels of a picture's side below which blur cannot be told."""
FULL = [0.0, 0.0, 1.0, 1.0]


class Borders(Observer):
    """Keeps small luma samples of the clip at hand."""

    columns: ClassVar = ("border", "content_box")
    size: ClassVar = (256, 0)

    def __init__(self) -> None:
        self._samples: list[tuple[int, np.ndarray]] = []

    def observe(self, frames: Frames) -> None:
        self._samples += [(int(number), picture) for number, picture in zip(frames.numbers, frames.luma) if number % STEP == 0]
        if len(self._samples) > MOST_SAMPLES:
            half = MOST_SAMPLES // 2
            self._samples = self._samples[:half:2] + self._samples[half:]

    def close(self, span: Span) -> dict[str, Any]:
        inside = [picture for number, picture in self._samples if span.start_frame <= number < span.end_frame]
        self._samples = [sample for sample in self._samples if sample[0] >= span.end_frame]
        if not inside:
            return {"border": "none", "content_box": FULL}
        luma = np.stack(inside[:: -(-len(inside) // LOOKED_AT)])
        upright, sideways = luma, np.ascontiguousarray(luma.transpose(0, 2, 1))
        rows, columns = black_bars(upright), black_bars(sideways)
        if rows or columns:
            kind = "windowbox" if rows and columns else "letterbox" if rows else "pillarbox"
        else:
            rows, columns = blurred_bars(upright), blurred_bars(sideways)
            kind = "blurred" if rows or columns else "none"
        (top, bottom), (left, right) = rows or (0, 0), columns or (0, 0)
        height, width = luma.shape[1:]
        box = [left / width, top / height, 1 - right / width, 1 - bottom / height]
        return {"border": kind, "content_box": [round(edge, 4) for edge in box]}


def black_bars(luma: np.ndarray) -> tuple[int, int] | None:
    """Lines of the bars at the top and at the bottom of (T, H, W); None without a pair."""
    brightest = luma.max(0).astype(np.int16)
    (first, lit), (last, also_lit) = _black_bar(brightest), _black_bar(brightest[::-1])
    if min(first, last) == 0 or max(lit, also_lit) < LIT:
        return None
    alike = abs(first - last) <= max(1, ASYMMETRY * len(brightest))
    paired = min(lit, also_lit) >= (WEAKLY_LIT if alike else LIT) and min(first, last) >= 0.5 * max(first, last)
    return (first, last) if paired else None


def _black_bar(brightest: np.ndarray) -> tuple[int, float]:
    """Lines of a bar at the top, and how much of the lines next to it is lit; no lines where there is none."""
    level = float(np.median(brightest[0]))
    lit = (brightest > level + LIT_LEVELS).mean(1)
    length = int(np.argmax(lit > UNLIT)) if (lit > UNLIT).any() else 0
    fits = LEAST_SHARE * len(lit) <= length <= MOST_SHARE * len(lit) and level <= BLACK_LEVEL
    return (length, float(lit[length + 1 : length + 4].max(initial=0.0))) if fits else (0, 0.0)


def blurred_bars(luma: np.ndarray) -> tuple[int, int] | None:
    """Lines of a symmetric pair of bars at the top and bottom that are far less sharp than the picture and end in straight edges."""
    height = luma.shape[1]
    if min(luma.shape[1:]) < SMALLEST:
        return None
    pictures = luma.astype(np.int16)
    detail = np.abs(pictures[:, :, 2:] - 2 * pictures[:, :, 1:-1] + pictures[:, :, :-2]).mean((0, 2))
    edge = np.concatenate([[0], cv2.absdiff(luma[:, 1:], luma[:, :-1]).mean((0, 2))])
    lengths = np.arange(max(3, int(0.03 * height)), int(MOST_SHARE * height))
    edges = np.minimum(_stands_out(edge, lengths), _stands_out(edge, height - lengths))
    likely = []
    for length, stands in zip(lengths.tolist(), edges.tolist()):
        if stands >= EDGE and height - 2 * length > 4:
            outer = np.concatenate([detail[: length - 1], detail[height - length + 1 :]]).mean()
            sharper = float(np.median(detail[length + 1 : height - length - 1]) / (outer + 0.1))
            likely += [(sharper * stands, length)] if sharper >= BLURRED else []
    for _, length in sorted(likely, reverse=True)[:2]:
        if _enlarged(luma[::4], length) >= ENLARGED:
            return length, length
    return None


def _enlarged(luma: np.ndarray, length: int) -> float:
    """How well the picture between bars, enlarged to fill the frame, explains the worse of the two bars: a correlation.

    It may have been stretched, or cut to keep its proportions.
    """
    _, height, width = luma.shape
    kept = max(2, round(width * (height - 2 * length) / height))
    return max(_explains(luma, length, slice(0, width)), _explains(luma, length, slice((width - kept) // 2, (width + kept) // 2)))


def _explains(luma: np.ndarray, length: int, columns: slice) -> float:
    height, width = luma.shape[1:]
    found = []
    for picture in luma:
        large = cv2.resize(picture[length : height - length, columns], (width, height), interpolation=cv2.INTER_LINEAR)
        blurred, bars = (cv2.GaussianBlur(part, (0, 0), sigma * height).astype(np.float32) for part, sigma in ((large, BLUR), (picture, BLUR / 8)))
        found.append([_correlation(blurred[part], bars[part]) for part in (slice(0, length - 1), slice(height - length + 1, height))])
    return float(np.mean(found, axis=0).min())


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of two pictures; 0 where one is flat."""
    spread = float(one.std() * other.std())
    return float(((one - one.mean()) * (other - other.mean())).mean()) / spread if spread > 1 else 0.0


def _stands_out(edge: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How much stronger the edges at lines (or the next ones) are than those near them."""
    near = edge[np.clip(at[:, None] + NEAR, 1, len(edge) - 1)]
    return np.maximum(edge[at], edge[np.minimum(at + 1, len(edge) - 1)]) / (np.median(near, axis=1) + 0.5)
