"""Neighbours: which of many vectors are near one another: cells of alike vectors are joined with the cells around them, one at a time.

Everything looks for everything, so instead of asking an index for each vector, all of a cell are multiplied at once with each cell that any of them
would probe (an inverted file, Jégou et al. 2011, "Product quantization for nearest neighbor search", read by whole lists). What is compared lies side
by side in files, so memory does not grow with it; a vector costs the 16 bytes of its place and owner. Missed are neighbours in cells that are not probed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np

from curate.engine import Listener, quiet

MOST, MOST_KEPT = 512, 32
"""Neighbours looked at for each vector, the nearest first, and pairs kept of these."""
ONE_CELL_UP_TO = 20_000
"""Vectors up to which every one is compared with every other."""
CELLS_PER_ROOT, LEAST_A_CELL, LEARNT_PER_CELL, ROUNDS = 8, 256, 32, 6
"""Cells are as many as 8 roots of the vectors; fewer where they would hold less than 256 on average, which costs more calls than it saves work."""
PROBES, AROUND = 24, 512
"""Cells that a vector probes, of those around its own."""
BATCH = 2048


class Rows(Protocol):
    """Vectors (N, …, dimensions), in memory, mapped from a file, or made when asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> np.ndarray: ...


Views = Callable[[np.ndarray], Iterable[np.ndarray]]
Likely = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Cells:
    """Rows in the order of their cells.

    Attributes:
        order: int64 (N,), the row at each place.
        starts: int64 (C + 1,), the place at which each cell starts, and where the last ends.
        centres: float32 (C, dimensions).
        around: int64 (C, up to AROUND), the cells nearest each.
    """

    order: np.ndarray
    starts: np.ndarray
    centres: np.ndarray
    around: np.ndarray


def near_pairs(
    vectors: Rows, owners: np.ndarray, cosine: float, views: Views, likely: Likely | None = None, folder: Path | None = None, listener: Listener = quiet
) -> np.ndarray:
    """Pairs of owners of which two vectors are near: int64 (P, 2), each once, the lower number first, sorted.

    Args:
        vectors: of length one; the first of each row is what is looked for.
        owners: int64 (N,), whose each row is.
        cosine: from which two are near.
        views: makes of a batch (B, …, dimensions), float32, the vectors (B, dimensions) that look, in turn.
        likely: given rows that look, rows found and the number of the view, the nearest pairs first, says which to keep: bool (P,); all when None.
        folder: where what is looked for is laid side by side; in memory when None.
        listener: hears how far it is.
    """
    if not len(owners):
        return np.empty((0, 2), np.int64)
    cells, found = divided(vectors), [np.empty(0, np.int64)]
    wholes = _side_by_side(vectors, cells.order, folder)
    for home in range(len(cells.centres)):
        for start in range(cells.starts[home], cells.starts[home + 1], BATCH):
            rows = np.sort(cells.order[start : min(start + BATCH, cells.starts[home + 1])])
            for view, looking in enumerate(views(np.asarray(vectors[rows], np.float32))):
                lookers, others, likeness = _near(cells, home, looking, wholes, cosine)
                strangers = owners[rows[lookers]] != owners[others]
                lookers, others, likeness = lookers[strangers], others[strangers], likeness[strangers]
                kept = _nearest(lookers, likeness, MOST)
                if likely is not None:
                    kept = kept[np.argsort(-likeness[kept], kind="stable")]
                    kept = kept[likely(rows[lookers[kept]], others[kept], view)]
                    kept = kept[_nearest(lookers[kept], likeness[kept], MOST_KEPT)]
                one, other = owners[rows[lookers[kept]]], owners[others[kept]]
                found.append(np.unique(np.minimum(one, other) << 32 | np.maximum(one, other)))
        listener("near", home + 1, len(cells.centres))
    # One number for two halves the memory, and sorts at once.
    both = np.unique(np.concatenate(found))
    return np.stack([both >> 32, both & 0xFFFFFFFF], axis=1)


