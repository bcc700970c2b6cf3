"""Overlay: edges that stay while content moves, as evidence with a box, and as small maps that scorers can look at later."""

from typing import Any, ClassVar

from curate.observers.base import Frames, Observer, Span, Unknown
from curate.observers.overlay_maps import SAMPLES_PER_S, OverlayMaps, Window, strongest


class Overlay(Observer):
    """Collects the maps of `overlay_maps`; those of the span closed last stay in `windows` to be stored as proxies."""

    columns: ClassVar = ("overlay_evidence", "overlay_box")
    sampled: ClassVar = True

    def __init__(self) -> None:
        self._maps = OverlayMaps(SAMPLES_PER_S)
        self.windows: list[Window] = []

    def observe(self, frames: Frames) -> None:
        self._maps.add(frames.pictures, frames.numbers.tolist(), frames.times_s.tolist())

    def close(self, span: Span) -> dict[str, Any]:
        self.windows = self._maps.close(span.start_frame, span.end_frame)
        evidence, box = strongest(self.windows)
        if evidence is None:
            return dict.fromkeys(self.columns, Unknown("too few frames to tell what stays from what moves"))
        return {"overlay_evidence": evidence, "overlay_box": box if box is not None else Unknown("nothing stays")}
