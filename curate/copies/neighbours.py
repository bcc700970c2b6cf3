"""Neighbours: which of many vectors are near one another, by an index that fits in memory; what is near is compared afterwards.

Distances are Euclidean between vectors of length one, d² = 2 - 2 cos. Leaving dimensions out only shortens them, so of what is near nothing is missed
by that; what an inverted file misses are neighbours that lie in cells it does not probe (Jégou et al. 2011, "Product quantization for nearest
neighbor search"). A vector takes at most 64 bytes there, so a hundred million take 7 GB, wherever the vectors themselves lie.
"""

from collections.abc import Callable, Iterable

import faiss
import numpy as np

MOST = 32
"""Neighbours looked at for each vector."""
EXACT_UP_TO = 400_000
"""Vectors of 35 numbers up to which every one is looked at; fewer where they are longer. Beyond, cells of an inverted file are probed."""
NUMBERS_KEPT = 64
CELLS_PER_ROOT, LEARNT_PER_CELL = 8, 40
PROBES = 16
BATCH = 16_384

Views = Callable[[np.ndarray], Iterable[np.ndarray]]


def near_pairs(vectors: np.ndarray, owners: np.ndarray, cosine: float, views: Views, index: faiss.Index | None = None) -> np.ndarray:
    """Pairs of owners of which two vectors are near: int64 (P, 2), each once, the lower number first, sorted.

    Args:
        vectors: of length one, (N, …, dimensions), in memory or mapped from a file; the first of each row is what the index holds.
        owners: int64 (N,), whose each row is.
        cosine: from which two are near.
        views: makes of a batch (B, …, dimensions), float32, the vectors (B, dimensions) to look for, in turn.
        index: of the vectors, if it was made before.
    """
    if not len(owners):
        return np.empty((0, 2), np.int64)
    index = index_of(vectors) if index is None else index
    found = [np.empty(0, np.int64)]
    for start in range(0, len(owners), BATCH):
        owner = owners[start : start + BATCH]
        for asked in views(np.asarray(vectors[start : start + BATCH], np.float32)):
            distances, rows = index.search(np.ascontiguousarray(asked), min(MOST, index.ntotal))
            near = (distances <= 2 - 2 * cosine) & (rows >= 0)
            pairs = np.sort(np.stack([np.repeat(owner, near.sum(axis=1)), owners[rows[near]]], axis=1), axis=1)
            pairs = pairs[pairs[:, 0] != pairs[:, 1]]
            found.append(np.unique(pairs[:, 0] << 32 | pairs[:, 1]))
    # One number for two halves the memory, and sorts at once.
    both = np.unique(np.concatenate(found))
    return np.stack([both >> 32, both & 0xFFFFFFFF], axis=1)


def index_of(vectors: np.ndarray) -> faiss.Index:
    """All of some vectors (N, …, dimensions) at full precision, or in eight bits a number behind an inverted file."""
    count, dimensions = len(vectors), vectors.shape[-1]
    firsts = vectors.reshape(count, -1, dimensions)[:, 0]
    if count * dimensions <= EXACT_UP_TO * 35:
        exact = faiss.IndexFlatL2(dimensions)
        exact.add(np.ascontiguousarray(firsts, np.float32))
        return exact
    cells = int(CELLS_PER_ROOT * count**0.5)
    fewer = f"PCA{NUMBERS_KEPT}," if dimensions > NUMBERS_KEPT else ""
    index = faiss.index_factory(dimensions, f"{fewer}IVF{cells}_HNSW32,SQ8")
    faiss.extract_index_ivf(index).nprobe = PROBES
    index.train(np.ascontiguousarray(firsts[:: max(1, count // (cells * LEARNT_PER_CELL))], np.float32))
    for start in range(0, count, BATCH):
        index.add(np.ascontiguousarray(firsts[start : start + BATCH], np.float32))
    return index
