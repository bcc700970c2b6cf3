"""Deduplicate: clusters of clips that show the same footage, each around its best copy; writes `duplicates`, and removes nothing.

Descriptors of proxies find likely pairs (`neighbours`), laying pictures and times over one another decides (`compare`). Clips come best
first; each joins the best copy that it agrees with, or becomes one itself. So every member agrees with its cluster's best copy, and two clips
never come together through a third alone.
"""

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.copies.compare import same_footage
from curate.copies.fingerprint import CROPS, DIMENSIONS, VERSION, Footage, Still, descriptors, footage, still
from curate.copies.neighbours import Described, likely_pairs
from curate.corpus import Corpus, open_corpus
from curate.engine import Engine, Listener, quiet, run_here
from curate.stage import Resources, Stage
from schemas.clip import CLIPS, DEDUPLICATED

FINGERPRINTS = f"embeddings/{VERSION}"
DESCRIBED = pa.schema([("clip_id", pa.string()), ("descriptors", pa.binary())])
DUPLICATES = pa.schema([CLIPS.field("clip_id"), *DEDUPLICATED])
NEEDED = ("clip_id", "source_id", "media_type", "shot_index", "start_s", "end_s", "width", "height", "content_box", "watermark", "technical")
OVERLAID = 0.5
CHUNK = 512


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
    if not clips.num_rows:
        corpus.replace("duplicates", DUPLICATES.empty_table())
        return DeduplicationReport(0, 0, 0, 0)
    ranked = clips.take(best_first(clips)).to_pylist()
    pairs = [(a, b) for a, b in likely_pairs(_described(corpus, ranked), mirror).tolist() if comparable(ranked[a], ranked[b])]
    leaders, compared = _lead(corpus, ranked, pairs, mirror, listener)
    corpus.replace("duplicates", _duplicates([row["clip_id"] for row in ranked], leaders))
    copies = sum(leader != i for i, leader in enumerate(leaders))
    return DeduplicationReport(len(ranked), copies, len({leader for i, leader in enumerate(leaders) if leader != i}), compared)


def best_first(clips: pa.Table) -> pa.Array:
    """Positions of clips from the best copy to the worst.

    The rule: free of a watermark, then the larger picture inside its borders, the longer, the technically better, the lower id.
    """

    def worth(row: dict[str, Any]) -> tuple[Any, ...]:
        left, top, right, bottom = row["content_box"] or (0.0, 0.0, 1.0, 1.0)
        pixels = (right - left) * (bottom - top) * (row["width"] or 0) * (row["height"] or 0)
        return (row["watermark"] or 0.0) >= OVERLAID, -pixels, row["start_s"] - row["end_s"], -(row["technical"] or 0.0), row["clip_id"]

    rows = clips.to_pylist()
    return pa.array(sorted(range(len(rows)), key=lambda i: worth(rows[i])), pa.int64())


def comparable(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two clips could be copies: parts of one shot follow one another, and an image is no copy of a film."""
    if first["media_type"] != second["media_type"]:
        return False
    return first["source_id"] != second["source_id"] or first["shot_index"] != second["shot_index"]


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


def _described(corpus: Corpus, ranked: Sequence[dict[str, Any]]) -> Described:
    """Descriptors of all clips, owned by their numbers in rank."""
    number = {row["clip_id"]: i for i, row in enumerate(ranked)}
    rows = corpus.read(FINGERPRINTS) if FINGERPRINTS in corpus.names("embeddings/") else DESCRIBED.empty_table()
    vectors, owners = [np.empty((0, len(CROPS), DIMENSIONS), np.float16)], [np.empty(0, np.int64)]
    for batch in rows.to_batches():
        for clip_id, data in zip(batch["clip_id"].to_pylist(), batch["descriptors"].to_pylist()):
            if clip_id in number and data:
                vectors.append(np.frombuffer(data, np.float16).reshape(-1, len(CROPS), DIMENSIONS))
                owners.append(np.full(len(vectors[-1]), number[clip_id], np.int64))
    return Described(np.concatenate(vectors), np.concatenate(owners))


def _lead(corpus: Corpus, ranked: Sequence[dict[str, Any]], pairs: Sequence[tuple[int, int]], mirror: bool, listener: Listener) -> tuple[list[int], int]:
    """The number of each clip's best copy (its own where it is that), and how many pairs were compared."""
    near: dict[int, list[int]] = {}
    for a, b in pairs:
        near.setdefault(b, []).append(a)
    leaders, compared = list(range(len(ranked))), 0
    waiting = sorted(near)
    for start in range(0, len(waiting), CHUNK):
        chunk = waiting[start : start + CHUNK]
        needed = {leaders[a] for b in chunk for a in near[b]} | {a for b in chunk for a in near[b]} | set(chunk)
        seen = _footage(corpus, [ranked[i] for i in sorted(needed)])
        for b in chunk:
            # The best copy, not the likest: two copies of one clip then find the same one, whatever else lies near them.
            for a in sorted({leaders[a] for a in near[b]}):
                compared += 1
                if same_footage(seen[ranked[a]["clip_id"]], seen[ranked[b]["clip_id"]], mirror):
                    leaders[b] = a
                    break
        listener("compare", min(start + CHUNK, len(waiting)), len(waiting))
    return leaders, compared


def _duplicates(names: Sequence[str], leaders: Sequence[int]) -> pa.Table:
    """The relation: clips come best first, so a clip's rank is how many of its cluster came before."""
    seen: collections.Counter[int] = collections.Counter()
    rows = []
    for i, leader in enumerate(leaders):
        rows.append((names[i], names[leader] if leader != i else None, names[leader], seen[leader]))
        seen[leader] += 1
    return pa.table([list(column) for column in zip(*sorted(rows))], schema=DUPLICATES)


def _footage(corpus: Corpus, rows: Sequence[dict[str, Any]]) -> dict[str, Footage]:
    stills = stills_of(corpus, rows)
    made = {}
    for row in rows:
        own = [Still(one.time_s - row["start_s"], one.luma) for one in stills[row["clip_id"]]]
        made[row["clip_id"]] = footage(row["end_s"] - row["start_s"], own)
    return made
