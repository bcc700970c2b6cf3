"""Dense: TransNetV2 on every frame with its published threshold, and nothing else: the baseline the cascade is measured against."""

import numpy as np

from curate.frames import Frames
from curate.shots.base import Boundary, ShotDetector
from curate.shots.transnet import KEPT, WINDOW, TransNet

MARGIN = (WINDOW - KEPT) // 2
THRESHOLD = 0.5


class Dense(ShotDetector):
    """A boundary is a run of frames above the threshold."""

    def __init__(self, network: TransNet) -> None:
        self._network = network
        self._pictures = np.empty((0, 27, 48, 3), np.uint8)
        self._above: list[int] = []
        self._end = 0
        self.sent_frames = 0

    def observe(self, frames: Frames) -> list[Boundary]:
        if self._end == 0:
            self._pictures = frames.pictures[:1].repeat(MARGIN, 0)
        self._pictures = np.concatenate([self._pictures, frames.pictures])
        self._end = frames.end
        found: list[Boundary] = []
        while len(self._pictures) >= WINDOW:
            found += self._window(KEPT)
        return found

    def finish(self) -> list[Boundary]:
        left = self._end - self.frontier
        if left <= 0:
            return []
        missing = WINDOW - len(self._pictures)
        self._pictures = np.concatenate([self._pictures, self._pictures[-1:].repeat(max(missing, 0), 0)])
        return self._window(left, last=True)

    def _window(self, counted: int, last: bool = False) -> list[Boundary]:
        probability = self._network.window(self._pictures[:WINDOW])[MARGIN : MARGIN + counted, 0]
        self.sent_frames += WINDOW
        self._above += (self.frontier + np.flatnonzero(probability > THRESHOLD)).tolist()
        self.frontier += counted
        self._pictures = self._pictures[counted:]
        runs = np.split(np.array(self._above, np.int64), np.flatnonzero(np.diff(self._above) > 1) + 1) if self._above else []
        done = [run for run in runs if last or run[-1] < self.frontier - 1]
        self._above = [number for number in self._above if not done or number > done[-1][-1]]
        return [Boundary(int(run[0]) + 1, int(run[-1]) + 1) for run in done]
