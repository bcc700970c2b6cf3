"""Facts: everything known about a clip as JSON values, its rights included, and nothing of where its source lay or when it was packed."""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from curate.packing.buckets import bucket
from schemas.source import SOURCES

RIGHTS = tuple(name for name in SOURCES.names if name.startswith("rights_") or name in ("license", "attribution", "releases", "content_credentials"))
OF_SOURCE = (
    "sha256",
    "bytes",
    "codec",
    "duration_s",
    "width",
    "height",
    "fps",
    "variable_rate",
    "interlaced",
    "hdr",
    "title",
    "description",
    "tags",
    "category",
)


def facts_of(clip: Mapping[str, Any], source: Mapping[str, Any], captions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a sample's JSON holds: the clip's columns, the source's rights beside them, the source and every caption.

    What is null or empty is left out: readers that infer types from the first samples take an empty list for one of nulls, and refuse what comes later.

    Args:
        clip: a row of clips.
        source: its row of sources.
        captions: its rows of captions, in their order.
    """
    rights = {name: source.get(name) for name in RIGHTS}
    told = [{name: caption[name] for name in ("captioner", "text", "start_s", "end_s")} for caption in captions if caption["problem"] is None]
    known = {name: source.get(name) for name in OF_SOURCE}
    own = {"bucket": bucket(clip["width"], clip["height"], clip["num_frames"]), "captions": told, "source": _said(known)}
    return plain(_said({**clip, **rights, **own}))


def _said(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in columns.items() if value is not None and value != []}


def plain(value: Any) -> Any:
    """The value as JSON has it: dates as text, pairs as objects, what is not a number as null."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(pair, tuple) for pair in value):
        return {str(name): plain(inner) for name, inner in value}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
