"""Passes: several spans of one source out of a single decoding pass, since a seek may give other pictures than measuring saw."""

import dataclasses
from collections.abc import Iterator, Sequence

from curate.media.frames import Frames
from curate.video import MediaError, decode


class Pass:
    """A decoding pass over a local file that is asked for spans in order.

    Args:
        path: a local file.
        end_frame: frame after the last one that will be asked for.
        start_frame: first frame that will be asked for.
    """

    def __init__(self, path: str, start_frame: int, end_frame: int) -> None:
        self._chunks = decode(path, None, start_frame, end_frame)
        self._waiting: Frames | None = None
        self._reached = start_frame

    def span(self, start_frame: int, end_frame: int) -> Iterator[Frames]:
        """The frames of a span that begins where the last one asked for ended, or later; what lies between is dropped.

        Raises:
            MediaError: the source does not decode, or ends before the span does.
            ValueError: the span begins before one that was asked for already.
        """
        if start_frame < self._reached:
            raise ValueError(f"frame {start_frame} lies behind: the pass has reached frame {self._reached}")
        self._reached = end_frame
        given = 0
        while given < end_frame - start_frame and (chunk := self._next()) is not None:
            inside = _between(chunk, start_frame, end_frame)
            if chunk.end > end_frame:
                self._waiting = _between(chunk, end_frame, chunk.end)
            given += len(inside)
            if len(inside):
                yield inside
        if given < end_frame - start_frame:
            raise MediaError(f"only {given} of the {end_frame - start_frame} frames decode")

    def _next(self) -> Frames | None:
        chunk, self._waiting = self._waiting, None
        return chunk if chunk is not None else next(self._chunks, None)


def passes(spans: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Positions of spans, grouped so that each group can be had from one pass: sorted, and none overlapping."""
    waiting = sorted(range(len(spans)), key=lambda i: spans[i])
    while waiting:
        group: list[int] = []
        for i in waiting:
            if not group or spans[i][0] >= spans[group[-1]][1]:
                group.append(i)
        yield group
        waiting = [i for i in waiting if i not in group]


def _between(frames: Frames, start_frame: int, end_frame: int) -> Frames:
    first, last = (int(frames.numbers.searchsorted(number)) for number in (start_frame, end_frame))
    own = {name: getattr(frames, name)[first:last] for name in ("numbers", "times_s", "ends_s", "pictures")}
    return dataclasses.replace(frames, **own, samples=None, _made={})
