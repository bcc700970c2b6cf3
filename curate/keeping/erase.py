"""Erasing a source from a corpus: out of every table, out of the shards that held it, and out of the folders beside them."""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import SEARCHING, Corpus, source_of
from curate.footage.quarantine import TAKEDOWN_RULE
from curate.keeping.verify_documents import REPORT
from curate.pack import packing_digest
from curate.packing.describing import clips_of, describe_set
from curate.packing.index import IndexFile, index_by_shard
from curate.packing.manifest import made_after, write_manifest
from curate.packing.shards import members_of, write_tar
from curate.packing.telling import samples_of
from curate.storage.atomic import overwrite
from curate.trace import manifests
from schemas.clip import OUTCOME_REJECTED
from schemas.recipe import Recipe
from schemas.sample import Sample, decode

KEPT_RELATIONS = frozenset({"added", "found", "readings", "tombstones", "grants", "trainings", "chosen"})
"""What stays: that the source was there, how long it was, whose it is, and which checkpoints have seen it."""

MADE_ANEW = (REPORT, SEARCHING)
"""What holds pictures of clips and can be made again: the page, and what an interrupted search for copies left."""


@dataclass(frozen=True)
class Rewritten:
    """A shard that held clips of the source: its digests before and after (None where nothing of it is left), and how many clips were removed."""

    shard: str
    before: str
    after: str | None
    clips: int


def erase_rows(corpus: Corpus, source_id: str) -> dict[str, int]:
    """Remove a source's rows from every relation that speaks of its content; how many there were in each.

    A ledger keeps its seconds, as rejected. The parts that held the rows are removed, not merely forgotten.
    """
    corpus.gather()
    counts: dict[str, int] = {}

    def without(name: str) -> Callable[[pa.Table], pa.Table]:
        def change(rows: pa.Table) -> pa.Table:
            mine = _mine(rows, source_id)
            counts[name] = counts.get(name, 0) + (pc.sum(mine).as_py() or 0)
            if name.startswith("verdicts/"):
                return _told_in_ledger(rows, mine)
            kept = rows.filter(pc.invert(mine))
            return COPIES[name](kept, source_id) if name in COPIES else kept

        return change

    names = [name for name in corpus.names() if name not in KEPT_RELATIONS and _speaks_of_clips(corpus, name)]
    corpus.store.rewrite({name: without(name) for name in names if name not in COPIES}, about=source_id)
    corpus.store.rewrite({name: without(name) for name in COPIES})
    corpus.store.sweep()
    return {name: count for name, count in sorted(counts.items()) if count}


def erase_from_shards(corpus: Corpus, source_id: str) -> list[Rewritten]:
    """Rewrite the shards that hold clips of a source, one after the other, each in one step; the others keep their bytes.

    The manifest is swapped last, so an interrupted erasure is completed by doing it again.
    """
    told = []
    for name, manifest in manifests(corpus):
        holding = [shard for shard in manifest["shards"] if any(source_of(clip) == source_id for clip in shard["clips"])]
        if holding:
            fresh = {shard["shard"]: _rewrite_shard(corpus, name, shard, source_id) for shard in holding}
            told += [Rewritten(f"{name}/{shard['shard']}", shard["sha256"], *_after(shard, fresh[shard["shard"]])) for shard in holding]
            _swap_manifest(corpus, name, manifest, fresh)
    return told


def erase_files(corpus: Corpus, source_id: str) -> list[str]:
    """Remove files that are named for a source's clips, pages with their pictures, and what an interrupted search left; what was removed, below the corpus."""
    found = corpus.filesystem.find(corpus.path("shards")) if corpus.filesystem.exists(corpus.path("shards")) else []
    mine = [path for path in found if path.rsplit("/", 1)[-1].startswith(f"{source_id}-")]
    mine += [corpus.path(name) for name in MADE_ANEW if corpus.filesystem.exists(corpus.path(name))]
    for path in mine:
        corpus.filesystem.rm(path, recursive=True)
    return [path.removeprefix(corpus.path("")) for path in mine]


def _speaks_of_clips(corpus: Corpus, name: str) -> bool:
    return bool({"clip_id", "source_id"} & set(corpus.store.columns(corpus.store.now(), name)))


def _mine(rows: pa.Table, source_id: str) -> pa.ChunkedArray:
    if "source_id" in rows.column_names:
        return pc.fill_null(pc.equal(rows["source_id"], source_id), False)
    return pc.fill_null(pc.starts_with(rows["clip_id"], f"{source_id}-"), False)


def _told_in_ledger(rows: pa.Table, mine: pa.ChunkedArray) -> pa.Table:
    """Verdicts with the source's kept seconds rejected, and no word of what was seen in it."""
    told = {"outcome": OUTCOME_REJECTED, "rule": TAKEDOWN_RULE, "words": "taken down", "number": None, "text": None, "start_frame": None, "end_frame": None}
    made = [pc.if_else(mine, pa.scalar(told[field.name], field.type), rows[field.name]) if field.name in told else rows[field.name] for field in rows.schema]
    return pa.table(made, schema=rows.schema)


