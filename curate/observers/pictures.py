"""Pictures: a few frames of every clip, each the sharpest of its neighbourhood, as JPEG: what scorers, captioners and people look at."""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from curate.observers.base import Frames, Observer, Span

CAPACITY = 192
"""Samples held at most; older ones are thinned, so that a clip of any length fits in memory."""


@dataclass(frozen=True)
class Picture:
    """An encoded picture and where it comes from."""

    frame: int
    time_s: float
    width: int
    height: int
    image: bytes


class Pictures(Observer):
    """Keeps the samples of the clip at hand; those chosen for the span closed last are in `chosen`.

    Args:
        count: pictures per clip.
        side: their longer side is at most this, in pixels.
        quality: of JPEG, 0-100.
    """

    columns: ClassVar = ()
    sampled: ClassVar = True

    def __init__(self, count: int = 4, side: int = 512, quality: int = 82) -> None:
        self._count, self._side, self._quality = count, side, quality
        self._samples: list[tuple[int, float, np.ndarray, float]] = []
        self.chosen: list[Picture] = []

    def observe(self, frames: Frames) -> None:
        for number, time_s, picture in zip(frames.numbers.tolist(), frames.times_s.tolist(), frames.pictures):
            self._samples.append((number, time_s, picture, sharpness(picture)))
        if len(self._samples) > CAPACITY:
            half = len(self._samples) // 2
            self._samples = [max(pair, key=lambda sample: sample[3]) for pair in zip(self._samples[:half:2], self._samples[1:half:2])] + self._samples[
                half // 2 * 2 :
            ]

    def close(self, span: Span) -> dict[str, Any]:
        inside = [sample for sample in self._samples if span.start_frame <= sample[0] < span.end_frame]
        self._samples = [sample for sample in self._samples if sample[0] >= span.end_frame]
        self.chosen = [self._encoded(*sample[:3]) for sample in self._sharpest(inside, span)]
        return {}

    def _sharpest(self, inside: list[tuple[int, float, np.ndarray, float]], span: Span) -> list[tuple[int, float, np.ndarray, float]]:
        """One sample out of the middle half of each equal part of the span; the nearest one where that is empty."""
        part_s = span.duration_s / self._count
        chosen = {}
        for index in range(self._count if inside else 0):
            middle_s = span.start_s + (index + 0.5) * part_s
            near = [sample for sample in inside if abs(sample[1] - middle_s) <= part_s / 4]
            best = max(near, key=lambda sample: sample[3]) if near else min(inside, key=lambda sample: abs(sample[1] - middle_s))
            chosen[best[0]] = best
        return [chosen[number] for number in sorted(chosen)]

    def _encoded(self, number: int, time_s: float, picture: np.ndarray) -> Picture:
        height, width = picture.shape[:2]
        scale = min(1.0, self._side / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return Picture(number, time_s, *size, data.tobytes())


def sharpness(picture: np.ndarray) -> float:
    """Variance of the Laplacian of the green channel at half size (Pech-Pacheco et al. 2000)."""
    return float(cv2.Laplacian(np.ascontiguousarray(picture[::2, ::2, 1]), cv2.CV_16S).var())
