"""Manifest: what a set of shards holds, where, made by what; it is written last, so where it is, the set is whole."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from fsspec import AbstractFileSystem

from curate.corpus import Corpus
from curate.storage import journal
from curate.storage.atomic import digest_of, put_file
from curate.storage.commits import StoreError
from schemas.recipe import Recipe

MANIFEST = "MANIFEST"
FORMAT = 1
NEEDED = frozenset({"name", "contents", "recipe", "journal_head", "clips", "hours", "bytes", "shards", "failed"})
"""What no manifest may leave unsaid."""


def make_manifest(
    corpus: Corpus, recipe: Recipe, name: str, contents: str, encoding: str, shards: Sequence[Mapping[str, Any]], failed: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """The manifest as JSON values.

    Args:
        corpus: where the clips come from.
        recipe: what chose them.
        name: of the set.
        contents: digest of every sample's facts, caption and encoding, in order.
        encoding: digest of how clips are encoded: sets of one encoding hold the same bytes of a clip.
        shards: name, kind, bucket, bytes, sha256, hours and clips of each.
        failed: clips that could not be packed, with the reason.
    """
    makers, done_to_proxies = corpus.makers(), corpus.settings().get("scorers", {})
    manifest = {
        "format": FORMAT,
        "name": name,
        "contents": contents,
        "recipe": recipe.model_dump(mode="json"),
        "scorers": dict(sorted(makers.items())),
        "preprocessing": {maker: done_to_proxies[maker] for maker in sorted(set(makers.values())) if maker in done_to_proxies},
        "encoding": encoding,
        "clips": sum(len(shard["clips"]) for shard in shards),
        "hours": round(sum(shard["hours"] for shard in shards), 9),
        "bytes": sum(shard["bytes"] for shard in shards),
        "shards": list(shards),
        "failed": [{"clip_id": clip_id, "reason": reason} for clip_id, reason in failed],
    }
    return made_after(corpus, manifest)


def made_after(corpus: Corpus, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest as one that is written now: it names the head of the journal, whose next word of the set is of this one."""
    last = journal.head(corpus)
    return {**manifest, "journal_head": last.digest if last else None}


def told_of(corpus: Corpus, manifest: Mapping[str, Any]) -> str | None:
    """The digest of a set's manifest by the journal's last word of it; None where it has none since the manifest was written."""
    for entry in journal.newest_first(corpus):
        if entry.digest == manifest["journal_head"]:
            return None
        if entry.verb == "pack" and entry.facts["name"] == manifest["name"]:
            return entry.facts.get("manifest", "")
        if entry.verb == "takedown" and manifest["name"] in entry.facts.get("manifests", {}):
            return entry.facts["manifests"][manifest["name"]]
    return None


def manifest_digest(filesystem: AbstractFileSystem, folder: str) -> str:
    """The digest of a manifest's bytes as they lie there."""
    return digest_of(filesystem, f"{folder}/{MANIFEST}")


def write_manifest(filesystem: AbstractFileSystem, folder: str, manifest: Mapping[str, Any]) -> None:
    """Write it in one step; it names every clip, so it is made a piece at a time."""
    with tempfile.TemporaryFile(prefix="clipmill-manifest-") as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        text.writelines(json.JSONEncoder(indent=1, ensure_ascii=False, sort_keys=True).iterencode(manifest))
        text.flush()
        put_file(file, filesystem, f"{folder}/{MANIFEST}")
        text.detach()


def read_manifest(filesystem: AbstractFileSystem, folder: str) -> dict[str, Any] | None:
    """The manifest of a folder of shards, or None where there is none.

    Raises:
        StoreError: it is damaged.
    """
    try:
        manifest = json.loads(filesystem.cat_file(f"{folder}/{MANIFEST}"))
        if not isinstance(manifest, dict) or not NEEDED <= manifest.keys():
            raise ValueError(f"it does not tell {', '.join(sorted(NEEDED - set(manifest)))}")
        return {"files": {}, **manifest}
    except FileNotFoundError:
        return None
    except ValueError as error:
        advice = "restore it from a copy, or remove it and run `clipmill pack` again, which encodes its clips anew"
        raise StoreError(f"{folder}/{MANIFEST}: is damaged ({error}); {advice}") from None


def whole(filesystem: AbstractFileSystem, folder: str, manifest: Mapping[str, Any]) -> bool:
    """Whether every shard that the manifest names is there, of its size."""
    sizes = {path.rsplit("/", 1)[-1]: told["size"] for path, told in filesystem.find(folder, maxdepth=1, detail=True).items()}
    return all(sizes.get(shard["shard"]) == shard["bytes"] for shard in manifest["shards"])
