"""Dense: TransNetV2 on every frame with its published threshold, and nothing else: the baseline the cascade is measured against."""

import numpy as np

from curate.media.frames import Frames
from curate.shots.base import Boundary, ShotDetector
from curate.shots.transnet import HEIGHT, KEPT, WIDTH, WINDOW, Overlap, TransNet

MARGIN = (WINDOW - KEPT) // 2
THRESHOLD = 0.5


class Dense(ShotDetector):
    """A boundary is a run of frames above the threshold."""

    def __init__(self, network: TransNet) -> None:
        self._network, self._overlap = network, Overlap(KEPT)
        self._pictures = np.empty((0, HEIGHT, WIDTH, 3), np.uint8)
        self._run: list[int] = []
        self._end = self._seen = 0
        self.sent_frames = 0
        """Frames that the network was shown, those shown twice counted twice."""

    def observe(self, frames: Frames) -> list[Boundary]:
        if self._end == 0:
            self._pictures = frames.pictures[:1].repeat(MARGIN, 0)
        self._pictures = np.concatenate([self._pictures, frames.pictures])
        self._end = frames.end
        found: list[Boundary] = []
        while len(self._pictures) >= WINDOW:
            found += self._window(KEPT)
        self.frontier = self._run[0] if self._run else self._seen
        return found

    def finish(self) -> list[Boundary]:
        found: list[Boundary] = []
        while self._seen < self._end:
            missing = max(WINDOW - len(self._pictures), 0)
            self._pictures = np.concatenate([self._pictures, self._pictures[-1:].repeat(missing, 0)])
            found += self._window(min(KEPT, self._end - self._seen))
        self.frontier = self._end
        return found + self._told()

    def _window(self, counted: int) -> list[Boundary]:
        """Look at the next window, of which so many frames count."""
        probability = self._network.window(self._pictures[:WINDOW], slice(MARGIN, MARGIN + counted), self._overlap)[:, 0]
        self.sent_frames += WINDOW
        found: list[Boundary] = []
        for number, above in enumerate(probability > THRESHOLD, start=self._seen):
            if above:
                self._run.append(number)
            else:
                found += self._told()
        self._seen += counted
        self._pictures = self._pictures[counted:]
        return found

    def _told(self) -> list[Boundary]:
        """The boundary of the run that has ended, if there is one: the network marks the last frame of the old shot."""
        run, self._run = self._run, []
        return [Boundary(run[0] + 1, run[-1] + 1)] if run else []
