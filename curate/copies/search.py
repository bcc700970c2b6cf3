"""Search: which clips are likely copies of one another, region by region of what their miniatures are, on any engine; goes on where it was interrupted.

What is searched lies in a folder of the corpus, which every worker sees that sees the corpus; beside it each region's pairs once they are found. Where the
corpus is not on a file system, it lies in a temporary folder of this machine and is searched here.
"""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curate.copies import cells, neighbours
from curate.copies.cells import LAID, Laid, Source, laid_in, lay
from curate.copies.fingerprint import CROPS, MIRROR, VERSION, descriptors
from curate.copies.glance import alike
from curate.copies.neighbours import Likely, Views, near_pairs, together
from curate.copies.rank import Kinship
from curate.corpus import SEARCHING, CorpusError
from curate.engine import Engine, Listener
from curate.stage import Resources, Stage

NEAR = 0.88
"""Cosine of two descriptors from which pictures are glanced at."""
GLANCES = 3
"""Pairs of pictures of two clips, the nearest first, of which one must pass a glance."""


class FindNear(Stage):
    """Pairs of clips of which a picture in a region of what was laid is likely a copy of one of the other's; `pairs` are int64 (P, 2) as bytes."""

    reads: ClassVar = frozenset({"region"})
    writes: ClassVar = frozenset({"region", "pairs"})
    resources = Resources(cpus=1, memory_gb=2.0)
    batch_rows = 1

    def __init__(self, folder: str, mirror: bool) -> None:
        self.folder, self.mirror = folder, mirror

    def setup(self) -> None:
        self._laid = laid_in(Path(self.folder))
        self._likely = likely_copies(self._laid, Kinship.saved(Path(self.folder) / "kinship.npy"), self.mirror)

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        for region in rows["region"].to_pylist():
            pairs = near_pairs(self._laid, region, NEAR, views(self.mirror), self._likely)
            yield pa.table([[region], pa.array([pairs.tobytes()], pa.large_binary())], names=["region", "pairs"])


def likely_pairs(source: Source, kinship: Kinship, mirror: bool, folder: Path, run: Engine, listener: Listener) -> np.ndarray:
    """Pairs of clips that are likely copies: int64 (P, 2), each once, the lower number first, sorted.

    Args:
        source: gives miniatures and the number of the clip that each is of.
        kinship: which clips could be copies at all.
        mirror: whether a mirrored copy is a copy.
        folder: what was laid in it and found before is not done again.
        run: where regions are searched; its workers see the folder.
        listener: hears how far it is.
    """
    kinship.save(folder / "kinship.npy")
    regions = (laid_in(folder) if (folder / LAID).exists() else lay(source, whole, folder)).regions
    missing = [region for region in range(regions) if not (folder / f"pairs-{region}").exists()]
    for made in run(pa.table({"region": pa.array(missing, pa.int64())}), [FindNear(str(folder), mirror)]) if missing else ():
        for region, pairs in zip(made["region"].to_pylist(), made["pairs"].to_pylist()):
            unfinished = folder / "unfinished"
            unfinished.write_bytes(pairs)
            unfinished.rename(folder / f"pairs-{region}")
            missing.remove(region)
        listener("near", regions - len(missing), regions)
    return together([np.fromfile(folder / f"pairs-{region}", np.int64).reshape(-1, 2) for region in range(regions)])


@contextmanager
def kept_folder(below: Path | None, *told: bytes | memoryview) -> Iterator[Path]:
    """A folder for a search, which stays behind where the search is interrupted, for one that is told the same; others' leavings are removed.

    Args:
        below: the corpus's folder; None for a temporary one.
        told: what the search depends on.

    Raises:
        CorpusError: another process is searching there.
    """
    if below is None:
        with tempfile.TemporaryDirectory(prefix="clipmill-deduplicate-") as temporary:
            yield Path(temporary)
        return
    searching = below / SEARCHING
    searching.mkdir(exist_ok=True)
    with open(searching / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"another process is looking for copies in {below}; wait until it is done, or stop it") from None
        folder = searching / _digest(told)
        for other in searching.iterdir():
            if other.is_dir() and (other != folder or not (folder / LAID).exists()):
                shutil.rmtree(other)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(searching)


def _digest(told: Sequence[bytes | memoryview]) -> str:
    """Of what a search depends on: how it is done, and what it is told."""
    digest = hashlib.sha256(repr((VERSION, NEAR, GLANCES, cells.PER_CELL, neighbours.REGIONS, neighbours.NEAREST)).encode())
    for part in told:
        digest.update(part)
    return digest.hexdigest()[:16]


def whole(miniatures: np.ndarray) -> np.ndarray:
    """What is looked for of miniatures (B, SIDE, SIDE): the descriptor of each whole picture."""
    return descriptors(miniatures, CROPS[:1])[:, 0]


def views(mirror: bool) -> Views:
    """What looks for each picture: its centre parts, and these mirrored."""

    def made(miniatures: np.ndarray) -> Iterator[np.ndarray]:
        described = descriptors(miniatures)
        for crop in range(len(CROPS)):
            yield described[:, crop]
            if mirror:
                yield described[:, crop] * MIRROR

    return made


def likely_copies(laid: Laid, kinship: Kinship, mirror: bool) -> Likely:
    """Which pairs of miniatures are of clips that could be copies, and pass a glance; every other view is mirrored if any is."""

    def likely(first: np.ndarray, second: np.ndarray, view: np.ndarray) -> np.ndarray:
        told, mirrored = np.zeros(len(first), bool), view % 2 == 1 if mirror else np.zeros(len(first), bool)
        waiting = np.flatnonzero(kinship.comparable(laid.owners[first], laid.owners[second]))
        # Several views of a picture may find the same one, which is glanced at once.
        waiting = waiting[np.sort(np.unique(first[waiting] << 32 | second[waiting] << 1 | mirrored[waiting], return_index=True)[1])]
        clips = laid.owners[first].astype(np.int64) << 32 | laid.owners[second]
        for _ in range(GLANCES):
            pairs, nearest = np.unique(clips[waiting], return_index=True)
            asked = waiting[nearest]
            rows, which = np.unique(first[asked], return_inverse=True)
            told[asked] = alike(laid.records[rows], which, laid.records[second[asked]], mirrored[asked])
            waiting = np.delete(waiting, nearest)
            waiting = waiting[~np.isin(clips[waiting], pairs[told[asked]])]
        return told

    return likely
