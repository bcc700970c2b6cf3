"""Trace: from a source, clip, shard or checkpoint both ways, to where it came from and where it went."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus, CorpusError, source_of
from curate.packing.manifest import read_manifest
from curate.storage.atomic import filesystem_of, names_in
from curate.storage.journal import newest_first, record
from curate.storage.relations import TRAININGS
from schemas.table import table_of

Kind = Literal["source", "clip", "shard", "checkpoint"]
LINEAGE = "lineage.json"
SHOWN = 20


@dataclass(frozen=True)
class Trace:
    """One thing and all that it is connected with.

    Attributes:
        kind: source, clip, shard or checkpoint.
        identity: its id; a shard's is SELECTION/FILE.
        sources: the sources it comes from, or itself: id to its row of `sources`.
        clips: the clips in it, or made from it.
        selections: selections that hold any of these clips, with how many.
        shards: shards that hold any of them, as SELECTION/FILE, with how many.
        checkpoints: checkpoints that were trained on any of them, with how many.
        copies: other sources that hold copies of these clips, with how many; found by `deduplicate`.
    """

    kind: Kind
    identity: str
    sources: Mapping[str, Mapping[str, Any]]
    clips: Sequence[str]
    selections: Mapping[str, int] = field(default_factory=dict)
    shards: Mapping[str, int] = field(default_factory=dict)
    checkpoints: Mapping[str, int] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For people: what it is, then upstream, then downstream."""
        told = [f"{self.kind} {self.identity}"]
        told += _listed("sources", (f"{name}  {row['uri']}  {row['license']}  {row['status']}" for name, row in sorted(self.sources.items())))
        told += _listed("clips", self.clips)
        for what, found in (("selections", self.selections), ("shards", self.shards), ("checkpoints", self.checkpoints)):
            told += _listed(what, (f"{name}  ({count} of these clips)" for name, count in sorted(found.items())))
        return told + _listed("sources with copies of these clips", (f"{name}  ({count} clips)" for name, count in sorted(self.copies.items())))


def trace(corpus: Corpus, kind: Kind, identity: str) -> Trace:
    """Follow something both ways.

    Args:
        identity: a source's or clip's id, SELECTION/shard-000000.tar, or a checkpoint's folder.

    Raises:
        CorpusError: the corpus knows nothing of it.
    """
    clips = {"source": clips_of_source, "clip": _known_clip, "shard": clips_of_shard, "checkpoint": clips_of_checkpoint}[kind](corpus, identity)
    wanted = {source_of(clip) for clip in clips} | ({identity} if kind == "source" else set())
    table = corpus.table("sources")
    sources = {row["source_id"]: row for row in table.filter(pc.is_in(table["source_id"], pa.array(sorted(wanted), pa.string()))).to_pylist()}
    if kind == "source" and not sources:
        raise CorpusError(f"{corpus.url}: there is no source `{identity}`; `clipmill export` writes a table of those there are")
    among = frozenset(clips)
    held = selections_with(corpus, among), shards_with(corpus, among), checkpoints_with(corpus, among)
    return Trace(kind, identity, sources, sorted(clips), *held, copies_of(corpus, among, frozenset(wanted)))


def clips_of_source(corpus: Corpus, source_id: str) -> list[str]:
    """Every clip of a source that is anywhere: in the tables, or only in shards packed and checkpoints trained before."""
    table = corpus.table("clips", columns=["clip_id", "source_id"])
    found = set(table.filter(pc.equal(table["source_id"], source_id))["clip_id"].to_pylist())
    for _, manifest in manifests(corpus):
        found.update(clip for shard in manifest["shards"] for clip in shard["clips"] if source_of(clip) == source_id)
    found.update(clip for row in corpus.read("trainings").to_pylist() for clip in row["clip_ids"] if source_of(clip) == source_id)
    return sorted(found)


def clips_of_shard(corpus: Corpus, identity: str) -> list[str]:
    """The clips in a shard, by its set's manifest."""
    name, _, file = identity.rpartition("/")
    for selection, manifest in manifests(corpus):
        for shard in manifest["shards"]:
            if (selection, shard["shard"]) == (name, file):
                return list(shard["clips"])
    there = ", ".join(f"{selection}/{shard['shard']}" for selection, manifest in manifests(corpus) for shard in manifest["shards"][:3])
    raise CorpusError(f"{corpus.url}: there is no shard `{identity}`; give SELECTION/FILE, such as {there or 'none: nothing was packed yet'}")


def clips_of_checkpoint(corpus: Corpus, folder: str) -> list[str]:
    """The clips a checkpoint was trained on, by its own word, or by the corpus's where the folder is gone."""
    lineage = read_lineage(folder)
    if lineage is not None:
        return list(lineage["shards"]["clips"])
    for row in corpus.read("trainings").to_pylist():
        if row["checkpoint"] == folder:
            return list(row["clip_ids"])
    raise CorpusError(f"{folder}: no checkpoint (no {LINEAGE} in it), and the corpus knows of none trained there")


