"""Pack: a selection into shards that can be trusted: cut once, written whole, described, and the same bytes again."""

import bisect
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus
from curate.deciding.ledger import with_failures
from curate.engine import Engine, Listener, quiet, run_here
from curate.packing.card import attribution, card, describe, licensed
from curate.packing.conditioning import conditioned
from curate.packing.croissant import INDEX_FILE, croissant
from curate.packing.cutting import CutClips, encoding_digest, jobs_of
from curate.packing.facts import facts_of
from curate.packing.manifest import MANIFEST, contents_digest, make_manifest, read_manifest, whole
from curate.packing.pieces import take_from_shards
from curate.packing.shards import INDEX, Plan, WriteShards, plan_shards
from curate.select import selected_by
from curate.storage.atomic import TEMPORARY, names_in, overwrite
from curate.storage.journal import record
from schemas.recipe import Recipe

PIECES = "pieces"
SAMPLES = pa.schema(
    [("clip_id", pa.string()), ("source_id", pa.string()), ("uri", pa.string()), ("media_type", pa.string()), ("license", pa.string()), ("hours", pa.float64()),
     ("start_frame", pa.int64()), ("end_frame", pa.int64()), ("start_s", pa.float64()), ("end_s", pa.float64()),
     ("fps", pa.float64()), ("keyframe", pa.int64()), ("bucket", pa.string()), ("caption", pa.string()), ("facts", pa.string())]
)  # fmt: skip


NOTHING_TOLD: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class PackReport:
    """What was packed.

    Attributes:
        name: of the set.
        folder: where it lies.
        shards: file names.
        clips: samples packed, images included.
        hours: of video.
        bytes: of all shards.
        failed: clips that could not be packed, with the reason.
        fresh: whether anything had to be written.
    """

    name: str
    folder: str
    shards: tuple[str, ...]
    clips: int
    hours: float
    bytes: int
    failed: tuple[tuple[str, str], ...]
    fresh: bool


def pack(corpus: Corpus, recipe: Recipe, *, name: str | None = None, run: Engine = run_here, listener: Listener = quiet) -> PackReport:
    """Cut, encode and shard what `select` kept under `name` (the recipe's when None); what is already packed stays as it is.

    Raises:
        CorpusError: nothing was selected under that name, or by another version of the recipe.
    """
    name = name or recipe.name
    selected_by(corpus, recipe, name)
    folder = corpus.path("shards", name)
    samples = samples_of(corpus, name, recipe.conditioning)
    contents = contents_digest(samples, f"{encoding_digest(recipe.encoding)} {recipe.encoding.shard_mb} {recipe.encoding.buckets}")
    before = read_manifest(corpus.filesystem, folder)
    if before is not None and before["contents"] == contents and whole(corpus.filesystem, folder, before):
        return _report(corpus, before, fresh=False)
    pieces = f"{PIECES}/{encoding_digest(recipe.encoding)}"
    sizes, problems = _cut(corpus, f"{folder}/{pieces}", samples, recipe, name, run, listener)
    failed = sorted(problems.items())
    plans = plan_shards(_planned(samples, sizes, recipe), recipe.encoding.shard_mb * 1e6)
    if before is not None:
        corpus.filesystem.rm_file(f"{folder}/{MANIFEST}")
    shards, index = _write(corpus, name, pieces, plans, samples, run, listener)
    manifest = make_manifest(corpus, recipe, name, contents, encoding_digest(recipe.encoding), shards, failed)
    describe_set(corpus, folder, manifest, samples.filter(pc.is_in(samples["clip_id"], pa.array(sizes, pa.string()))), index)
    _record_failures(corpus, name, failed)
    overwrite(corpus.filesystem, f"{folder}/{MANIFEST}", json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True).encode())
    _clear(corpus, folder, {plan.shard for plan in plans})
    record(corpus, "pack", {"name": name, "contents": contents, "clips": manifest["clips"], "shards": len(shards)})
    return _report(corpus, manifest, fresh=True)


