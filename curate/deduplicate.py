"""Deduplicate: clusters of clips that show the same footage, each around its best copy; writes `duplicates`, and removes nothing.

Descriptors of proxies find likely pairs (`neighbours`), laying pictures and times over one another decides (`compare`). Clips come best
first; each joins the best copy that it agrees with, or becomes one itself. So every member agrees with its cluster's best copy, and two clips
never come together through a third alone.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.copies.compare import same_footage
from curate.copies.fingerprint import CROPS, DIMENSIONS, MIRROR, VERSION, Footage, Still, descriptors, footage, still
from curate.copies.leaders import Agreement, Led, lead
from curate.copies.neighbours import Views, near_pairs
from curate.copies.rank import NEEDED, Numbers, best_first, comparable
from curate.corpus import Corpus, open_corpus
from curate.engine import Engine, Listener, quiet, run_here
from curate.stage import Resources, Stage
from schemas.clip import CLIPS, DEDUPLICATED

FINGERPRINTS = f"embeddings/{VERSION}"
DESCRIBED = pa.schema([("clip_id", pa.string()), ("descriptors", pa.binary())])
DUPLICATES = pa.schema([CLIPS.field("clip_id"), *DEDUPLICATED])
NEAR = 0.93
"""Cosine of two descriptors from which clips are compared."""


@dataclass(frozen=True)
class DeduplicationReport:
    """What was found.

    Attributes:
        clips: clips looked at.
        duplicates: clips that are a copy of a better one.
        clusters: clusters of two and more.
        compared: pairs whose pictures were laid over one another.
    """

    clips: int
    duplicates: int
    clusters: int
    compared: int


def deduplicate(corpus: Corpus, mirror: bool = False, *, run: Engine = run_here, listener: Listener = quiet) -> DeduplicationReport:
    """Find copies among all clips and write `duplicates` anew.

    Args:
        corpus: measured, so that it has proxies.
        mirror: whether a mirrored copy is a copy.
        run: where fingerprints are made.
        listener: hears how far it is.
    """
    describe(corpus, run, listener)
    clips = corpus.table("clips", columns=list(NEEDED))
    ranked = clips.take(best_first(clips))
    with tempfile.TemporaryDirectory(prefix="clipmill-deduplicate-") as folder:
        vectors, owners = _described(corpus, Numbers(ranked["clip_id"]), Path(folder) / "descriptors")
        pairs = near_pairs(vectors, owners, NEAR, _views(mirror))
    pairs = pairs[comparable(ranked, pairs)]
    led = lead(ranked.num_rows, pairs, _agreement(corpus, ranked, mirror), listener, "compare")
    corpus.replace("duplicates", _duplicates(ranked["clip_id"], led))
    followed = led.leaders[led.leaders != np.arange(len(led.leaders))]
    return DeduplicationReport(ranked.num_rows, len(followed), len(np.unique(followed)), led.compared)


def _duplicates(clip_ids: pa.ChunkedArray, led: Led) -> pa.Table:
    """The relation, by clip."""
    told = led.columns(clip_ids)
    columns = [clip_ids, told["of"], told["cluster"], pa.array(led.ranks, pa.int32())]
    return pa.table(columns, schema=DUPLICATES).sort_by("clip_id")


class Describe(Stage):
    """Descriptors of every proxy of a clip, as float16 bytes (pictures, CROPS, DIMENSIONS)."""

    reads: ClassVar = frozenset({"clip_id", "content_box"})
    writes: ClassVar = frozenset({"clip_id", "descriptors"})
    resources = Resources(cpus=1, memory_gb=0.5)
    batch_rows = 128

    def __init__(self, corpus_url: str) -> None:
        self.corpus_url = corpus_url

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        clips = rows.select(["clip_id", "content_box"]).to_pylist()
        seen = stills_of(open_corpus(self.corpus_url), clips)
        made = [
            np.stack([descriptors(one.luma) for one in seen[row["clip_id"]]]).astype(np.float16).tobytes() if seen[row["clip_id"]] else b"" for row in clips
        ]
        yield pa.table([rows["clip_id"], pa.array(made, pa.binary())], schema=DESCRIBED)


def describe(corpus: Corpus, run: Engine, listener: Listener) -> None:
    """Make and commit the descriptors of clips that have none."""
    clips = corpus.table("clips", columns=["clip_id", "content_box"])
    if FINGERPRINTS in corpus.names("embeddings/"):
        clips = clips.filter(pc.invert(pc.is_in(clips["clip_id"], corpus.read(FINGERPRINTS, ["clip_id"])["clip_id"].combine_chunks())))
    done = 0
    for made in run(clips, [Describe(corpus.url)]) if clips.num_rows else ():
        corpus.append(FINGERPRINTS, made, f"{made['clip_id'][0]}+{made.num_rows}")
        done += made.num_rows
        listener("describe", done, clips.num_rows)


def stills_of(corpus: Corpus, clips: Sequence[dict[str, Any]]) -> dict[str, list[Still]]:
    """The small pictures of some clips (`clip_id`, `content_box`), times from each one's first proxy."""
    boxes = {row["clip_id"]: row["content_box"] for row in clips}
    found: dict[str, list[Still]] = {clip_id: [] for clip_id in boxes}
    for row in corpus.proxies(list(boxes)).to_pylist():
        made = still(row["image"], row["time_s"], boxes[row["clip_id"]])
        if made is not None:
            found[row["clip_id"]].append(made)
    return found


def _described(corpus: Corpus, numbers: Numbers, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of all clips, float16 (N, CROPS, DIMENSIONS) mapped from a file, and the number of the clip that each row is of."""
    owners = [np.empty(0, np.int64)]
    with open(file, "wb") as out:
        for rows in corpus.batches(FINGERPRINTS, ["clip_id", "descriptors"]):
            for number, data in zip(numbers.of(rows["clip_id"]).tolist(), rows["descriptors"].to_pylist()):
                if number >= 0 and data:
                    out.write(data)
                    owners.append(np.full(len(data) // (2 * len(CROPS) * DIMENSIONS), number, np.int64))
    shape = (sum(map(len, owners)), len(CROPS), DIMENSIONS)
    return np.memmap(file, np.float16, "r", shape=shape) if shape[0] else np.empty(shape, np.float16), np.concatenate(owners)


def _views(mirror: bool) -> Views:
    """What is looked for of each picture: its centre parts, and these mirrored."""

    def views(batch: np.ndarray) -> Iterator[np.ndarray]:
        for crop in range(len(CROPS)):
            yield batch[:, crop]
            if mirror:
                yield batch[:, crop] * MIRROR

    return views


def _agreement(corpus: Corpus, ranked: pa.Table, mirror: bool) -> Callable[[np.ndarray], Agreement]:
    """Loads the pictures of some clips, to lay them over one another."""

    def load(needed: np.ndarray) -> Agreement:
        rows = ranked.take(pa.array(needed)).to_pylist()
        made = dict(zip(needed.tolist(), _footage(corpus, rows).values()))
        return lambda better, clip: same_footage(made[better], made[clip], mirror)

    return load


def _footage(corpus: Corpus, rows: Sequence[dict[str, Any]]) -> dict[str, Footage]:
    stills = stills_of(corpus, rows)
    made = {}
    for row in rows:
        own = [Still(one.time_s - row["start_s"], one.luma) for one in stills[row["clip_id"]]]
        made[row["clip_id"]] = footage(row["end_s"] - row["start_s"], own)
    return made
