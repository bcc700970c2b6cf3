"""Frames: a run of consecutive pictures of one source with their times, and the smaller sizes observers ask for, each made once."""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np


@dataclass(frozen=True)
class Frames:
    """Frames of one source in presentation order; consecutive, or samples of it.

    Attributes:
        numbers: int64 (T,): their numbers, counted in decode order from 0.
        times_s: float64 (T,): when each begins, in seconds from the source's first.
        ends_s: float64 (T,): when each ends.
        pictures: uint8 (T, H, W, 3): upright RGB with square pixels.
        samples: some of these frames, larger; None where none were asked for.
    """

    numbers: np.ndarray
    times_s: np.ndarray
    ends_s: np.ndarray
    pictures: np.ndarray
    samples: "Frames | None" = None
    _made: dict[tuple[int, int], "Frames"] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def start(self) -> int:
        """Number of the first frame."""
        return int(self.numbers[0])

    @property
    def end(self) -> int:
        """Number after the last frame's."""
        return int(self.numbers[-1]) + 1

    @cached_property
    def luma(self) -> np.ndarray:
        """uint8 (T, H, W): BT.601 luma."""
        frames, height, width, _ = self.pictures.shape
        return cv2.cvtColor(self.pictures.reshape(frames * height, width, 3), cv2.COLOR_RGB2GRAY).reshape(frames, height, width)

    def at(self, size: tuple[int, int] | None) -> "Frames":
        """The same frames shrunk by area averaging.

        Args:
            size: exactly (width, height); or (side, 0) for a longer side of at most `side`, in proportion; or None as they are.
        """
        if size is None:
            return self
        width, height = self._exact(size)
        if (height, width) == self.pictures.shape[1:3]:
            return self
        if (width, height) not in self._made:
            shrunk = np.empty((len(self), height, width, 3), np.uint8)
            for picture, target in zip(self.pictures, shrunk):
                cv2.resize(picture, (width, height), dst=target, interpolation=cv2.INTER_AREA)
            self._made[width, height] = Frames(self.numbers, self.times_s, self.ends_s, shrunk)
        return self._made[width, height]

    def _exact(self, size: tuple[int, int]) -> tuple[int, int]:
        if size[1]:
            return size
        height, width = self.pictures.shape[1:3]
        scale = min(1.0, size[0] / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))
