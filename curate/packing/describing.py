"""Describing: what lies beside the shards of a set and tells of them: index, card, attributions and Croissant."""

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from fsspec import AbstractFileSystem

from curate.corpus import Corpus
from curate.packing.card import attribution, card, describe, licensed
from curate.packing.croissant import INDEX_FILE, croissant
from curate.packing.index import IndexFile
from curate.packing.shards import members_of
from curate.storage.atomic import digest_of, overwrite

TO_DESCRIBE = ["source_id", "license", "hours"]
BESIDE = (INDEX_FILE, "README.md", "ATTRIBUTION", "croissant.json")


def describe_set(corpus: Corpus, folder: str, manifest: dict[str, Any], packed: pa.Table, index: IndexFile) -> dict[str, str]:
    """Write the index, the card, the attributions and the machine-readable description; the digest of each, for the manifest.

    Args:
        packed: the samples in the set (columns TO_DESCRIBE).
        index: where each of their files lies.
    """
    told, sha256 = licensed(packed), index.store(corpus, folder)
    sources = corpus.table("sources", columns=["source_id", "title", "rights_holder", "license", "attribution"])
    shown = sources.filter(pc.is_in(sources["source_id"], pc.unique(packed["source_id"].cast(pa.string()))))
    described = croissant(manifest, [one.license for one in told], sha256, describe(manifest))
    files = {
        "README.md": card(manifest, told, corpus.read(f"funnels/{manifest['name']}").to_pylist()).encode(),
        "ATTRIBUTION": attribution(row for batch in shown.to_batches(max_chunksize=4096) for row in batch.to_pylist()).encode(),
        "croissant.json": described.encode(),
    }
    for name, data in files.items():
        overwrite(corpus.filesystem, f"{folder}/{name}", data)
    return {INDEX_FILE: sha256, **{name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}


def describe_again(corpus: Corpus, folder: str, manifest: dict[str, Any], samples: pa.Table) -> dict[str, str]:
    """As `describe_set`, of shards that lie there: where each file lies is read from them."""
    with IndexFile() as index:
        for shard in manifest["shards"]:
            with corpus.filesystem.open(f"{folder}/{shard['shard']}", "rb") as file:
                index.add([{**member, "shard": shard["shard"]} for member in members_of(file)])
        return describe_set(corpus, folder, manifest, samples.filter(pc.is_in(samples["clip_id"], clips_of(manifest))), index)


def changed(filesystem: AbstractFileSystem, folder: str, manifest: dict[str, Any]) -> list[str]:
    """The files beside the shards that are not, or no longer, what the manifest says."""
    there = {name: digest_of(filesystem, f"{folder}/{name}") for name in BESIDE if filesystem.exists(f"{folder}/{name}")}
    return [name for name in BESIDE if there.get(name) != manifest["files"].get(name)]


def clips_of(manifest: dict[str, Any]) -> pa.Array:
    """The clips that a manifest names, in packing order."""
    return pa.chunked_array([pa.array(shard["clips"], pa.string()) for shard in manifest["shards"]], pa.string()).combine_chunks()
