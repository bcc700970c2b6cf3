"""Cells: many vectors divided by k-means into regions and these into cells, and what they are made of laid in files in that order.

Two levels (a vocabulary tree of two, Nistér and Stewénius 2006, "Scalable recognition with a vocabulary tree") cost the root of what one does, to learn as
to look up. Everything is read one batch after another, twice, and written one region after another, so that memory does not grow with what there is but for
a sample of vectors to learn from (one in `LEARNT_OF`, at 2 bytes a number) and the cells' centres.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

ONE_CELL_UP_TO = 20_000
"""Vectors up to which every one is compared with every other."""
PER_CELL, LEARNT_OF, ROUNDS = 256, 16, 6
"""Vectors in a cell on average, of how many one is learnt from, and rounds of k-means."""
LEARNT_PER_REGION = 256
BATCH = 1 << 16
LAID = "cells.npz"
"""Written last."""

Source = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
"""Records (B, …) and whose each is, int64 (B,), batch by batch; the same each time that it is asked."""
Whole = Callable[[np.ndarray], np.ndarray]
"""Makes of records (B, …) the vectors that are looked for, float32 (B, dimensions), of length one."""


@dataclass(frozen=True)
class Division:
    """Regions and their cells.

    Attributes:
        heads: float32 (R, dimensions), the centres of regions.
        centres: float32 (C, dimensions), those of cells, one region after another.
        bounds: int64 (R + 1,), the first cell of each region, and how many there are.
    """

    heads: np.ndarray
    centres: np.ndarray
    bounds: np.ndarray

    def regions_of(self, vectors: np.ndarray) -> np.ndarray:
        """The region of each vector: int64 (N,)."""
        return self.regions_around(vectors, 1)[:, 0]

    def regions_around(self, vectors: np.ndarray, most: int) -> np.ndarray:
        """The regions nearest each vector, the nearest first: int64 (N, up to `most`)."""
        return _nearest(self.heads, vectors, most)

    def cells_of(self, region: int, vectors: np.ndarray) -> np.ndarray:
        """The cell of each vector in a region: int64 (N,)."""
        start, end = self.bounds[region : region + 2]
        return start + _nearest(self.centres[start:end], vectors)[:, 0]


@dataclass(frozen=True)
class Laid:
    """Records in the order of their cells; a place is a position in that order.

    Attributes:
        records: (N, …), mapped from a file, as are the next two.
        wholes: float16 (N, dimensions), what is looked for of each.
        owners: int32 (N,), whose each is.
        starts: int64 (C + 1,), the place at which each cell starts, and where the last one ends.
        division: the cells.
    """

    records: np.ndarray
    wholes: np.ndarray
    owners: np.ndarray
    starts: np.ndarray
    division: Division

    @property
    def regions(self) -> int:
        return len(self.division.heads)

    def places(self, region: int) -> tuple[int, int]:
        """The first place of a region, and the one after its last."""
        first, last = self.starts[self.division.bounds[region : region + 2]]
        return int(first), int(last)


def laid_in(folder: Path) -> Laid:
    """What `lay` laid."""
    records, wholes, owners = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("records", "wholes", "owners"))
    with np.load(folder / LAID) as told:
        return Laid(records, wholes, owners, told["starts"], Division(told["heads"], told["centres"], told["bounds"]))


def lay(source: Source, whole: Whole, folder: Path) -> Laid:
    """Divide what a source gives and lay it in a folder, for `laid_in`."""
    count, sample = _sampled(source, whole)
    division = divided(sample, count)
    del sample
    sizes, kind = np.zeros(len(division.heads), np.int64), _kind(np.empty((0, 1), np.float32), np.empty(0, np.uint8))
    for records, owners in source():
        for start in range(0, len(records), BATCH):
            some = records[start : start + BATCH]
            vectors = whole(some)
            kind = _kind(vectors, some)
            regions = division.regions_of(vectors)
            order = np.argsort(regions, kind="stable")
            present, firsts = np.unique(regions[order], return_index=True)
            for region, rows in zip(present.tolist(), np.split(order, firsts[1:])):
                made = np.empty(len(rows), kind)
                made["cell"], made["owner"] = division.cells_of(region, vectors[rows]), owners[start + rows]
                made["whole"], made["record"] = vectors[rows], some[rows]
                with open(folder / f"region-{region}", "ab") as out:
                    made.tofile(out)
                sizes[region] += len(rows)
    starts = _sort(folder, kind, sizes, len(division.centres))
    with open(folder / "unfinished", "wb") as out:
        np.savez(out, starts=starts, heads=division.heads, centres=division.centres, bounds=division.bounds)
    (folder / "unfinished").rename(folder / LAID)
    return laid_in(folder)


def _kind(vectors: np.ndarray, records: np.ndarray) -> np.dtype:
    """What is kept of each record until its region is sorted."""
    return np.dtype([("cell", np.int32), ("owner", np.int32), ("whole", np.float16, vectors.shape[1:]), ("record", records.dtype, records.shape[1:])])


def _sampled(source: Source, whole: Whole) -> tuple[int, np.ndarray]:
    """How many records there are, and the vectors of one in `LEARNT_OF` of them: float16 (S, dimensions)."""
    count, made = 0, []
    for records, _ in source():
        chosen = records[-count % LEARNT_OF :: LEARNT_OF]
        if len(chosen):
            made.append(whole(chosen).astype(np.float16))
        count += len(records)
    return count, np.concatenate(made) if made else np.empty((0, 1), np.float16)


def divided(sample: np.ndarray, count: int) -> Division:
    """Cells for so many vectors, learnt from a sample (S, dimensions) of them."""
    if not count:
        return Division(sample, sample, np.zeros(1, np.int64))
    wanted = 1 if count <= ONE_CELL_UP_TO else max(1, count // PER_CELL)
    regions = round(wanted**0.5)
    heads = _means(sample[:: max(1, len(sample) // (regions * LEARNT_PER_REGION))], regions)
    of = np.concatenate([_nearest(heads, sample[start : start + BATCH])[:, 0] for start in range(0, len(sample), BATCH)])
    order, ends = np.argsort(of, kind="stable"), np.cumsum(np.bincount(of, minlength=len(heads)))
    parts = []
    for head, rows in zip(heads, np.split(order, ends[:-1])):
        cells = max(1, round(len(rows) / len(sample) * wanted))
        parts.append(_means(sample[np.sort(rows)], cells) if len(rows) else head[None])
    return Division(heads, np.concatenate(parts), np.cumsum([0, *map(len, parts)]))


def _means(vectors: np.ndarray, wanted: int) -> np.ndarray:
    """Centres of k-means: float32 (up to `wanted`, dimensions)."""
    wanted = min(wanted, len(vectors))
    if wanted == 1:
        return vectors.astype(np.float32).mean(axis=0, keepdims=True)
    means = faiss.Kmeans(vectors.shape[1], wanted, niter=ROUNDS, seed=0, min_points_per_centroid=1, max_points_per_centroid=len(vectors))
    means.train(np.ascontiguousarray(vectors, np.float32))
    return np.asarray(means.centroids).reshape(wanted, -1)


def _nearest(centres: np.ndarray, vectors: np.ndarray, most: int = 1) -> np.ndarray:
    """The nearest centres of each vector, the nearest first: int64 (N, up to `most`)."""
    if len(centres) == 1:
        return np.zeros((len(vectors), 1), np.int64)
    return faiss.knn(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(centres), min(most, len(centres)))[1]


def _sort(folder: Path, kind: np.dtype, sizes: np.ndarray, cells: int) -> np.ndarray:
    """Put the records of every region in the order of their cells, one region after another; returns where cells start: int64 (C + 1,)."""
    held, count = np.zeros(cells, np.int64), int(sizes.sum())
    with ExitStack() as opened:
        files = {name: opened.enter_context(open(folder / f"{name}s.npy", "wb")) for name in ("record", "whole", "owner")}
        for name, file in files.items():
            (base, shape), of = (kind[name].base, kind[name].shape), np.lib.format
            of.write_array_header_1_0(file, {"descr": of.dtype_to_descr(base), "fortran_order": False, "shape": (count, *shape)})
        for region in np.flatnonzero(sizes).tolist():
            rows = np.fromfile(folder / f"region-{region}", kind)
            (folder / f"region-{region}").unlink()
            held += np.bincount(rows["cell"], minlength=cells)
            order = np.argsort(rows["cell"], kind="stable")
            for name, file in files.items():
                rows[name][order].tofile(file)
    return np.concatenate([[0], np.cumsum(held)])