def _near(cells: Cells, home: int, looking: np.ndarray, wholes: np.ndarray, cosine: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who of those looking finds which rows, and how near they are: int64, int64 and float32 (F,)."""
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for which, cell in _probed(cells, home, looking):
        for start in range(cells.starts[cell], cells.starts[cell + 1], BATCH):
            end = min(start + BATCH, cells.starts[cell + 1])
            likeness = (looking[which] @ wholes[start:end].astype(np.float32).T).ravel()
            near = np.flatnonzero(likeness >= cosine)
            if len(near):
                looker, place = np.divmod(near, end - start)
                kept = _nearest(looker, likeness[near], MOST)
                found.append((which[looker[kept]], cells.order[start + place[kept]], likeness[near[kept]]))
    lookers, rows, likeness = (np.concatenate(part) for part in zip(*found))
    return lookers, rows, likeness


def _probed(cells: Cells, home: int, looking: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Cells, and which of those looking probe each."""
    around = cells.around[home]
    probes = min(PROBES, len(around))
    centres = cells.centres[around]
    nearness = looking @ centres.T - (centres**2).sum(axis=1) / 2
    chosen = np.argpartition(nearness, -probes, axis=1)[:, -probes:].ravel()
    order = np.argsort(chosen, kind="stable")
    bounds = np.searchsorted(chosen[order], np.arange(len(around) + 1))
    for number, cell in enumerate(around.tolist()):
        if bounds[number] < bounds[number + 1]:
            yield order[bounds[number] : bounds[number + 1]] // probes, cell


def _nearest(lookers: np.ndarray, likeness: np.ndarray, most: int) -> np.ndarray:
    """Positions of the nearest few that each looker found."""
    order = np.lexsort((-likeness, lookers))
    by = lookers[order]
    return order[np.arange(len(order)) - np.searchsorted(by, by) < most]


def divided(vectors: Rows) -> Cells:
    """Cells of the firsts of some vectors (N, …, dimensions), by k-means on some of them."""
    count, dimensions = len(vectors), vectors.shape[-1]
    if count <= ONE_CELL_UP_TO:
        return Cells(np.arange(count), np.array([0, count]), np.zeros((1, dimensions), np.float32), np.zeros((1, 1), np.int64))
    wanted = max(1, min(int(CELLS_PER_ROOT * count**0.5), count // LEAST_A_CELL))
    means = faiss.Kmeans(dimensions, wanted, niter=ROUNDS, seed=0, min_points_per_centroid=1, max_points_per_centroid=LEARNT_PER_CELL)
    means.train(_firsts(vectors, np.arange(0, count, max(1, count // (wanted * LEARNT_PER_CELL)))))
    centres = np.asarray(means.centroids)
    nearest = faiss.IndexHNSWFlat(dimensions, 32)
    nearest.add(centres)
    of = np.empty(count, np.int32)
    for start in range(0, count, BATCH):
        of[start : start + BATCH] = nearest.search(_firsts(vectors, slice(start, start + BATCH)), 1)[1][:, 0]
    _, around = faiss.knn(centres, centres, min(AROUND, wanted))
    return Cells(np.argsort(of, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(of, minlength=wanted))]), centres, around)


def _side_by_side(vectors: Rows, order: np.ndarray, folder: Path | None) -> np.ndarray:
    """The firsts of vectors (N, …, dimensions) in this order, float16."""
    count, dimensions = len(vectors), vectors.shape[-1]
    laid = np.memmap(folder / "side-by-side", np.float16, "w+", shape=(count, dimensions)) if folder else np.empty((count, dimensions), np.float16)
    for start in range(0, count, BATCH):
        laid[start : start + BATCH] = _firsts(vectors, order[start : start + BATCH])
    return laid


def _firsts(vectors: Rows, rows: np.ndarray | slice) -> np.ndarray:
    """The firsts of some rows: float32 (R, dimensions)."""
    some = np.asarray(vectors[rows], np.float32)
    return np.ascontiguousarray(some.reshape(len(some), -1, some.shape[-1])[:, 0])
