"""Search: the clips whose kept vectors come nearest to a text, or to another clip."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.corpus import Corpus, CorpusError, source_of
from curate.embedding.queries import Query, like_query, text_query
from curate.embedding.stored import maker_of
from curate.scorers.base import DECIMALS
from curate.storage.store import Snapshot

ROWS_AT_ONCE = 1024
"""Vectors compared at once, so that a table of any size takes the same memory."""


@dataclass(frozen=True)
class Hit:
    """A clip that was found.

    Attributes:
        score: cosine with the query, for `efficientnet` and a text that of `conse`; to 4 decimals.
        clip_id, source_id, uri: which clip, and of which footage.
        start_s, end_s: its span within the source, seconds.
    """

    score: float
    clip_id: str
    source_id: str
    uri: str | None
    start_s: float | None
    end_s: float | None


@dataclass(frozen=True)
class Found:
    """What a search found, best first; `maker` is whose vectors were compared (`NAME@VERSION-DIGEST`), `clips` how many there were."""

    maker: str
    clips: int
    hits: tuple[Hit, ...]


def search(
    corpus: Corpus, *, text: str | None = None, like: str | None = None, top: int = 10, network: str | None = None, models_dir: str | None = None
) -> Found:
    """The `top` clips nearest to a text, or to the clip with the id `like`, which is left out itself.

    Args:
        network: whose vectors, `clip_l14` or `efficientnet`; the best there is when None.

    Raises:
        CorpusError: no vectors are kept, they are of another model than the one that reads the text, or there is none of the clip.
        ModelError: the model that reads the text is not on this machine.
        ValueError: neither a text nor a clip is given, or both are.
    """
    if (text is None) == (like is None):
        raise ValueError("give either a text or a clip to search for")
    maker = maker_of(corpus, network)
    relation = f"embeddings/{maker}"
    query = like_query(_vector_of(corpus, relation, like)) if like is not None else text_query(maker, text or "", models_dir)
    clips, nearest = corpus.store.consistently(
        lambda snapshot: _nearest(corpus.store.batches(snapshot, relation, ["clip_id", "vector"]), query, top, without=like)
    )
    return Found(maker, clips, tuple(_hits(corpus, nearest)))


def _vector_of(corpus: Corpus, relation: str, clip: str) -> np.ndarray:
    rows = corpus.store.consistently(lambda snapshot: corpus.store.read(snapshot, relation, ["clip_id", "vector"], ids=[clip]))
    for row in rows.to_pylist() if rows is not None else ():
        if row["vector"] is not None:
            return np.array(row["vector"], np.float32)
    raise CorpusError(f"{corpus.url}: there is no vector of a clip `{clip}` in {relation}; `clipmill trace --clip {clip}` says whether there is such a clip")


def _nearest(batches: Iterable[pa.Table], query: Query, top: int, without: str | None) -> tuple[int, list[tuple[float, str]]]:
    """How many vectors were compared, and the best scores with their clips; equal scores by clip id."""
    seen, best = 0, list[tuple[float, str]]()
    for rows in batches:
        rows = rows.drop_null()
        seen += rows.num_rows
        for start in range(0, rows.num_rows, ROWS_AT_ONCE):
            piece = rows.slice(start, ROWS_AT_ONCE).combine_chunks()
            vectors = piece["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(piece.num_rows, -1).astype(np.float32)
            scores = np.round(query(vectors), DECIMALS)
            bar = best[-1][0] if len(best) == top else -np.inf
            near = np.flatnonzero(scores >= bar)
            ids = piece["clip_id"].take(pa.array(near)).to_pylist()
            best += [(float(score) + 0.0, clip_id) for score, clip_id in zip(scores[near], ids, strict=True) if clip_id != without]
            best = sorted(best, key=lambda hit: (-hit[0], hit[1]))[:top]
    return seen, best


def _hits(corpus: Corpus, nearest: list[tuple[float, str]]) -> Iterable[Hit]:
    """The clips with their spans and footage; only their own rows are read."""
    ids = sorted(clip_id for _, clip_id in nearest)
    columns = ["clip_id", "start_s", "end_s"]

    def read(snapshot: Snapshot) -> pa.Table | None:
        return corpus.store.read(snapshot, "spans", columns, ids=ids, keys=frozenset(map(source_of, ids)))

    found = corpus.store.consistently(read) if ids else None
    spans: dict[str, dict[str, Any]] = {row["clip_id"]: row for row in found.to_pylist()} if found is not None else {}
    sources = corpus.about("sources", ids).select(["source_id", "uri"]).to_pylist() if ids else []
    uris = {row["source_id"]: row["uri"] for row in sources}
    for score, clip_id in nearest:
        span, source = spans.get(clip_id, {}), source_of(clip_id)
        yield Hit(score, clip_id, source, uris.get(source), span.get("start_s"), span.get("end_s"))
