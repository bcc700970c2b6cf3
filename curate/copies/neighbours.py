"""Neighbours: which of many vectors are near one another: those of a region look into the cells around, one region after another.

Everything looks for everything, so instead of asking an index for each vector, all that look into a cell are multiplied with it at once (an inverted file,
Jégou et al. 2011, "Product quantization for nearest neighbor search", read by whole lists). A region needs nothing of another's result, so they can be
searched by as many workers as see the folder. Missed are neighbours in cells that are not probed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from curate.copies.cells import Division, Laid, Source, Whole, lay
from curate.engine import Listener, quiet

MOST, MOST_KEPT = 512, 32
"""Neighbours looked at for each vector, the nearest first, and pairs kept of these."""
REGIONS, NEAREST = 8, 8
"""Regions around a vector in which it looks, and of how many cells of the nearest one it probes all that are as near, in any of them."""
NUMBERS_AT_ONCE = 1 << 23
"""Of vectors that look."""
BATCH, PROBING, HELD = 4096, 512, 1 << 22
"""Vectors multiplied at once, those multiplied with the cells' centres, and what may be found before all but the nearest of each are let go."""

Views = Callable[[np.ndarray], Iterable[np.ndarray]]
"""Makes of records (B, …) the vectors that look, float32 (B, dimensions) each, in turn."""
Likely = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Of places that look, places found and the numbers of the views, int64 (P,) each, the nearest first, says which to keep: bool (P,)."""


def all_near_pairs(
    source: Source, whole: Whole, cosine: float, views: Views, folder: Path, likely: Callable[[Laid], Likely] | None = None, listener: Listener = quiet
) -> np.ndarray:
    """Pairs of owners of which two vectors are near: int64 (P, 2), each once, the lower number first, sorted.

    Args:
        source: gives what looks and is looked for.
        whole: makes what is looked for.
        cosine: from which two are near.
        views: makes what looks.
        folder: where all of it is laid in the order of its cells.
        likely: makes, of what was laid, what says which to keep; all when None.
        listener: hears how far it is.
    """
    laid, found = lay(source, whole, folder), []
    judge = likely and likely(laid)
    for region in range(laid.regions):
        found.append(near_pairs(laid, region, cosine, views, judge))
        listener("near", region + 1, laid.regions)
    return together(found)


def together(found: Sequence[np.ndarray]) -> np.ndarray:
    """Several regions' pairs as one: int64 (P, 2), each once, sorted."""
    # One number for two halves the memory, and sorts at once.
    both = np.unique(np.concatenate([np.empty(0, np.int64), *(pairs[:, 0] << 32 | pairs[:, 1] for pairs in found)]))
    return np.stack([both >> 32, both & 0xFFFFFFFF], axis=1)


def near_pairs(laid: Laid, region: int, cosine: float, views: Views, likely: Likely | None = None) -> np.ndarray:
    """Pairs of owners of which a vector of this region looks near one of any: int64 (P, 2), each once, the lower number first, sorted.

    Args:
        laid: what looks and is looked for.
        region: whose vectors look.
        cosine: from which two are near.
        views: makes what looks.
        likely: which to keep; all when None.
    """
    first, last = laid.places(region)
    step, found = max(1, NUMBERS_AT_ONCE // laid.wholes.shape[1]), []
    for start in range(first, last, step):
        end = min(start + step, last)
        seen = [_seen(laid, looking, cosine, start) for looking in views(laid.records[start:end])]
        views_of = np.repeat(np.arange(len(seen)), [len(likeness) for _, _, likeness in seen])
        lookers, others, likeness = (np.concatenate(part) for part in zip(*seen))
        kept = np.argsort(-likeness, kind="stable")
        if likely is not None:
            kept = kept[likely(start + lookers[kept], others[kept], views_of[kept])]
            kept = kept[_nearest(lookers[kept], likeness[kept], MOST_KEPT)]
        one, other = (laid.owners[places].astype(np.int64) for places in (start + lookers[kept], others[kept]))
        found.append(np.stack([np.minimum(one, other), np.maximum(one, other)], axis=1))
    return together(found)


def _seen(laid: Laid, looking: np.ndarray, cosine: float, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who of those looking finds which place of another owner, and how near it is: int64, int64 and float32 (F,)."""
    found, held = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))], 0
    for cell, which in _probed(laid.division, looking):
        first, last = laid.starts[cell : cell + 2]
        for place in range(first, last, BATCH):
            wholes = laid.wholes[place : min(place + BATCH, last)].astype(np.float32).T
            for some in (which[at : at + BATCH] for at in range(0, len(which), BATCH)):
                likeness = looking[some] @ wholes
                rows = np.flatnonzero(likeness.max(axis=1) >= cosine)
                if len(rows):
                    row, column = np.nonzero(likeness[rows] >= cosine)
                    found.append((some[rows[row]], place + column, likeness[rows[row], column]))
                    held += len(row)
                if held > HELD:
                    found, held = [_nearest_strangers(laid, found, start)], 0
    return _nearest_strangers(laid, found, start)


def _nearest_strangers(laid: Laid, found: Sequence[tuple[np.ndarray, ...]], start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of what was found the nearest of each that looks, of other owners."""
    lookers, others, likeness = (np.concatenate(part) for part in zip(*found))
    kept = np.flatnonzero(laid.owners[start + lookers] != laid.owners[others])
    kept = kept[_nearest(lookers[kept], likeness[kept], MOST)]
    return lookers[kept], others[kept], likeness[kept]


def _probed(division: Division, looking: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Cells, and which of those looking probe each."""
    around, reach = division.regions_around(looking, REGIONS), np.full(len(looking), np.nan, np.float32)
    probing, cells = [], []
    for rank, regions in enumerate(around.T):
        order = np.argsort(regions, kind="stable")
        present, firsts = np.unique(regions[order], return_index=True)
        for region, those in zip(present.tolist(), np.split(order, firsts[1:])):
            start, end = division.bounds[region : region + 2]
            centres = division.centres[start:end]
            halves = (centres**2).sum(axis=1) / 2
            for some in (those[at : at + PROBING] for at in range(0, len(those), PROBING)):
                farness = halves - looking[some] @ centres.T
                if not rank:
                    nearest = min(NEAREST, len(centres))
                    reach[some] = np.partition(farness, nearest - 1, axis=1)[:, nearest - 1]
                who, cell = np.divmod(np.flatnonzero(farness <= reach[some, None]), len(centres))
                probing.append(some[who])
                cells.append(start + cell)
    who, cell = np.concatenate(probing), np.concatenate(cells)
    order = np.argsort(cell, kind="stable")
    present, firsts = np.unique(cell[order], return_index=True)
    yield from zip(present.tolist(), np.split(who[order], firsts[1:]))


def _nearest(lookers: np.ndarray, likeness: np.ndarray, most: int) -> np.ndarray:
    """Positions of the nearest few that each looker found."""
    if not len(lookers) or np.bincount(lookers).max() <= most:
        return np.arange(len(lookers))
    order = np.lexsort((-likeness, lookers))
    by = lookers[order]
    return np.sort(order[np.arange(len(order)) - np.searchsorted(by, by) < most])
