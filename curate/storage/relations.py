"""Relations: the tables that steps store, from which the views people query are made."""

from collections.abc import Mapping

import pyarrow as pa

from schemas.clip import CAPTIONS, CLIPS, DEDUPLICATED, GAPS, IDENTITY, LEDGER, OBSERVED, PROXIES, SEMANTIC, SHOTS, UNMEASURED
from schemas.rights import GRANTS
from schemas.source import SOURCES
from schemas.table import column

READ_LATER = ("frames", "variable_rate", "interlaced", "hdr", "keyframes", "duration_s")
"""Columns of `sources` that only a reading knows."""

READINGS = pa.schema([SOURCES.field(name) for name in ("source_id", *READ_LATER, "width", "height", "fps", "status", "rule", "reason", "warnings")])
SPANS = pa.schema([*IDENTITY, *OBSERVED, *UNMEASURED])
SELECTION = pa.schema(
    [column("clip_id", pa.string(), "A clip that the recipe keeps", by="select"), column("order", pa.int64(), "Its place when packed", by="select")]
)
CHOSEN = pa.schema(
    [column("column", pa.string(), "A column of clips", by="score"), column("maker", pa.string(), "The scorer whose values it shows", by="score")]
)
VERDICTS = pa.schema(
    [
        SOURCES.field("source_id"),
        column("start_frame", pa.int64(), "First frame of the clip; null where the seconds belong to none", by="select"),
        column("end_frame", pa.int64(), "Frame after its last", by="select"),
        *(LEDGER.field(name) for name in ("start_s", "end_s", "outcome", "rule")),
        column("words", pa.string(), "Why, with `{}` where the number or the text belongs", by="select"),
        column("number", pa.float64(), "What fills the gap in the words", by="select"),
        column("text", pa.string(), "The same, where it is no number", by="select"),
    ]
)
"""A ledger as it is stored: few distinct words, numbers apart from them and ids made of what they say, so that 25 million clips take seconds to write."""
FROM_HEADER = ("media_type", "codec", "width", "height", "fps", "container_duration_s")

FOUND = pa.schema(
    [
        column("number", pa.int64(), "Order of looking, from 0; the last look at a location holds", by="add"),
        column("stamp", pa.string(), "Changes when the file does: an unchanged file is not read again", by="add"),
        column("names", pa.list_(pa.string()), "By which a rights file may call it", by="add"),
        *(SOURCES.field(name) for name in ("source_id", "uri", "sha256", "bytes", *FROM_HEADER)),
        *(SOURCES.field(name) for name in ("status", "rule", "reason", "warnings", "content_credentials")),
    ]
)
"""Files looked at; `added` is made from them and from the rights."""
TOMBSTONES = pa.schema(
    [
        SOURCES.field("source_id"),
        column("reason", pa.string(), "Why it was taken down", by="takedown"),
        column("at", pa.string(), "When, in UTC, ISO 8601", by="takedown"),
    ]
)
TRAININGS = pa.schema(
    [
        column("checkpoint", pa.string(), "The trained cascade's folder", by="train"),
        column("run", pa.string(), "Name of the training run", by="train"),
        column("selection", pa.string(), "The selection whose shards it was trained on", by="train"),
        column("manifest_sha256", pa.string(), "Digest of the manifest it was trained on", by="train"),
        column("clip_ids", pa.list_(pa.string()), "Every clip in those shards", by="train"),
    ]
)

RELATIONS: Mapping[str, pa.Schema] = {
    "added": pa.schema([field for field in SOURCES if field.name not in READ_LATER]),
    "readings": READINGS,
    "shots": SHOTS,
    "spans": SPANS,
    "gaps": GAPS,
    "proxies": PROXIES,
    "captions": CAPTIONS,
    "duplicates": pa.schema([CLIPS.field("clip_id"), *DEDUPLICATED]),
    "semantic": pa.schema([CLIPS.field("clip_id"), *SEMANTIC]),
    "chosen": CHOSEN,
    "found": FOUND,
    "grants": GRANTS,
    "tombstones": TOMBSTONES,
    "trainings": TRAININGS,
}
"""Relations that always exist, if only empty. Those of scorers, embeddings and selections exist once written."""

FAMILIES: Mapping[str, pa.Schema] = {"selections/": SELECTION, "verdicts/": VERDICTS, "measures/": pa.schema([CLIPS.field("clip_id"), *UNMEASURED])}
