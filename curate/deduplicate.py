"""Deduplicate: clusters of clips that show the same footage, each around its best copy; writes `duplicates`, and removes nothing.

Descriptors of proxies find near pairs (`neighbours`), a glance at miniatures leaves the likely ones (`glance`), and laying pictures and times over one
another decides (`compare`). Clips come best first; each joins the best copy that it agrees with, or becomes one itself. So every member agrees with its
cluster's best copy, and two clips never come together through a third alone.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.copies.compare import LEAST_SHOWN, same_footage, shown
from curate.copies.fingerprint import CROPS, MIRROR, SIDE, VERSION, Described, Footage, Still, footage, miniature, still
from curate.copies.glance import alike
from curate.copies.leaders import Agreement, Led, lead
from curate.copies.neighbours import Likely, Views, near_pairs
from curate.copies.rank import COMPARED, NEEDED, Kinship, Numbers, best_first
from curate.corpus import Corpus, open_corpus
from curate.engine import Engine, Listener, quiet, run_here
from curate.stage import Resources, Stage
from schemas.clip import CLIPS, DEDUPLICATED

FINGERPRINTS = f"embeddings/{VERSION}"
DESCRIBED = pa.schema([("clip_id", pa.string()), ("miniatures", pa.binary())])
DUPLICATES = pa.schema([CLIPS.field("clip_id"), *DEDUPLICATED])
LEAST_ALONE = 0.8 * LEAST_SHOWN
"""Share of its parts in which a picture must show something to be looked for; a part of it may show more than the whole."""
NEAR = 0.88
"""Cosine of two descriptors from which pictures are glanced at."""
GLANCES = 3
"""Pairs of pictures of two clips, the nearest first, of which one must pass a glance."""


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
    ranked = clips.take(best_first(clips)).select(COMPARED)
    del clips  # millions of rows, which are not needed twice
    with tempfile.TemporaryDirectory(prefix="clipmill-deduplicate-") as folder:
        miniatures, owners = _miniatures(corpus, Numbers(ranked["clip_id"]), Path(folder) / "miniatures")
        likely = _likely(miniatures, owners, Kinship(ranked), mirror)
        pairs = near_pairs(Described(miniatures), owners, NEAR, _views(mirror), likely, Path(folder), listener)
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
    """Miniatures of the proxies of a clip that show enough to be looked for, as uint8 bytes (pictures, SIDE, SIDE)."""

    reads: ClassVar = frozenset({"clip_id", "content_box"})
    writes: ClassVar = frozenset({"clip_id", "miniatures"})
    resources = Resources(cpus=1, memory_gb=0.5)
    batch_rows = 128

    def __init__(self, corpus_url: str) -> None:
        self.corpus_url = corpus_url

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        clips = rows.select(["clip_id", "content_box"]).to_pylist()
        seen = stills_of(open_corpus(self.corpus_url), clips)
        telling = {name: [one.luma for one in stills if shown(one.luma) >= LEAST_ALONE] for name, stills in seen.items()}
        made = [b"".join(miniature(luma).tobytes() for luma in telling[row["clip_id"]]) for row in clips]
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


def _miniatures(corpus: Corpus, numbers: Numbers, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Miniatures of all clips, uint8 (N, SIDE, SIDE) mapped from a file, and the number of the clip that each is of."""
    owners = [np.empty(0, np.int64)]
    with open(file, "wb") as out:
        for rows in corpus.batches(FINGERPRINTS, ["clip_id", "miniatures"]):
            number = numbers.of(rows["clip_id"])
            known = rows["miniatures"].filter(pa.array(number >= 0))
            out.writelines(data.as_buffer() for data in known if data.is_valid)
            pictures = pc.fill_null(pc.binary_length(known), 0).to_numpy() // SIDE**2
            owners.append(np.repeat(number[number >= 0], pictures))
    shape = (sum(map(len, owners)), SIDE, SIDE)
    return np.memmap(file, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8), np.concatenate(owners)


def _likely(miniatures: np.ndarray, owners: np.ndarray, kinship: Kinship, mirror: bool) -> Likely:
    """Which pairs of miniatures are of clips that could be copies, and pass a glance; every other view is mirrored if any is."""

    def likely(first: np.ndarray, second: np.ndarray, view: int) -> np.ndarray:
        told, clips = np.zeros(len(first), bool), owners[first] << 32 | owners[second]
        waiting = np.flatnonzero(kinship.comparable(owners[first], owners[second]))
        for _ in range(GLANCES):
            pairs, nearest = np.unique(clips[waiting], return_index=True)
            asked = waiting[nearest]
            rows, which = np.unique(first[asked], return_inverse=True)
            told[asked] = alike(miniatures[rows], which, miniatures[second[asked]], np.full(len(asked), mirror and view % 2 == 1))
            waiting = np.delete(waiting, nearest)
            waiting = waiting[~np.isin(clips[waiting], pairs[told[asked]])]
        return told

    return likely


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
