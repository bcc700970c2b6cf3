"""Rank: which of several copies is the best, by a stated rule, and which clips could be copies of one another at all."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NEEDED = ("clip_id", "source_id", "media_type", "shot_index", "start_s", "end_s", "width", "height", "content_box", "watermark", "technical")
COMPARED = ("clip_id", "source_id", "media_type", "shot_index", "start_s", "end_s", "content_box")
"""Of these, what is needed once they are ranked."""
OVERLAID = 0.5


def best_first(clips: pa.Table) -> pa.Array:
    """Positions of clips from the best copy to the worst.

    The rule: free of a watermark, then the larger picture inside its borders, the longer, the technically better, the lower id.
    """
    boxes, shares = clips["content_box"], np.ones(clips.num_rows)
    left, top, right, bottom = pc.list_flatten(boxes.cast(pa.list_(pa.float64()))).to_numpy().reshape(-1, 4).T
    shares[boxes.is_valid().to_numpy()] = (right - left) * (bottom - top)
    pixels = shares * pc.multiply(pc.cast(clips["width"].fill_null(0), pa.float64()), clips["height"].fill_null(0)).to_numpy()
    worth = {
        "marked": pc.greater_equal(clips["watermark"].cast(pa.float64()).fill_null(0.0), OVERLAID),
        "pixels": pa.array(-pixels),
        "shortness": pc.subtract(clips["start_s"], clips["end_s"]),
        "flaws": pc.negate(clips["technical"].cast(pa.float64()).fill_null(0.0)),
        "clip_id": clips["clip_id"],
    }
    return pc.sort_indices(pa.table(worth), [(name, "ascending") for name in worth]).cast(pa.int64())


class Numbers:
    """The numbers of clips by their ids, looked up in sorted ids, so that no table of all ids is built."""

    def __init__(self, clip_ids: pa.ChunkedArray) -> None:
        order = pc.sort_indices(clip_ids)
        self._ids, self._numbers = clip_ids.cast(pa.large_string()).take(order).combine_chunks(), order.to_numpy()

    def of(self, clip_ids: pa.ChunkedArray) -> np.ndarray:
        """int64 (N,): the number of each; -1 where there is no such clip."""
        asked = clip_ids.cast(pa.large_string()).combine_chunks()
        places = pc.search_sorted(self._ids, asked).to_numpy()
        inside = np.flatnonzero(places < len(self._ids))
        known = inside[pc.equal(self._ids.take(places[inside]), asked.take(inside)).to_numpy(zero_copy_only=False)]
        found = np.full(len(asked), -1, np.int64)
        found[known] = self._numbers[places[known]]
        return found


class Kinship:
    """Which of many clips could be copies of one another: parts of one shot follow one another, and an image is no copy of a film.

    Args:
        told: structured (N,), of each clip its source, media type and shot by numbers; `of` makes it of a table.
    """

    def __init__(self, told: np.ndarray) -> None:
        self._told = told

    @classmethod
    def of(cls, clips: pa.Table) -> "Kinship":
        """That of a table with `source_id`, `media_type` and `shot_index`."""
        told = np.empty(clips.num_rows, [("source", np.int32), ("kind", np.int32), ("shot", np.int32)])
        told["source"], told["kind"] = (_numbered(clips[name]) for name in ("source_id", "media_type"))
        told["shot"] = clips["shot_index"].fill_null(-1).to_numpy()
        return cls(told)

    @classmethod
    def saved(cls, path: Path) -> "Kinship":
        """What `save` saved, mapped from its file."""
        return cls(np.load(path, mmap_mode="r"))

    def __bytes__(self) -> bytes:
        return self._told.tobytes()

    def save(self, path: Path) -> None:
        """Write it to a file."""
        np.save(path, self._told)

    def comparable(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether clips at these positions (P,) could be copies of those at these: bool (P,)."""
        one, other = self._told[first], self._told[second]
        related = (one["source"] == other["source"]) & (one["shot"] == other["shot"])
        return (one["kind"] == other["kind"]) & ~related


def _numbered(names: pa.ChunkedArray) -> np.ndarray:
    """A number for each name: int32 (N,)."""
    return pc.dictionary_encode(names).combine_chunks().indices.to_numpy()
