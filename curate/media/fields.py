"""Fields: pictures coded as two fields, half a frame apart in time, made whole, so that no comb is measured, shown or packed."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import av.error
import av.filter


def made_whole(frames: Iterator[Any], stream: Any) -> Iterator[tuple[Any, Any]]:
    """Each frame with the picture to show of it: itself, or a whole one where it is coded as fields.

    FFmpeg's bwdif (after Weston's three-field filter and Yadif) makes one picture of each frame and leaves those alone that are not flagged.
    Films without fields pass by; a filter is made at the first frame that has some.
    """
    weaver: Weaver | None = None
    for frame in frames:
        if weaver is not None and not weaver.takes(frame):
            yield from weaver.rest()
            weaver = None
        if weaver is None and not frame.interlaced_frame:
            yield frame, frame
            continue
        weaver = weaver or Weaver(frame, stream)
        yield from weaver.shown(frame)
    if weaver is not None:
        yield from weaver.rest()


class Weaver:
    """A filter for frames of one size and format; it shows each frame once it has seen the next."""

    def __init__(self, frame: Any, stream: Any) -> None:
        self._kind = _kind(frame)
        self._waiting: deque[Any] = deque()
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        source = self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base)
        filters = [source, self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"), self._graph.add("buffersink")]
        self._graph.link_nodes(*filters).configure()

    def takes(self, frame: Any) -> bool:
        """Whether it is a frame of the same kind."""
        return _kind(frame) == self._kind

    def shown(self, frame: Any) -> Iterator[tuple[Any, Any]]:
        """The frames that can be shown now that there is one more."""
        self._waiting.append(frame)
        self._graph.push(frame)
        yield from self._pulled()

    def rest(self) -> Iterator[tuple[Any, Any]]:
        """The frames not shown yet; no more can be added."""
        self._graph.push(None)
        yield from self._pulled()
        yield from ((frame, frame) for frame in self._waiting)

    def _pulled(self) -> Iterator[tuple[Any, Any]]:
        while self._waiting:
            try:
                yield self._waiting[0], self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._waiting.popleft()


def _kind(frame: Any) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
