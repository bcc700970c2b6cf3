"""Recognise: whether the frames that are packed are those that were measured, by the pictures that measuring kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from curate.corpus import Corpus
from curate.frames import Frames
from curate.video import MediaError

SIZE = (32, 18)
MOST_APART = 10.0
"""Mean difference in luma levels; compression of the kept pictures alone makes less than two."""


@dataclass(frozen=True)
class Recognition:
    """What measuring kept of some clips: clip_id to {frame number: int16 luma (18, 32)}, the first and the last picture of each."""

    pictures: dict[str, dict[int, np.ndarray]]

    @classmethod
    def of(cls, corpus: Corpus, clip_ids: Sequence[str]) -> "Recognition":
        """The first and the last proxy of each clip."""
        kept: dict[str, dict[int, np.ndarray]] = {}
        for row in corpus.proxies(list(clip_ids)).select(["clip_id", "frame", "image"]).to_pylist():
            luma = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
            if luma is not None:
                kept.setdefault(row["clip_id"], {})[row["frame"]] = cv2.resize(luma, SIZE, interpolation=cv2.INTER_AREA).astype(np.int16)
        return cls({clip_id: {frame: found[frame] for frame in (min(found), max(found))} for clip_id, found in kept.items()})

    def checked(self, clip_id: str, chunks: Iterator[Frames]) -> Iterator[Frames]:
        """The same frames, once those that measuring kept have been recognised.

        Raises:
            MediaError: one of them shows something else; the source was changed, or decodes otherwise than it did.
        """
        known = self.pictures.get(clip_id, {})
        for chunk in chunks:
            for number in known.keys() & set(chunk.numbers.tolist()):
                picture = chunk.pictures[int(chunk.numbers.searchsorted(number))]
                luma = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), SIZE, interpolation=cv2.INTER_AREA)
                apart = float(np.abs(luma.astype(np.int16) - known[number]).mean())
                if apart > MOST_APART:
                    raise MediaError(f"frame {number} is not the one that was measured ({apart:.0f} of 255 levels apart): has the source changed?")
            yield chunk
