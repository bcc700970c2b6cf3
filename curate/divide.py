"""Divide: shot boundaries turned into shots, clips and gaps as they become known, without waiting for the end of a shot.

A division makes clips, never shots, and loses no frame: the next clip begins where the last one ended. Only at a real transition is a
margin left out. Every frame of a source ends up in exactly one clip or gap.
"""

from dataclasses import dataclass, field

import numpy as np

from curate.observers.base import Span
from curate.shots.base import Boundary


@dataclass(frozen=True)
class Lengths:
    """How long clips may be.

    Attributes:
        minimum_frames: a shorter clip is not made; its seconds are a gap by the rule `length`.
        target_s: a shot that goes on for long is divided into clips of this length.
        maximum_s: no clip of at least twice the minimum of frames is longer.
        margin_frames: left out on either side of a transition.
    """

    minimum_frames: int = 16
    target_s: float = 5.0
    maximum_s: float = 10.0
    margin_frames: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.target_s <= self.maximum_s or self.minimum_frames < 1 or self.margin_frames < 0:
            raise ValueError(f"lengths must satisfy 0 < target_s <= maximum_s, minimum_frames >= 1 and margin_frames >= 0; got {self}")


REST_FRAMES = 48
"""A shot is divided once it goes on for so many frames (or the minimum) after the target; less than that is left with the clip."""


@dataclass(frozen=True)
class Shot:
    """A shot as found: its place, and how it begins (`start`, `cut` or `gradual`)."""

    index: int
    span: Span
    transition: str


@dataclass(frozen=True)
class Clip:
    """A clip to be closed, and the shot it lies in."""

    shot_index: int
    span: Span


@dataclass(frozen=True)
class Gap:
    """Frames that belong to no clip, by which rule and why."""

    span: Span
    rule: str
    detail: str


@dataclass
class Division:
    """What became known: in order of time."""

    shots: list[Shot] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


class Divider:
    """Follows one source."""

    def __init__(self, lengths: Lengths) -> None:
        self._lengths = lengths
        self._times_s = np.empty(0)
        self._first_time = 0
        self._shots = 0
        self._shot_start, self._transition = 0, "start"
        self._clip_start, self._covered = 0, 0

    def add_times(self, times_s: np.ndarray) -> None:
        """When the next frames begin."""
        keep = min(self._shot_start, self._covered) - self._first_time if len(self._times_s) > 100_000 else 0
        self._times_s = np.concatenate([self._times_s[keep:], times_s])
        self._first_time += keep

    def advance(self, boundaries: list[Boundary], frontier: int) -> Division:
        """Boundaries that became known, in order, and the frame before which there are no others."""
        division = Division()
        for boundary in boundaries:
            self._end_shot(boundary.start, self._lengths.margin_frames, division)
            self._shot_start, self._transition = boundary.end, "cut" if boundary.start == boundary.end else "gradual"
            self._clip_start = boundary.end + self._lengths.margin_frames
        self._cut_while_longer(frontier - self._lengths.margin_frames, division)
        return division

    def finish(self, end_s: float) -> Division:
        """The film is over: what is left of it."""
        division = Division()
        end = self._first_time + len(self._times_s)
        self._times_s = np.append(self._times_s, end_s)
        self._end_shot(end, 0, division)
        if self._covered < end:
            self._gap(end, "transition", division)
        return division

    def _end_shot(self, end: int, margin: int, division: Division) -> None:
        if end > self._shot_start:
            division.shots.append(Shot(self._shots, self._span(self._shot_start, end), self._transition))
        clip_end = end - margin
        self._cut_while_longer(clip_end, division)
        frames = clip_end - self._clip_start
        if frames >= self._lengths.minimum_frames:
            self._clip(clip_end, division)
        elif frames > 0:
            self._gap(self._clip_start, "transition", division)
            self._gap(clip_end, "length", division, f"{frames} frames, fewer than {self._lengths.minimum_frames}")
        if end > self._shot_start:
            self._shots += 1

    def _cut_while_longer(self, known: int, division: Division) -> None:
        """Clips of the target length, as long as enough of the shot is known to follow."""
        lengths = self._lengths
        while self._clip_start < known:
            target = max(self._frame_at(self._clip_start, lengths.target_s), self._clip_start + lengths.minimum_frames)
            longest = self._frame_at(self._clip_start, lengths.maximum_s)
            if known < max(target + lengths.minimum_frames, min(target + REST_FRAMES, longest)):
                return
            self._clip(target, division)

    def _frame_at(self, start: int, after_s: float) -> int:
        """The first frame at least so long after another, as far as times are known."""
        times_s = self._times_s[start - self._first_time :]
        return start + int(np.searchsorted(times_s, times_s[0] + after_s - 1e-4))

    def _clip(self, end: int, division: Division) -> None:
        self._gap(self._clip_start, "transition", division)
        division.clips.append(Clip(self._shots, self._span(self._clip_start, end)))
        self._clip_start = self._covered = end

    def _gap(self, end: int, rule: str, division: Division, detail: str = "") -> None:
        if end > self._covered:
            detail = detail or f"{end - self._covered} frames in or next to a transition"
            division.gaps.append(Gap(self._span(self._covered, end), rule, detail))
            self._covered = end

    def _span(self, start: int, end: int) -> Span:
        begins, ends = self._times_s[[start - self._first_time, end - self._first_time]]
        return Span(start, end, float(begins), float(ends))
