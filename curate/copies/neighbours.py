"""Neighbours: which clips may be copies of one another, found among all by their descriptors; what is likely is compared afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np

from curate.copies.fingerprint import DIMENSIONS, MIRROR

NEAR = 0.93
"""Cosine of two descriptors from which clips are compared."""
MOST = 32
"""Neighbours looked at for each descriptor."""
EXACT_UP_TO = 400_000
"""Descriptors up to which every one is looked at; beyond, cells of an inverted file are probed."""
PROBES = 16
BATCH = 16_384


@dataclass(frozen=True)
class Described:
    """Descriptors of all pictures: `vectors` float32 or float16 (N, CROPS, DIMENSIONS), `owner` int64 (N,), the clip's number of each."""

    vectors: np.ndarray
    owner: np.ndarray


def likely_pairs(described: Described, mirror: bool) -> np.ndarray:
    """Pairs of clips of which two pictures are near: int64 (P, 2), each once, the lower number first, sorted."""
    index = _index(np.ascontiguousarray(described.vectors[:, 0], np.float32))
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(described.owner), BATCH):
        queries = described.vectors[start : start + BATCH].astype(np.float32)
        owner = described.owner[start : start + BATCH]
        found.extend(np.unique(pairs, axis=0) for pairs in _near(index, queries, owner, described.owner, mirror))
    return np.unique(np.concatenate(found), axis=0)


def _near(index: faiss.Index, queries: np.ndarray, owner: np.ndarray, owners: np.ndarray, mirror: bool) -> Iterator[np.ndarray]:
    for crop in range(queries.shape[1]):
        for turned in (queries[:, crop], queries[:, crop] * MIRROR) if mirror else (queries[:, crop],):
            cosines, rows = index.search(np.ascontiguousarray(turned), min(MOST, index.ntotal))
            near = (cosines >= NEAR) & (rows >= 0)
            pairs = np.stack([np.repeat(owner, near.sum(axis=1)), owners[rows[near]]], axis=1)
            yield np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)


def _index(vectors: np.ndarray) -> faiss.Index:
    """All vectors at full precision, or in eight bits a number behind an inverted file: 35 bytes each, so a hundred million take 4 GB."""
    exact = faiss.IndexFlatIP(DIMENSIONS)
    if len(vectors) <= EXACT_UP_TO:
        exact.add(vectors)
        return exact
    cells = int(4 * len(vectors) ** 0.5)
    index = faiss.IndexIVFScalarQuantizer(exact, DIMENSIONS, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = PROBES
    index.train(vectors[:: max(1, len(vectors) // (cells * 40))])
    index.add(vectors)
    return index
