"""PySceneDetect's detectors, fed with our frames, for people whose thresholds were tuned with them."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from curate.media.frames import Frames
from curate.shots.base import Boundary, ShotDetector

NOMINAL_RATE = 25.0
"""The detectors count frames; a rate is only asked for by their type of time."""


class PySceneDetect(ShotDetector):
    """One of PySceneDetect's detectors with its own defaults.

    Args:
        make: makes the detector.
        behind: frames that it may look ahead before it tells a cut.
    """

    size: ClassVar = (256, 0)

    def __init__(self, make: Callable[[], Any], behind: int) -> None:
        self._detector, self._behind = make(), behind

    def observe(self, frames: Frames) -> list[Boundary]:
        from scenedetect import FrameTimecode

        cuts = []
        for number, picture in zip(frames.numbers.tolist(), frames.pictures):
            cuts += self._detector.process_frame(FrameTimecode(number, NOMINAL_RATE), np.ascontiguousarray(picture[:, :, ::-1]))
        self.frontier = max(0, frames.end - self._behind)
        return _boundaries(cuts)

    def finish(self) -> list[Boundary]:
        from scenedetect import FrameTimecode

        return _boundaries(self._detector.post_process(FrameTimecode(self.frontier + self._behind, NOMINAL_RATE)))


def _boundaries(cuts: list[Any]) -> list[Boundary]:
    return [Boundary(cut.frame_num, cut.frame_num) for cut in cuts]


def adaptive(_: str | None = None) -> ShotDetector:
    """AdaptiveDetector: content changes against their rolling mean."""
    from scenedetect.detectors import AdaptiveDetector

    return PySceneDetect(AdaptiveDetector, 4)


def content(_: str | None = None) -> ShotDetector:
    """ContentDetector: changes of hue, saturation and luma."""
    from scenedetect.detectors import ContentDetector

    return PySceneDetect(ContentDetector, 20)
