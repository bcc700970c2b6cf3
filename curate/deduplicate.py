"""Deduplicate: clusters of clips that show the same footage, each around its best copy; writes `duplicates`, and removes nothing.

Descriptors of proxies find near pairs (`neighbours`) and a glance at miniatures leaves the likely ones (`glance`), in a `search` that goes on where it was
interrupted; laying pictures and times over one another decides (`compare`). Clips come best first; each joins the best copy that it agrees with, or becomes
one itself. So every member agrees with its cluster's best copy, and two clips never come together through a third alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.copies.cells import Source
from curate.copies.compare import LEAST_SHOWN, same_footage, shown
from curate.copies.fingerprint import SIDE, VERSION, Footage, Still, distinct, footage, miniature, still
from curate.copies.leaders import Agreement, Led, lead
from curate.copies.rank import COMPARED, NEEDED, Kinship, Numbers, best_first
from curate.copies.search import kept_folder, likely_pairs
from curate.corpus import Corpus, open_corpus
from curate.engine import Engine, Listener, quiet, run_here
from curate.stage import Resources, Stage
from schemas.clip import CLIPS, DEDUPLICATED

FINGERPRINTS = f"embeddings/{VERSION}"
DESCRIBED = pa.schema([("clip_id", pa.string()), ("miniatures", pa.binary())])
DUPLICATES = pa.schema([CLIPS.field("clip_id"), *DEDUPLICATED])
LEAST_ALONE = 0.8 * LEAST_SHOWN
"""Share of its parts in which a picture must show something to be looked for; a part of it may show more than the whole."""


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
        run: where fingerprints are made, and looked for.
        listener: hears how far it is.
    """
    describe(corpus, run, listener)
    clips = corpus.table("clips", columns=list(NEEDED))
    ranked = clips.take(best_first(clips)).select(COMPARED)
    del clips  # millions of rows, which are not needed twice
    source, kinship = _miniatures(corpus, Numbers(ranked["clip_id"])), Kinship.of(ranked)
    with kept_folder(corpus.folder, str(mirror).encode(), bytes(kinship), *_buffers(ranked["clip_id"])) as folder:
        pairs = likely_pairs(source, kinship, mirror, folder, run if corpus.folder else run_here, listener)
    led = lead(ranked.num_rows, pairs, _agreement(corpus, ranked, mirror), listener, "compare")
    corpus.replace("duplicates", _duplicates(ranked["clip_id"], led))
    followed = led.leaders[led.leaders != np.arange(len(led.leaders))]
    return DeduplicationReport(ranked.num_rows, len(followed), len(np.unique(followed)), led.compared)


def _buffers(ids: pa.ChunkedArray) -> Iterator[memoryview]:
    """What ids are made of, to be digested without a copy."""
    for chunk in ids.chunks:
        yield from (memoryview(buffer) for buffer in chunk.buffers() if buffer is not None)


def _duplicates(clip_ids: pa.ChunkedArray, led: Led) -> pa.Table:
    """The relation, by clip."""
    told = led.columns(clip_ids)
    columns = [clip_ids, told["of"], told["cluster"], pa.array(led.ranks, pa.int32())]
    return pa.table(columns, schema=DUPLICATES).sort_by("clip_id")


class Describe(Stage):
    """Miniatures of the proxies of a clip that show enough to be looked for, and not the same, as uint8 bytes (pictures, SIDE, SIDE)."""

    reads: ClassVar = frozenset({"clip_id", "content_box"})
    writes: ClassVar = frozenset({"clip_id", "miniatures"})
    resources = Resources(cpus=1, memory_gb=0.5)
    batch_rows = 128

    def __init__(self, corpus_url: str) -> None:
        self.corpus_url = corpus_url

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        clips = rows.select(["clip_id", "content_box"]).to_pylist()
        seen = stills_of(open_corpus(self.corpus_url), clips)
        telling = [[miniature(one.luma) for one in seen[row["clip_id"]] if shown(one.luma) >= LEAST_ALONE] for row in clips]
        made = [distinct(np.stack(some)).tobytes() if some else b"" for some in telling]
        yield pa.table([rows["clip_id"], pa.array(made, pa.binary())], schema=DESCRIBED)


def describe(corpus: Corpus, run: Engine, listener: Listener) -> None:
    """Make and commit the miniatures of clips of which none were made."""
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


def _miniatures(corpus: Corpus, numbers: Numbers) -> Source:
    """Miniatures of all clips, uint8 (B, SIDE, SIDE), and the number of the clip that each is of."""

    def source() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for rows in corpus.batches(FINGERPRINTS, ["clip_id", "miniatures"]):
            number = numbers.of(rows["clip_id"])
            known = rows["miniatures"].filter(pa.array(number >= 0))
            pictures = pc.fill_null(pc.binary_length(known), 0).to_numpy() // SIDE**2
            made = np.frombuffer(b"".join(data.as_buffer() for data in known if data.is_valid), np.uint8)
            yield made.reshape(-1, SIDE, SIDE), np.repeat(number[number >= 0], pictures)

    return source


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
