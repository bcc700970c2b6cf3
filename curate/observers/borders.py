"""Borders: black bars, or blurred ones, around the picture, with the rectangle of the picture inside.

A bar is more than darkness: over the whole clip nothing in it lights up, it ends in a straight line beyond which nearly everything
does at some time, and there is one like it on the opposite side. Dark or plain footage has no such line.
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
BLURRED, EDGE = 2.5, 2.0
"""How much sharper than a blurred bar the picture is, and how much stronger its edge is than what is near."""
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
    lengths = [_black_bar(brightest), _black_bar(brightest[::-1])]
    return (lengths[0], lengths[1]) if min(lengths) > 0 and min(lengths) >= 0.5 * max(lengths) else None


def _black_bar(brightest: np.ndarray) -> int:
    level = float(np.median(brightest[0]))
    lit = (brightest > level + LIT_LEVELS).mean(1)
    length = int(np.argmax(lit > UNLIT)) if (lit > UNLIT).any() else 0
    inside = lit[length + 1 : length + 4]
    fits = LEAST_SHARE * len(lit) <= length <= MOST_SHARE * len(lit)
    return length if fits and level <= BLACK_LEVEL and len(inside) and inside.max() >= LIT else 0


def blurred_bars(luma: np.ndarray) -> tuple[int, int] | None:
    """Lines of a symmetric pair of bars at the top and bottom that are far less sharp than the picture and end in straight edges."""
    height = luma.shape[1]
    if min(luma.shape[1:]) < SMALLEST:
        return None
    pictures = luma.astype(np.int16)
    detail = np.abs(pictures[:, :, 2:] - 2 * pictures[:, :, 1:-1] + pictures[:, :, :-2]).mean((0, 2))
    edge = np.concatenate([[0], cv2.absdiff(luma[:, 1:], luma[:, :-1]).mean((0, 2))])
    best, found = 0.0, None
    for length in range(max(3, int(0.03 * height)), int(MOST_SHARE * height)):
        outer = np.concatenate([detail[: length - 1], detail[height - length + 1 :]]).mean()
        sharper = float(np.median(detail[length + 1 : height - length - 1]) / (outer + 0.1)) if height - 2 * length > 4 else 0.0
        edges = min(_stands_out(edge, length), _stands_out(edge, height - length))
        if sharper >= BLURRED and edges >= EDGE and sharper * edges > best:
            best, found = sharper * edges, (length, length)
    return found


def _stands_out(edge: np.ndarray, at: int) -> float:
    """How much stronger the edge at a line (or the next one) is than those near it."""
    near = np.concatenate([edge[max(at - 8, 1) : max(at - 2, 1)], edge[at + 3 : at + 9]])
    return float(edge[at : at + 2].max() / (np.median(near) + 0.5)) if len(near) else 0.0
