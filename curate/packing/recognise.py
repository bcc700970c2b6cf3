"""Recognise: whether the frames that are packed are those that were measured, by the pictures that measuring kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from curate.corpus import Corpus
from curate.media.frames import Frames
from curate.video import MediaError

SIZE = (32, 18)
MOST_APART = 10.0
"""Mean difference in luma levels; compression of the kept pictures alone makes less than two."""
END_FRAMES, LEAST_FRAMES = 3, 12
"""How many frames at an end are looked at, and how many a clip needs for its usual movement to be known."""
MOST_APART_INSIDE, LEAPS = 20.0, 5.0
"""Levels between neighbours, and how many times their usual (90th percentile) distance, above which they belong to different shots."""
LEEWAY_FRAMES = 2
"""Frames by which a copy at another rate may be early or late."""


@dataclass(frozen=True)
class Recognition:
    """What measuring kept of some clips: the first and the last picture of each.

    Attributes:
        pictures: clip_id to {frame number: int16 luma (18, 32)}.
        times_s: clip_id to {frame number: its time in the source}.
    """

    pictures: dict[str, dict[int, np.ndarray]]
    times_s: dict[str, dict[int, float]]

    @classmethod
    def of(cls, corpus: Corpus, clip_ids: Sequence[str]) -> "Recognition":
        """The first and the last proxy of each clip."""
        kept: dict[str, dict[int, np.ndarray]] = {}
        times_s: dict[str, dict[int, float]] = {}
        for row in corpus.proxies(list(clip_ids)).select(["clip_id", "frame", "time_s", "image"]).to_pylist():
            luma = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
            if luma is not None:
                kept.setdefault(row["clip_id"], {})[row["frame"]] = cv2.resize(luma, SIZE, interpolation=cv2.INTER_AREA).astype(np.int16)
                times_s.setdefault(row["clip_id"], {})[row["frame"]] = row["time_s"]
        return cls({clip_id: {frame: found[frame] for frame in (min(found), max(found))} for clip_id, found in kept.items()}, times_s)

    def checked(self, clip_id: str, chunks: Iterator[Frames]) -> Iterator[Frames]:
        """The same frames, once those that measuring kept have been recognised.

        Raises:
            MediaError: one of them shows something else; the source was changed, or decodes otherwise than it did.
        """
        known = self.pictures.get(clip_id, {})
        for chunk in chunks:
            for number in known.keys() & set(chunk.numbers.tolist()):
                apart = float(np.abs(small_luma(chunk.pictures[int(chunk.numbers.searchsorted(number))]) - known[number]).mean())
                if apart > MOST_APART:
                    raise MediaError(f"frame {number} is not the one that was measured ({apart:.0f} of 255 levels apart): has the source changed?")
            yield chunk

    def strange(self, clip_id: str, start_s: float, lumas: np.ndarray, times_s: np.ndarray) -> list[tuple[int, float]]:
        """Frames kept of a clip that are not in a packed copy where they should be, with how far the nearest one there is from them.

        Args:
            start_s: when the clip starts in its source.
            lumas: int16 (T, 18, 32), the copy's frames.
            times_s: float (T,), their times from the clip's start.
        """
        found = []
        for number, picture in self.pictures.get(clip_id, {}).items():
            at = int(np.abs(times_s - (self.times_s[clip_id][number] - start_s)).argmin())
            near = lumas[max(at - LEEWAY_FRAMES, 0) : at + LEEWAY_FRAMES + 1]
            apart = float(np.abs(near - picture).mean(axis=(1, 2)).min())
            found += [(number, apart)] if apart > MOST_APART else []
        return found


def foreign_ends(lumas: np.ndarray) -> list[tuple[str, int, float]]:
    """Ends of a clip that look like another shot: `first` or `last`, how many frames, and how far these are from the frame beside them.

    A clip holds no cut, so that only few of its frames may leap; where one leaps that is among the first or the last few, a neighbour's frames were taken
    along. What measuring kept cannot tell, since it lies further inside.

    Args:
        lumas: int16 (T, 18, 32).
    """
    if len(lumas) < LEAST_FRAMES:
        return []
    apart = np.abs(np.diff(lumas, axis=0)).mean(axis=(1, 2))
    leap = max(MOST_APART_INSIDE, LEAPS * float(np.quantile(apart, 0.9)))
    first, last = int(apart[:END_FRAMES].argmax()), int(apart[::-1][:END_FRAMES].argmax())
    ends = [("first", first + 1, float(apart[first])), ("last", last + 1, float(apart[::-1][last]))]
    return [end for end in ends if end[2] > leap]


def small_luma(picture: np.ndarray) -> np.ndarray:
    """An RGB picture as pictures are compared: int16 (18, 32)."""
    return cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), SIZE, interpolation=cv2.INTER_AREA).astype(np.int16)
