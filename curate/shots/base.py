"""ShotDetector: the one interface of finding the boundaries between shots while a film goes by."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from curate.media.frames import Frames


@dataclass(frozen=True, order=True)
class Boundary:
    """Between two shots: frames `start` to `end` (exclusive) belong to neither. A hard cut has none: both are the new shot's first frame."""

    start: int
    end: int


class ShotDetector(ABC):
    """Serves one source. Boundaries come in order; those before `frontier` are all known."""

    size: ClassVar[tuple[int, int]] = (48, 27)
    frontier: int = 0

    @abstractmethod
    def observe(self, frames: Frames) -> list[Boundary]:
        """The next frames, at `size`; returns boundaries that became known."""

    @abstractmethod
    def finish(self) -> list[Boundary]:
        """The film is over: the boundaries not yet told."""
