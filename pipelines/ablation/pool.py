"""The pool: every clip that any arm or the evaluation needs, cut and encoded once; what each trial trains on is drawn from it."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from curate.corpus import Corpus
from curate.engine import Engine
from curate.pack import PackReport, pack
from curate.packing.manifest import MANIFEST, manifest_digest
from curate.packing.shards import write_tar
from curate.select import select
from curate.storage.atomic import filesystem_of, overwrite
from pipelines.ablation.held_out import Holdings
from pipelines.ablation.pieces import Facts, Piece, Pieces, digest_of
from pipelines.ablation.plan import Plan
from pipelines.progress import Listener
from schemas.document import DocumentError
from schemas.recipe import Duplicates, Recipe
from schemas.sample import Sample
from train.shards import Shards

INDEX = "index.json"


@dataclass(frozen=True)
class Pooled:
    """What is known of one clip of the pool without opening it again.

    Attributes:
        digest: of its picture bytes.
        caption: the one it was packed with.
        captions: captioner (without version) to its text.
        seconds: its length; 0 for an image.
        is_image: whether it is a still.
    """

    digest: str
    caption: str
    captions: dict[str, str]
    seconds: float
    is_image: bool


class Pool:
    """Packed shards with an index of what is in them; `name` is their selection's, `manifest` the digest of what describes them."""

    def __init__(self, url: str, index: dict[str, Pooled], name: str = "", manifest: str = "") -> None:
        self.url, self.index, self.name, self.manifest = url, index, name, manifest

    @cached_property
    def _shards(self) -> Shards:
        return Shards(self.url)

    @cached_property
    def _entries(self) -> dict[str, Any]:
        return {entry.key: entry for entry in self._shards.entries}

    def read(self, key: str) -> Sample:
        return self._shards.read(self._entries[key])


def make_pool(corpus: Corpus, plan: Plan, holdings: Holdings, pieces: Pieces, run: Engine, listener: Listener) -> Pool:
    """Cut and encode what the plan needs, or find it as it was packed before.

    Raises:
        DocumentError: a clip that the plan counts on cannot be packed at all.
    """
    recipe, without = pool_recipe(plan, holdings)
    select(corpus, recipe, name=recipe.name, without=without, on=holdings.on)
    packed = pack(corpus, recipe, name=recipe.name, run=run, listener=listener, on=holdings.on)
    if packed.clips == 0:
        raise DocumentError(f"experiment `{plan.experiment.name}`: none of its clips could be packed; {_first_failure(packed)}")
    manifest = manifest_digest(corpus.filesystem, corpus.path("shards", recipe.name))
    index = pieces.make("pool", {"manifest": manifest}, lambda folder: _index(Shards(packed.folder), folder, listener))
    rows = json.loads((index.folder / INDEX).read_text(encoding="utf-8"))
    return Pool(packed.folder, {key: Pooled(**row) for key, row in rows.items()}, recipe.name, manifest)


def pool_recipe(plan: Plan, holdings: Holdings) -> tuple[Recipe, frozenset[str]]:
    """A recipe of everything, and the clusters that nobody needs."""
    cluster_of = holdings.cluster_of
    needed = {cluster_of[clip] for arm in plan.arms for clip in arm.kept} | {cluster_of[clip] for clip in plan.held_out.clips}
    encoding = plan.arms[0].entrant.recipe.encoding
    recipe = Recipe(name=f"ablation-{plan.experiment.name}"[:64], description="All clips of an ablation", duplicates=Duplicates(keep="all"), encoding=encoding)
    return recipe, frozenset(cluster_of.values()) - needed


def _first_failure(packed: PackReport) -> str:
    return f"{packed.failed[0][0]}: {packed.failed[0][1]}" if packed.failed else "its clips are gone"


def _index(shards: Shards, folder: Path, listener: Listener) -> Facts:
    rows = {}
    for number, entry in enumerate(shards.entries):
        rows[entry.key] = asdict(_pooled(shards.read(entry)))
        listener("index clips", number + 1, len(shards.entries))
    (folder / INDEX).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return {"clips": len(rows)}


def _pooled(sample: Sample) -> Pooled:
    media = sample.video if sample.video is not None else sample.image or b""
    told = {row["captioner"].split("@")[0]: row["text"] for row in reversed(sample.facts.get("captions", []))}
    seconds = sample.facts["encoded"]["duration_s"]
    return Pooled(hashlib.sha256(media).hexdigest(), sample.caption, told, seconds, sample.video is None)


def write_shards(samples: Iterable[Sample], folder: Path, name: str, contents: str) -> Facts:
    """Write samples as one shard with a manifest that says what is in it."""
    shard = "shard-000000.tar"
    with (folder / shard).open("wb") as file:
        clips: list[str] = []
        hours = write_tar(file, _noted(samples, clips))
        size = file.tell()
    document = {"format": 1, "name": name, "contents": contents, "clips": len(clips), "hours": hours, "bytes": size, "failed": []}
    document["shards"] = [{"shard": shard, "kind": "video", "bucket": None, "bytes": size, "hours": hours, "clips": clips}]
    filesystem, where = filesystem_of(str(folder / MANIFEST))
    overwrite(filesystem, where, json.dumps(document, indent=1, sort_keys=True).encode())
    return {"clips": len(clips), "hours": hours}


def _noted(samples: Iterable[Sample], clips: list[str]) -> Iterable[Sample]:
    for sample in samples:
        clips.append(sample.key)
        yield sample


def held_out_shards(pool: Pool, keys: Sequence[str], pieces: Pieces) -> Piece:
    """The held-out clips, as shards of their own."""
    there = [key for key in keys if key in pool.index]
    content = [[key, pool.index[key].digest, pool.index[key].caption] for key in there]
    return pieces.make("held-out", {"clips": content}, lambda folder: write_shards((pool.read(key) for key in there), folder, "held-out", digest_of(content)))
