"""Semantic: clips that show alike things, by the cosine of the vectors that scoring kept of them; written apart from copies, and removing nothing.

Clusters are made as those of copies are: each clip joins the best one that it is near enough to, never one through another.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.copies.cells import Laid, Source, laid_in
from curate.copies.leaders import Agreement, Led, lead
from curate.copies.neighbours import all_near_pairs
from curate.copies.rank import NEEDED, Numbers, best_first
from curate.corpus import Corpus
from curate.embedding.stored import maker_of
from curate.engine import Listener, quiet
from curate.storage.relations import RELATIONS

RELATION = "semantic"
PLACES = 4
"""Decimals to which a cosine is kept, as scores are."""


@dataclass(frozen=True)
class SemanticReport:
    """What was found.

    Attributes:
        maker: whose vectors were compared, `NAME@VERSION-DIGEST`.
        clips: clips that have one.
        alike: clips that are alike to a better one.
        clusters: clusters of two and more.
    """

    maker: str
    clips: int
    alike: int
    clusters: int


def find_alike(corpus: Corpus, cosine: float, network: str | None = None, listener: Listener = quiet) -> SemanticReport:
    """Cluster clips whose vectors have at least this cosine with their cluster's best clip; write `semantic` anew.

    Args:
        corpus: scored, so that it has vectors.
        cosine: from which two clips are alike, -1 to 1.
        network: whose vectors; the best there is when None.

    Raises:
        CorpusError: scoring has kept no vectors.
    """
    maker = maker_of(corpus, network)
    clips = corpus.table("clips", columns=list(NEEDED))
    ranked = clips.take(best_first(clips))
    with tempfile.TemporaryDirectory(prefix="clipmill-semantic-") as folder:
        source = _vectors(corpus, f"embeddings/{maker}", Numbers(ranked["clip_id"]))
        pairs = all_near_pairs(source, _itself, cosine, lambda vectors: [_itself(vectors)], Path(folder), listener=listener)
        laid = laid_in(Path(folder))
        led = lead(ranked.num_rows, pairs, _agreement(laid, ranked.num_rows, cosine), listener, "compare")
        owners = laid.owners.astype(np.int64)
    corpus.replace(RELATION, _rows(ranked["clip_id"], led, owners))
    followed = led.leaders[led.leaders != np.arange(len(led.leaders))]
    return SemanticReport(maker, len(owners), len(followed), len(np.unique(followed)))


def _itself(vectors: np.ndarray) -> np.ndarray:
    return vectors.astype(np.float32)


def _vectors(corpus: Corpus, relation: str, numbers: Numbers) -> Source:
    """Vectors of all clips that have one, float16 (B, dimensions), and the number of the clip that each is of."""

    def source() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for rows in corpus.batches(relation, ["clip_id", "vector"]):
            rows = rows.drop_null()
            width, number = rows.schema.field("vector").type.list_size, numbers.of(rows["clip_id"])
            if len(number):
                yield rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, width)[number >= 0], number[number >= 0]

    return source


def _agreement(laid: Laid, clips: int, cosine: float) -> Callable[[np.ndarray], Agreement]:
    """Looks up the vectors of some clips, to compare them as they are."""
    place = np.full(clips, -1)
    place[laid.owners] = np.arange(len(laid.owners))

    def load(needed: np.ndarray) -> Agreement:
        made = dict(zip(needed.tolist(), laid.records[place[needed]].astype(np.float32)))

        def agreement(better: int, clip: int) -> float:
            found = float(made[better] @ made[clip])
            return found if found >= cosine else 0.0

        return agreement

    return load


def _rows(clip_ids: pa.ChunkedArray, led: Led, owners: np.ndarray) -> pa.Table:
    """The relation: a row for each clip that has a vector."""
    told = led.columns(clip_ids)
    columns = [clip_ids, told["of"], told["cluster"], pa.array(np.round(led.certainty, PLACES))]
    return pa.table(columns, schema=RELATIONS[RELATION]).take(pa.array(np.sort(owners))).sort_by("clip_id")
