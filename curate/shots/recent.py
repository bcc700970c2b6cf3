"""Recent: the last few seconds of a film as small pictures, with the signals of each frame, addressed by frame number."""

import numpy as np

from curate.shots.signals import AROUND, changes, luma_of, suddenness


class Recent:
    """Grows at the end, forgets at the beginning."""

    def __init__(self) -> None:
        self.first = 0
        self.pictures = np.empty((0, 27, 48, 3), np.uint8)
        self.luma = np.empty((0, 27, 48), np.uint8)
        self.change = np.empty(0)
        self.spread = np.empty(0)

    @property
    def end(self) -> int:
        """The frame number after the last."""
        return self.first + len(self.pictures)

    def add(self, pictures: np.ndarray) -> None:
        """The next frames, uint8 (T, 27, 48, 3)."""
        luma = luma_of(pictures)
        joined = np.concatenate([self.luma[-1:], luma])
        change = changes(joined) if len(self.luma) else np.concatenate([[0.0], changes(joined)])
        self.pictures = np.concatenate([self.pictures, pictures])
        self.luma = np.concatenate([self.luma, luma])
        self.change = np.concatenate([self.change, change])
        self.spread = np.concatenate([self.spread, luma.reshape(len(luma), -1).std(1)])

    def forget(self, before: int) -> None:
        """Drop frames before a number."""
        drop = max(0, min(before - self.first, len(self.pictures)))
        for name in ("pictures", "luma", "change", "spread"):
            setattr(self, name, getattr(self, name)[drop:])
        self.first += drop

    def at(self, start: int, end: int) -> slice:
        """The kept part of frames `start` up to `end`."""
        return slice(max(start - self.first, 0), max(end - self.first, 0))

    def index(self, number: int) -> int:
        """Where a frame is kept; the nearest kept one for those beyond."""
        return min(max(number - self.first, 0), len(self.pictures) - 1)

    def suddenness(self, start: int, end: int) -> np.ndarray:
        """Of frames `start` up to `end`; see `signals.suddenness`."""
        begin = max(start - AROUND, self.first)
        around = suddenness(self.change[self.at(begin, end + AROUND)])
        return around[start - begin : end - begin]