def read_lineage(folder: str) -> dict[str, Any] | None:
    """What a checkpoint says it was trained on; None where the folder holds none."""
    filesystem, path = filesystem_of(folder)
    for place in (f"{path}/{LINEAGE}", f"{path}/cascade/{LINEAGE}"):
        if filesystem.exists(place):
            return json.loads(filesystem.cat_file(place))
    return None


def note_training(shards: str, checkpoint: str) -> bool:
    """Let the corpus that shards lie in remember, once, what was trained on them; False where they lie in none.

    Args:
        shards: the folder of a packed selection.
        checkpoint: the trained cascade's folder.
    """
    root, _, selection = shards.rstrip("/").rpartition("/shards/")
    lineage = read_lineage(checkpoint)
    if not root or lineage is None:
        return False
    corpus = Corpus(root)
    if not corpus.filesystem.exists(corpus.path("corpus.toml")):
        return False
    told, run = lineage["shards"], lineage["run"]["name"]
    remember(corpus, {"checkpoint": checkpoint, "run": run, "selection": selection, "manifest_sha256": told.get("manifest_sha256"), "clip_ids": told["clips"]})
    return True


def remember(corpus: Corpus, row: Mapping[str, Any]) -> None:
    """Note, once, that something outside the corpus learned from its clips: a row of TRAININGS, and an entry of the journal."""
    same = ("checkpoint", "selection", "manifest_sha256")
    corpus.append("trainings", table_of([dict(row)], TRAININGS), key=hashlib.sha256(repr([row[name] for name in same]).encode()).hexdigest())
    if not any(entry.verb == "train" and all(entry.facts[name] == row[name] for name in same) for entry in newest_first(corpus)):
        record(corpus, "train", {name: row[name] for name in (*same, "run")})


def manifests(corpus: Corpus) -> list[tuple[str, dict[str, Any]]]:
    """Every packed set: its selection's name and its manifest."""
    found = ((name, read_manifest(corpus.filesystem, corpus.path("shards", name))) for name in names_in(corpus.filesystem, corpus.path("shards")))
    return [(name, manifest) for name, manifest in found if manifest is not None]


def selections_with(corpus: Corpus, clips: frozenset[str]) -> dict[str, int]:
    """Selections that hold some of the clips, with how many."""
    counts = {}
    for name in corpus.names("selections/"):
        kept = corpus.read(name, ["clip_id"])["clip_id"]
        counts[name.removeprefix("selections/")] = pc.sum(pc.is_in(kept, pa.array(sorted(clips), pa.string()))).as_py() or 0
    return {name: count for name, count in counts.items() if count}


def shards_with(corpus: Corpus, clips: frozenset[str]) -> dict[str, int]:
    """Shards that hold some of the clips, as SELECTION/FILE, with how many."""
    counts = {f"{name}/{shard['shard']}": len(clips.intersection(shard["clips"])) for name, manifest in manifests(corpus) for shard in manifest["shards"]}
    return {name: count for name, count in counts.items() if count}


def checkpoints_with(corpus: Corpus, clips: frozenset[str]) -> dict[str, int]:
    """Checkpoints that were trained on some of the clips, with how many."""
    counts: Counter[str] = Counter()
    for row in corpus.read("trainings").to_pylist():
        counts[row["checkpoint"]] = max(counts[row["checkpoint"]], len(clips.intersection(row["clip_ids"])))
    return {name: count for name, count in counts.items() if count}


def copies_of(corpus: Corpus, clips: frozenset[str], besides: frozenset[str]) -> dict[str, int]:
    """Sources that hold clips of the same clusters of duplicates, with how many; `besides` those that are known."""
    own = pa.array(sorted(clips), pa.string())
    mine = [rows.filter(pc.is_in(rows["clip_id"], own))["duplicate_cluster"] for rows in corpus.batches("duplicates", ["clip_id", "duplicate_cluster"])]
    clusters = pa.array(sorted({cluster for column in mine for cluster in column.to_pylist() if cluster}), pa.string())
    counts: Counter[str] = Counter()
    for rows in corpus.batches("duplicates", ["clip_id", "duplicate_cluster"]) if len(clusters) else ():
        counts.update(map(source_of, rows.filter(pc.is_in(rows["duplicate_cluster"], clusters))["clip_id"].to_pylist()))
    return {name: count for name, count in counts.items() if name not in besides}


def _known_clip(corpus: Corpus, clip_id: str) -> list[str]:
    if clip_id in clips_of_source(corpus, source_of(clip_id)):
        return [clip_id]
    raise CorpusError(f"{corpus.url}: there is no clip `{clip_id}`; `clipmill export` writes a table of those there are")


def _listed(what: str, items: Iterable[str]) -> list[str]:
    told = list(items)
    more = [f"    … and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
    return [f"  {what}: {len(told)}", *(f"    {line}" for line in told[:SHOWN]), *more]