def _with_new_best(rows: pa.Table, source_id: str) -> pa.Table:
    """Duplicates of a best copy that is gone: the next in rank becomes the best one."""
    orphans = pc.starts_with(rows["duplicate_of"], f"{source_id}-")
    clusters = pc.unique(rows.filter(pc.fill_null(orphans, False))["duplicate_cluster"]).to_pylist()
    if not clusters:
        return rows
    told = rows.to_pylist()
    for cluster in clusters:
        members = sorted((row for row in told if row["duplicate_cluster"] == cluster), key=lambda row: (row["duplicate_rank"] or 0, row["clip_id"]))
        for rank, row in enumerate(members):
            row |= {"duplicate_of": members[0]["clip_id"] if rank else None, "duplicate_cluster": members[0]["clip_id"], "duplicate_rank": rank}
    return pa.Table.from_pylist(told, schema=rows.schema)


def _dissolved(rows: pa.Table, source_id: str) -> pa.Table:
    """Clips alike to a best one that is gone stand alone, until somebody looks again: how alike they are to each other was never written."""
    orphans = pc.fill_null(pc.starts_with(rows["semantic_of"], f"{source_id}-"), False)
    alone = {"semantic_of": pa.scalar(None, pa.string()), "semantic_cluster": rows["clip_id"], "semantic_similarity": pa.scalar(1.0)}
    made = [pc.if_else(orphans, alone[name], rows[name]) if name in alone else rows[name] for name in rows.column_names]
    return pa.table(made, schema=rows.schema)


COPIES: dict[str, Callable[[pa.Table, str], pa.Table]] = {"duplicates": _with_new_best, "semantic": _dissolved}
"""Relations whose rows name clips of other sources, and what becomes of those that name an erased one."""


def _rewrite_shard(corpus: Corpus, name: str, shard: dict[str, Any], source_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Swap a shard for one without the source; its entry in the manifest and its index, or None where nothing is left of it."""
    path = corpus.path("shards", name, shard["shard"])
    kept = [clip for clip in shard["clips"] if source_of(clip) != source_id]
    if not kept:
        if corpus.filesystem.exists(path):
            corpus.filesystem.rm_file(path)
        return None
    file = io.BytesIO()
    hours = write_tar(file, (sample for sample in _samples(corpus, path) if source_of(sample.key) != source_id))
    overwrite(corpus.filesystem, path, file.getvalue())
    entry = {**shard, "clips": kept, "hours": hours, "bytes": len(file.getvalue()), "sha256": hashlib.sha256(file.getvalue()).hexdigest()}
    return entry, [{**member, "shard": shard["shard"]} for member in members_of(file)]


def _samples(corpus: Corpus, path: str) -> Iterator[Sample]:
    from webdataset.tariterators import group_by_keys, tar_file_iterator

    with corpus.filesystem.open(path, "rb") as file:
        yield from (decode(fields) for fields in group_by_keys({**member, "__url__": path} for member in tar_file_iterator(file)))


def _after(shard: dict[str, Any], fresh: tuple[dict[str, Any], Any] | None) -> tuple[str | None, int]:
    return (fresh[0]["sha256"], len(shard["clips"]) - len(fresh[0]["clips"])) if fresh else (None, len(shard["clips"]))


def _swap_manifest(corpus: Corpus, name: str, manifest: dict[str, Any], fresh: dict[str, tuple[dict[str, Any], list[dict[str, Any]]] | None]) -> None:
    """Write the manifest, and all that describes the set, as if the source had never been packed."""
    folder, recipe = corpus.path("shards", name), Recipe.model_validate(manifest["recipe"])
    after = {shard["shard"]: [shard] for shard in manifest["shards"]} | {name: [made[0]] if made else [] for name, made in fresh.items()}
    shards = [entry for shard in manifest["shards"] for entry in after[shard["shard"]]]
    counts = {"clips": sum(len(shard["clips"]) for shard in shards), "bytes": sum(shard["bytes"] for shard in shards)}
    with samples_of(corpus, name, recipe.conditioning) as (samples, told), IndexFile() as index:
        contents = told.contents(packing_digest(recipe.encoding))
        manifest = {**manifest, "shards": shards, "contents": contents, **counts, "hours": round(sum(shard["hours"] for shard in shards), 9)}
        packed = samples.filter(pc.is_in(samples["clip_id"], clips_of(manifest)))
        before = index_by_shard(corpus, folder)
        for shard in manifest["shards"]:
            made = fresh.get(shard["shard"])
            index.add(made[1] if made else next(rows for name, rows in before if name == shard["shard"]))
        manifest["files"] = describe_set(corpus, folder, manifest, packed, index)
    write_manifest(corpus.filesystem, folder, made_after(corpus, manifest))
