"""Text in the picture: what it says, how much of the frame it covers, and whether it is a subtitle, a banner, a title or part of the scene."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.models import weights
from curate.scorers.base import ClipBatch, Scorer, columns, tabulate
from curate.scorers.text_reader import Reader

LONGER_SIDE = 640
"""Pixels to which a longer side is brought before detection."""

SURE, TALLEST, SHORTEST_WORD = 0.6, 0.4, 2
"""A line counts if it is read with this probability, is lower than this share of the frame, and has this many letters or digits.
The detector alone returns whole-frame boxes on clean pictures."""


@dataclass(frozen=True)
class Line:
    """A line of text read in one proxy. `box` is left, top, right, bottom, and `slope` its rise over its run; all as shares of the frame."""

    words: str
    probability: float
    box: tuple[float, float, float, float]
    slope: float = 0.0

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]


class Text(Scorer):
    """Reads every proxy with PP-OCRv6 (RapidOCR) and tells text laid over the picture from text in the scene by place and persistence."""

    name = "text"
    version = "2"
    columns = columns("text_area", "text_kind", "texts")
    needs = frozenset({"proxies"})
    models = ("pp-ocrv6-detect", "pp-ocrv6-recognise")
    preprocessing = f"longer side at most {LONGER_SIDE}; each line read by itself"

    def setup(self) -> None:
        detector, recogniser = (str(weights(name, self.models_dir)[0]) for name in self.models)
        self._reader = Reader(detector, recogniser, LONGER_SIDE, TALLEST)

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            read = [self.read(pixels) for pixels in batch.frames(index)]
            kinds = [[kind_of(line, read) for line in lines] for lines in read]
            laid = [[line for line, kind in zip(lines, found, strict=True) if kind != "scene"] for lines, found in zip(read, kinds, strict=True)]
            said = list(dict.fromkeys(line.words for lines in read for line in lines))
            return {"text_area": max(covered(lines) for lines in laid), "text_kind": main_kind(read, kinds), "texts": said}

        return tabulate(batch, self.columns, measure)

    def read(self, pixels: np.ndarray) -> list[Line]:
        """The lines of one picture, uint8 (H, W, 3) RGB, that were read with certainty, top to bottom."""
        size = np.array(pixels.shape[1::-1])
        lines = []
        for corners, words, probability in self._reader(pixels):
            left, top, right, bottom = (float(edge) for edge in np.clip([*corners.min(axis=0) / size, *corners.max(axis=0) / size], 0, 1))
            rise, run = corners[1][1] - corners[0][1], corners[1][0] - corners[0][0]
            line = Line(words.strip(), float(probability), (left, top, right, bottom), float(rise / run) if run else 0.0)
            if line.probability >= SURE and line.height < TALLEST and sum(letter.isalnum() for letter in line.words) >= SHORTEST_WORD:
                lines.append(line)
        return sorted(lines, key=lambda line: (line.box[1], line.box[0]))


def kind_of(line: Line, read: list[list[Line]]) -> str:
    """`subtitle`, `banner`, `title` or `scene`, from where a line lies and whether it, or its place, lasts over the proxies."""
    centred = abs((line.box[0] + line.box[2]) / 2 - 0.5) < 0.08
    lasting = sum(any(_same_place(line, other) for other in lines) for lines in read) >= max(1, 0.75 * len(read))
    if abs(line.slope) > 0.1:
        return "scene"
    if line.box[1] > 0.6 and centred and line.width > 0.1:
        return "subtitle" if not lasting or _changes(line, read) else "banner"
    if centred and line.height > 0.06 and line.width > 0.25:
        return "title"
    return "banner" if lasting and len(read) > 1 and line.height > 0.02 else "scene"


def main_kind(read: list[list[Line]], kinds: list[list[str]]) -> str:
    """The kind that covers most, laid-over text before scene text."""
    area: dict[str, float] = {}
    for lines, found in zip(read, kinds, strict=True):
        for line, kind in zip(lines, found, strict=True):
            area[kind] = area.get(kind, 0.0) + line.width * line.height
    laid = {kind: value for kind, value in area.items() if kind != "scene"} or area
    return max(sorted(laid), key=lambda kind: laid[kind]) if laid else "none"


def covered(lines: list[Line]) -> float:
    """Share of the frame under the lines' boxes, overlaps counted once, on a 200x200 grid."""
    grid = np.zeros((200, 200), bool)
    for line in lines:
        left, top, right, bottom = (round(edge * 200) for edge in line.box)
        grid[top:bottom, left:right] = True
    return float(grid.mean())


def _same_place(line: Line, other: Line) -> bool:
    return max(abs(a - b) for a, b in zip(line.box, other.box, strict=True)) < 0.02


def _changes(line: Line, read: list[list[Line]]) -> bool:
    """Whether other words stand at the line's height in another proxy."""
    return any(abs(other.box[1] - line.box[1]) < 0.05 and other.words != line.words for lines in read for other in lines)
