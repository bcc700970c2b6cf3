"""Telling: what is to be packed of a selection, in bounded memory: where each clip lies as a table, what is known of it in a file.

Clips are read a stretch of ids at a time and packed in another order; DuckDB sorts what is known of them, on disk where it has to.
"""

import bisect
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from curate.corpus import Corpus
from curate.packing.conditioning import conditioned
from curate.packing.facts import facts_of
from curate.storage.on_disk import insert, on_disk

STRETCH_CLIPS = 8192
"""Clips whose rows are looked at together."""
NOTHING_TOLD: Mapping[str, str] = MappingProxyType({})
WORD = pa.dictionary(pa.int32(), pa.string())
SAMPLES = pa.schema(
    [("clip_id", pa.string()), ("source_id", WORD), ("uri", WORD), ("media_type", WORD), ("license", WORD), ("hours", pa.float64()),
     ("start_frame", pa.int64()), ("end_frame", pa.int64()), ("start_s", pa.float64()), ("end_s", pa.float64()),
     ("fps", pa.float64()), ("keyframe", pa.int64()), ("bucket", WORD), ("place", pa.int64())]
)  # fmt: skip
TOLD = pa.schema([("place", pa.int64()), ("clip_id", pa.string()), ("caption", pa.string()), ("facts", pa.string())])
OWN = ("clip_id", "source_id", "media_type", "start_frame", "end_frame", "start_s", "end_s", "fps")


@dataclass(frozen=True)
class Told:
    """What is known of each clip that is to be packed."""

    _told: duckdb.DuckDBPyConnection

    def contents(self, encoding: str) -> str:
        """A digest of what is to be packed: each clip in order, its caption, its facts, and how it is encoded."""
        digest = hashlib.sha256(encoding.encode())
        for batch in self._asked("SELECT clip_id, caption, facts FROM told ORDER BY place"):
            for row in batch.to_pylist():
                digest.update(json.dumps([row["clip_id"], row["caption"], row["facts"]]).encode())
        return digest.hexdigest()

    def told(self, clip_ids: pa.ChunkedArray) -> Iterator[dict[str, Any]]:
        """`clip_id`, `caption` and `facts` of some clips, in the order given."""
        self._told.register("wanted", pa.table({"clip_id": clip_ids, "number": np.arange(len(clip_ids))}))
        for batch in self._asked("SELECT clip_id, caption, facts FROM told JOIN wanted USING (clip_id) ORDER BY number"):
            yield from batch.to_pylist()

    def _asked(self, question: str) -> Iterator[pa.RecordBatch]:
        yield from self._told.sql(question).to_arrow_reader(1024)  # type: ignore[misc]


@contextmanager
def samples_of(corpus: Corpus, name: str, phrases: Mapping[str, str] = NOTHING_TOLD) -> Iterator[tuple[pa.Table, Told]]:
    """Everything to be packed of a selection: where each clip lies, in packing order (schema SAMPLES), and what is known of it.

    Captions are followed by the recipe's phrases of `conditioning`.
    """
    corpus.gather()
    with on_disk() as told:
        yield _tell(corpus, name, phrases, told), Told(told)


def _tell(corpus: Corpus, name: str, phrases: Mapping[str, str], told: duckdb.DuckDBPyConnection) -> pa.Table:
    """Fill the table `told` with what is known of each clip; where each lies, in packing order (schema SAMPLES)."""
    insert(told, "told", TOLD.empty_table(), "CREATE TABLE told AS")
    chosen = corpus.read(f"selections/{name}", ["clip_id", "order"]).sort_by("clip_id")
    rows = [SAMPLES.empty_table()]
    for start in range(0, chosen.num_rows, STRETCH_CLIPS):
        stretch = chosen.slice(start, STRETCH_CLIPS)
        found = _stretch(corpus, dict(zip(stretch["clip_id"].to_pylist(), stretch["order"].to_pylist())), phrases)
        insert(told, "told", pa.Table.from_pylist(found, schema=TOLD))
        rows.append(pa.Table.from_pylist(found, schema=SAMPLES))
    return pa.concat_tables(rows).unify_dictionaries().combine_chunks().sort_by("place")


def _stretch(corpus: Corpus, places: Mapping[str, int], phrases: Mapping[str, str]) -> list[dict[str, Any]]:
    """Samples of some clips, given by their sorted ids and places."""
    sources = {row["source_id"]: row for row in corpus.about("sources", list(places)).to_pylist()}
    captions: dict[str, list[dict[str, Any]]] = {}
    for row in corpus.about("captions", list(places)).to_pylist():
        captions.setdefault(row["clip_id"], []).append(row)
    clips = corpus.about("clips", list(places)).to_pylist()
    return [{**_sample(clip, sources[clip["source_id"]], captions.get(clip["clip_id"], []), phrases), "place": places[clip["clip_id"]]} for clip in clips]


def _sample(clip: Mapping[str, Any], source: Mapping[str, Any], captions: Sequence[Mapping[str, Any]], phrases: Mapping[str, str]) -> dict[str, Any]:
    facts = facts_of(clip, source, captions)
    keyframes = source["keyframes"] or [0]
    return {
        **{name: clip[name] for name in OWN},
        "keyframe": keyframes[max(bisect.bisect_right(keyframes, clip["start_frame"]) - 1, 0)],
        "uri": source["uri"],
        "license": source["license"],
        "hours": (clip["end_s"] - clip["start_s"]) / 3600,
        "bucket": facts["bucket"],
        "caption": conditioned(clip["caption"] or "", clip, phrases),
        "facts": json.dumps(facts, ensure_ascii=False, sort_keys=True, allow_nan=False),
    }
