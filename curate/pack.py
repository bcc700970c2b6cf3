"""Pack: a selection into shards that can be trusted: cut once, written whole, described, and the same bytes again."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus
from curate.deciding.ledger import with_failures
from curate.engine import Engine, Listener, quiet, run_here
from curate.packing.cutting import CutClips, encoding_digest, jobs_of
from curate.packing.describing import TO_DESCRIBE, changed, describe_again, describe_set
from curate.packing.index import IndexFile
from curate.packing.manifest import MANIFEST, made_after, make_manifest, manifest_digest, read_manifest, told_of, whole, write_manifest
from curate.packing.pieces import SIZES, sizes_of, take_from_shards
from curate.packing.shards import Plan, WriteShards, plan_shards
from curate.packing.telling import Told, samples_of
from curate.select import selected_by
from curate.storage.atomic import names_in
from curate.storage.journal import record
from curate.storage.memory import plain_memory
from schemas.recipe import Encoding, Recipe

PIECES = "pieces"
CUT_CLIPS, WRITTEN_CLIPS = 65_536, 8192
"""Clips that are cut, or written into shards, in one go: enough to keep a cluster busy, and few enough to hold what is known of them."""


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


def pack(corpus: Corpus, recipe: Recipe, *, name: str | None = None, run: Engine = run_here, listener: Listener = quiet, on: date | None = None) -> PackReport:
    """Cut, encode and shard what `select` kept under `name` (the recipe's when None); what is already packed stays as it is.

    Args:
        on: the day on which the rights of what was selected must still hold; today when None.

    Raises:
        CorpusError: nothing was selected under that name, or by another version of the recipe, or the rights of sources ran out since.
    """
    name = name or recipe.name
    selected_by(corpus, recipe, name, on)
    folder = corpus.path("shards", name)
    with plain_memory(), samples_of(corpus, name, recipe.conditioning) as (samples, told):
        contents = told.contents(packing_digest(recipe.encoding))
        before = read_manifest(corpus.filesystem, folder)
        if before is not None and before["contents"] == contents and whole(corpus.filesystem, folder, before):
            if changed(corpus.filesystem, folder, before):
                before = made_after(corpus, before) | {"files": describe_again(corpus, folder, before, samples)}
                write_manifest(corpus.filesystem, folder, before)
            return _finish(corpus, folder, before, fresh=False)
        pieces = f"{folder}/{PIECES}/{encoding_digest(recipe.encoding)}"
        sizes, problems = _cut(corpus, pieces, samples, recipe, name, run, listener)
        samples, failed = with_sizes(samples, sizes), sorted(problems.items())
        plans = plan_shards(_planned(samples, recipe), recipe.encoding.shard_mb * 1e6)
        packed = samples.select(TO_DESCRIBE)
        del samples, sizes  # hundreds of bytes a clip, which nothing below needs
        pa.default_memory_pool().release_unused()
        if before is not None:
            corpus.filesystem.rm_file(f"{folder}/{MANIFEST}")
        with IndexFile() as index:
            shards = _write(corpus, name, pieces, plans, told, index, run, listener)
            manifest = make_manifest(corpus, recipe, name, contents, encoding_digest(recipe.encoding), shards, failed)
            manifest["files"] = describe_set(corpus, folder, manifest, packed, index)
    _record_failures(corpus, name, failed)
    write_manifest(corpus.filesystem, folder, manifest)
    return _finish(corpus, folder, manifest, fresh=True)


def packing_digest(encoding: Encoding) -> str:
    """All that shapes a set beside its clips: how they are encoded, and how they are divided among shards."""
    return f"{encoding_digest(encoding)} {float(encoding.shard_mb)} {encoding.buckets}"


def _cut(corpus: Corpus, folder: str, samples: pa.Table, recipe: Recipe, name: str, run: Engine, listener: Listener) -> tuple[pa.Table, dict[str, str]]:
    """Encode what is not encoded yet; which pieces there are then (schema SIZES), and the clips that failed, with the reason."""
    there = sizes_of(corpus.filesystem, folder)
    elsewhere = take_from_shards(corpus, folder, _missing(samples, there)["clip_id"].to_pylist(), encoding_digest(recipe.encoding), besides=name)
    there = pa.concat_tables([there, elsewhere])
    waiting, failed = _missing(samples, there).sort_by("clip_id"), {}
    done = samples.num_rows - waiting.num_rows
    listener("encode", done, samples.num_rows)
    for start in range(0, waiting.num_rows, CUT_CLIPS):
        cut: list[dict[str, Any]] = []
        for made in run(jobs_of(waiting.slice(start, CUT_CLIPS)), [CutClips(corpus.url, _url(corpus, folder), recipe.encoding)]):
            cut += made.to_pylist()
            listener("encode", done + len(cut), samples.num_rows)
        done += len(cut)
        failed.update({row["clip_id"]: row["problem"] for row in cut if row["problem"] is not None})
        there = pa.concat_tables([there, pa.Table.from_pylist([row for row in cut if row["problem"] is None], schema=SIZES)])
    return there, failed


def _missing(samples: pa.Table, there: pa.Table) -> pa.Table:
    return samples.filter(pc.invert(pc.is_in(samples["clip_id"], there["clip_id"].combine_chunks())))


def with_sizes(samples: pa.Table, sizes: pa.Table) -> pa.Table:
    """The samples that there is a piece of, with its `bytes` and whether its `sound` lies beside it."""
    at = pc.index_in(samples["clip_id"], sizes["clip_id"].combine_chunks())
    packed = samples.append_column("bytes", sizes["bytes"].take(at)).append_column("sound", sizes["sound"].take(at))
    return packed.filter(pc.is_valid(at)) if at.null_count else packed


def _planned(packed: pa.Table, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """What `plan_shards` wants to know of each clip that was encoded."""
    for batch in packed.select(["clip_id", "media_type", "bucket", "bytes", "sound"]).to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            kind = f"{row['media_type']}-audio" if row["sound"] else row["media_type"]
            yield {**row, "kind": kind, "bucket": row["bucket"] if recipe.encoding.buckets else None}


def _write(
    corpus: Corpus, name: str, pieces: str, plans: Sequence[Plan], known: Told, index: IndexFile, run: Engine, listener: Listener
) -> list[dict[str, Any]]:
    """Write every shard, some at a time, and the index of all; what the manifest tells of each."""
    stage = WriteShards(_url(corpus, pieces), _url(corpus, corpus.path("shards", name)))
    told = known.told(pa.chunked_array([pa.array(plan.clips, pa.string()) for plan in plans], pa.string()))
    shards: list[dict[str, Any]] = []
    for some in _at_once(plans):
        written: dict[str, dict[str, Any]] = {}
        for made in run(pa.Table.from_pylist([_job(plan, told) for plan in some]), [stage]):
            written.update({row["shard"]: row for row in made.to_pylist()})
            listener("pack", len(shards) + len(written), len(plans))
        for plan in some:
            one = written.pop(plan.shard)
            index.add([{**member, "shard": plan.shard} for member in one["members"]])
            facts = {key: one[key] for key in ("bytes", "sha256", "hours")}
            shards.append({"shard": plan.shard, "kind": plan.kind, "bucket": plan.bucket, **facts, "clips": list(plan.clips)})
    return shards


def _at_once(plans: Sequence[Plan]) -> Iterator[list[Plan]]:
    """Plans in runs of about WRITTEN_CLIPS clips, which is what is known of clips that is in memory at once."""
    some: list[Plan] = []
    for plan in plans:
        some.append(plan)
        if sum(len(one.clips) for one in some) >= WRITTEN_CLIPS:
            yield some
            some = []
    if some:
        yield some


def _job(plan: Plan, told: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """A row for WriteShards: a plan, with what is known of its clips, which come next."""
    rows = list(itertools.islice(told, len(plan.clips)))
    return {"shard": plan.shard, "clip_ids": list(plan.clips), "captions": [row["caption"] for row in rows], "facts": [row["facts"] for row in rows]}


def _record_failures(corpus: Corpus, name: str, failed: Sequence[tuple[str, str]]) -> None:
    """Move the seconds of clips that could not be packed from kept to failed."""
    if not failed:
        return
    corpus.replace(f"verdicts/{name}", with_failures(corpus.read(f"verdicts/{name}"), dict(failed), "pack"), in_order=True)


def _finish(corpus: Corpus, folder: str, manifest: dict[str, Any], fresh: bool) -> PackReport:
    """What follows a manifest, as far as it was not done: pieces and old shards go, and the journal tells of the set."""
    _clear(corpus, folder, {shard["shard"] for shard in manifest["shards"]})
    if told_of(corpus, manifest) is None:
        facts = {name: manifest[name] for name in ("name", "contents", "clips")}
        record(corpus, "pack", {**facts, "shards": len(manifest["shards"]), "manifest": manifest_digest(corpus.filesystem, folder)})
    return _report(corpus, manifest, fresh)


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