def samples_of(corpus: Corpus, name: str, phrases: Mapping[str, str] = NOTHING_TOLD) -> pa.Table:
    """Everything to be packed of a selection, in packing order (schema SAMPLES); captions followed by the recipe's phrases of `conditioning`."""
    chosen = corpus.read(f"selections/{name}").sort_by("order")
    clips = corpus.table("clips").filter(pc.is_in(pc.field("clip_id"), chosen["clip_id"].combine_chunks()))
    sources = {row["source_id"]: row for row in corpus.table("sources").to_pylist()}
    captions: dict[str, list[dict[str, Any]]] = {}
    for row in corpus.table("captions").to_pylist():
        captions.setdefault(row["clip_id"], []).append(row)
    place = {clip_id: order for order, clip_id in enumerate(chosen["clip_id"].to_pylist())}
    rows = [_sample(clip, sources[clip["source_id"]], captions.get(clip["clip_id"], []), phrases) for clip in clips.to_pylist()]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: place[row["clip_id"]]), schema=SAMPLES)


def _sample(clip: dict[str, Any], source: dict[str, Any], captions: Sequence[dict[str, Any]], phrases: Mapping[str, str]) -> dict[str, Any]:
    facts = facts_of(clip, source, captions)
    told = json.dumps(facts, ensure_ascii=False, sort_keys=True, allow_nan=False)
    own = {name: clip[name] for name in ("clip_id", "source_id", "media_type", "start_frame", "end_frame", "start_s", "end_s", "fps")}
    keyframes = source["keyframes"] or [0]
    own["keyframe"] = keyframes[max(bisect.bisect_right(keyframes, clip["start_frame"]) - 1, 0)]
    hours = (clip["end_s"] - clip["start_s"]) / 3600
    return {
        **own,
        "uri": source["uri"],
        "license": source["license"],
        "hours": hours,
        "bucket": facts["bucket"],
        "caption": conditioned(clip["caption"] or "", clip, phrases),
        "facts": told,
    }


def _cut(corpus: Corpus, folder: str, samples: pa.Table, recipe: Recipe, name: str, run: Engine, listener: Listener) -> tuple[dict[str, int], dict[str, str]]:
    """Encode what is not encoded yet: bytes of every piece there is, and the clips that failed, with the reason."""
    take_from_shards(corpus, folder, _missing(samples, _sizes(corpus, folder))["clip_id"].to_pylist(), encoding_digest(recipe.encoding), besides=name)
    sizes, failed = _sizes(corpus, folder), {}
    waiting = _missing(samples, sizes)
    done = samples.num_rows - waiting.num_rows
    listener("encode", done, samples.num_rows)
    for made in run(jobs_of(waiting), [CutClips(corpus.url, _url(corpus, folder), recipe.encoding)]) if waiting.num_rows else ():
        for row in made.to_pylist():
            if row["problem"] is None:
                sizes[row["clip_id"]] = row["bytes"]
            else:
                failed[row["clip_id"]] = row["problem"]
        done += made.num_rows
        listener("encode", done, samples.num_rows)
    return sizes, failed


def _sizes(corpus: Corpus, folder: str) -> dict[str, int]:
    """Bytes of each piece there is."""
    if not corpus.filesystem.exists(folder):
        return {}
    found = corpus.filesystem.find(folder, maxdepth=1, detail=True)
    return {name: told["size"] for path, told in found.items() if not (name := path.rsplit("/", 1)[-1]).startswith(TEMPORARY)}


def _missing(samples: pa.Table, sizes: dict[str, int]) -> pa.Table:
    return samples.filter(pc.invert(pc.is_in(samples["clip_id"], pa.array(sizes, pa.string()))))


def _planned(samples: pa.Table, sizes: dict[str, int], recipe: Recipe) -> list[dict[str, Any]]:
    """What `plan_shards` wants to know of each clip that was encoded."""
    rows = samples.select(["clip_id", "media_type", "bucket"]).to_pylist()
    return [
        {"clip_id": row["clip_id"], "kind": row["media_type"], "bucket": row["bucket"] if recipe.encoding.buckets else None, "bytes": sizes[row["clip_id"]]}
        for row in rows
        if row["clip_id"] in sizes
    ]


