"""Observer: the one interface of a dense measure, which sees the frames of one source once, in order."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from curate.media.frames import Frames

__all__ = ["LAG", "Frames", "Observer", "Series", "Span", "Unknown"]

LAG = 128
"""A clip is closed at most so many frames after its end was seen."""


@dataclass(frozen=True)
class Span:
    """A clip's place in its source: frames from `start_frame` up to but not including `end_frame`."""

    start_frame: int
    end_frame: int
    start_s: float
    end_s: float

    @property
    def frames(self) -> int:
        return self.end_frame - self.start_frame

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Unknown:
    """In place of a value: it could not be measured, and why."""

    reason: str


class Observer(ABC):
    """Sees every frame of one source (or larger samples of them), in order, and tells about spans as they are settled.

    One observer serves one source. Memory must stay flat in the film's length: keep scalars per frame, forget what precedes a span.
    """

    columns: ClassVar[tuple[str, ...]]
    """Columns of `schemas.clip.OBSERVED` that it writes."""
    size: ClassVar[tuple[int, int] | None] = None
    """Exactly (width, height), or (side, 0) for a longer side of at most `side`, or None for the pictures as they are decoded."""
    sampled: ClassVar[bool] = False
    """Whether it sees the larger samples (about eight a second) rather than every frame."""

    @abstractmethod
    def observe(self, frames: Frames) -> None:
        """The next frames, at `size`."""

    @abstractmethod
    def close(self, span: Span) -> dict[str, Any]:
        """A value (or `Unknown`) for each of its columns; called once per clip, in order, at most LAG frames after its end was seen."""


class Series:
    """Numbers per frame, kept from the last span's end on.

    Args:
        names: of the numbers.
    """

    def __init__(self, *names: str) -> None:
        self._numbers = np.empty(0, np.int64)
        self._values: dict[str, np.ndarray | None] = dict.fromkeys(names)

    def add(self, numbers: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Values, (T, …) each, of the next frames."""
        self._numbers = np.concatenate([self._numbers, numbers])
        for name, known in self._values.items():
            self._values[name] = values[name] if known is None else np.concatenate([known, values[name]])

    def take(self, span: Span) -> dict[str, np.ndarray]:
        """The values within a span; forgets them and all before."""
        low, high = np.searchsorted(self._numbers, [span.start_frame, span.end_frame])
        taken = {name: known[low:high] if known is not None else np.empty(0) for name, known in self._values.items()}
        self._numbers = self._numbers[high:]
        self._values = {name: known[high:] if known is not None else None for name, known in self._values.items()}
        return taken