def _write(
    corpus: Corpus, name: str, pieces: str, plans: Sequence[Plan], samples: pa.Table, run: Engine, listener: Listener
) -> tuple[list[dict[str, Any]], pa.Table]:
    """Write every shard: what the manifest tells of each, and the index of all."""
    folder = corpus.path("shards", name)
    text = {row["clip_id"]: row for row in samples.select(["clip_id", "caption", "facts"]).to_pylist()}
    rows = [
        {
            "shard": plan.shard,
            "clip_ids": list(plan.clips),
            "captions": [text[clip]["caption"] for clip in plan.clips],
            "facts": [text[clip]["facts"] for clip in plan.clips],
        }
        for plan in plans
    ]
    written: dict[str, dict[str, Any]] = {}
    for made in run(pa.Table.from_pylist(rows), [WriteShards(_url(corpus, f"{folder}/{pieces}"), _url(corpus, folder))]) if rows else ():
        written.update({row["shard"]: row for row in made.to_pylist()})
        listener("pack", len(written), len(plans))
    shards = [
        {
            "shard": plan.shard,
            "kind": plan.kind,
            "bucket": plan.bucket,
            **{key: written[plan.shard][key] for key in ("bytes", "sha256", "hours")},
            "clips": list(plan.clips),
        }
        for plan in plans
    ]
    index = [{**member, "shard": plan.shard} for plan in plans for member in written[plan.shard]["members"]]
    return shards, pa.Table.from_pylist(index, schema=INDEX)


def describe_set(corpus: Corpus, folder: str, manifest: dict[str, Any], packed: pa.Table, index: pa.Table) -> None:
    """Write the index, the card, the attributions and the machine-readable description."""
    buffer = io.BytesIO()
    pq.write_table(index, buffer, compression="zstd")
    told = licensed(packed.select(["source_id", "license", "hours"]).to_pylist())
    sources = corpus.table("sources")
    shown = sources.filter(pc.is_in(sources["source_id"], packed["source_id"].combine_chunks()))
    described = croissant(manifest, [one.license for one in told], hashlib.sha256(buffer.getvalue()).hexdigest(), describe(manifest))
    files = {
        INDEX_FILE: buffer.getvalue(),
        "README.md": card(manifest, told, corpus.read(f"funnels/{manifest['name']}").to_pylist()).encode(),
        "ATTRIBUTION": attribution(shown.to_pylist()).encode(),
        "croissant.json": described.encode(),
    }
    for name, data in files.items():
        overwrite(corpus.filesystem, f"{folder}/{name}", data)


def _record_failures(corpus: Corpus, name: str, failed: Sequence[tuple[str, str]]) -> None:
    """Move the seconds of clips that could not be packed from kept to failed."""
    if not failed:
        return
    corpus.replace(f"verdicts/{name}", with_failures(corpus.read(f"verdicts/{name}"), dict(failed), "pack"), in_order=True)


def _clear(corpus: Corpus, folder: str, current: set[str]) -> None:
    """Remove pieces, and shards of an earlier set under the same name."""
    for name in names_in(corpus.filesystem, folder):
        if name == PIECES or (name.endswith(".tar") and name not in current):
            corpus.filesystem.rm(f"{folder}/{name}", recursive=True)


def _url(corpus: Corpus, path: str) -> str:
    """A path of the corpus's filesystem as a URL that a worker can open."""
    return path if "://" not in corpus.url else corpus.filesystem.unstrip_protocol(path)


def _report(corpus: Corpus, manifest: dict[str, Any], fresh: bool) -> PackReport:
    shards, failed = tuple(shard["shard"] for shard in manifest["shards"]), tuple((one["clip_id"], one["reason"]) for one in manifest["failed"])
    folder = f"{corpus.url}/shards/{manifest['name']}"
    return PackReport(manifest["name"], folder, shards, manifest["clips"], manifest["hours"], manifest["bytes"], failed, fresh)
