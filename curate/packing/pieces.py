"""Pieces: encoded clips as files of their own, on their way into shards; and those that earlier shards hold already."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from curate.corpus import Corpus
from curate.packing.croissant import INDEX_FILE
from curate.packing.manifest import read_manifest
from curate.storage.atomic import names_in, overwrite
from schemas.sample import AUDIO_SUFFIX

SIZES = pa.schema([("clip_id", pa.string()), ("bytes", pa.int64()), ("sound", pa.bool_())])


@dataclass(frozen=True)
class Piece:
    """One encoded clip.

    Attributes:
        suffix: `mp4` or `jpg`.
        data: the file's bytes.
        facts: frames, width, height, fps and duration_s of what was encoded; of its sound, where that is apart, rate, channels and samples.
        sound: a FLAC file, where its sound is apart.
    """

    suffix: str
    data: bytes
    facts: dict[str, Any]
    sound: bytes | None = None

    def store(self, filesystem: AbstractFileSystem, folder: str, clip_id: str) -> int:
        """Write it below a folder; how many bytes the clip takes. Its sound is a file of its own, written first: where a piece is, it is whole."""
        stored = self.to_bytes()
        if self.sound is not None:
            overwrite(filesystem, f"{piece_path(folder, clip_id)}.{AUDIO_SUFFIX}", self.sound)
        overwrite(filesystem, piece_path(folder, clip_id), stored)
        return len(stored) + len(self.sound or b"")

    @classmethod
    def load(cls, filesystem: AbstractFileSystem, folder: str, clip_id: str) -> "Piece":
        """Read it back."""
        piece = cls.from_bytes(filesystem.cat_file(piece_path(folder, clip_id)))
        sound = filesystem.cat_file(f"{piece_path(folder, clip_id)}.{AUDIO_SUFFIX}") if "sound" in piece.facts else None
        return replace(piece, sound=sound)

    def to_bytes(self) -> bytes:
        """One line of JSON, then the data."""
        return json.dumps({"suffix": self.suffix, "facts": self.facts}, sort_keys=True).encode() + b"\n" + self.data

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Piece":
        head, data = stored.split(b"\n", 1)
        told = json.loads(head)
        return cls(told["suffix"], data, told["facts"])


def piece_path(folder: str, clip_id: str) -> str:
    """Where a clip's piece lies below a folder: in one of sixteen, so that what there is can be listed a sixteenth at a time."""
    return f"{folder}/{hashlib.sha256(clip_id.encode()).hexdigest()[0]}/{clip_id}"


def sizes_of(filesystem: AbstractFileSystem, folder: str) -> pa.Table:
    """The pieces there are below a folder: clip_id, bytes, and whether sound lies beside it."""
    found = [SIZES.empty_table()]
    for part in names_in(filesystem, folder):
        told = {path.rsplit("/", 1)[-1]: entry["size"] for path, entry in filesystem.find(f"{folder}/{part}", maxdepth=1, detail=True).items()}
        sounds = {name.removesuffix(f".{AUDIO_SUFFIX}"): told[name] for name in told if name.endswith(f".{AUDIO_SUFFIX}")}
        whole = [name for name in told if "." not in name]
        rows = [{"clip_id": name, "bytes": told[name] + sounds.get(name, 0), "sound": name in sounds} for name in whole]
        found.append(pa.Table.from_pylist(rows, schema=SIZES))
    return pa.concat_tables(found)


def take_from_shards(corpus: Corpus, folder: str, clip_ids: Sequence[str], encoding: str, besides: str) -> pa.Table:
    """Copy clips that other sets of the corpus hold in the same encoding into `folder`, as pieces; which were (schema SIZES).

    Args:
        corpus: whose shards to look through.
        folder: where pieces lie, on its filesystem.
        clip_ids: what is wanted.
        encoding: digest of the encoding, as manifests tell it.
        besides: a set not to look in.
    """
    wanted, taken = set(clip_ids), []
    for name in names_in(corpus.filesystem, corpus.path("shards")):
        root = corpus.path("shards", name)
        manifest = read_manifest(corpus.filesystem, root) if wanted and name != besides else None
        if manifest is None or manifest.get("encoding") != encoding:
            continue
        for clip_id, piece in _pieces_in(corpus, root, wanted):
            taken.append({"clip_id": clip_id, "bytes": piece.store(corpus.filesystem, folder, clip_id), "sound": piece.sound is not None})
            wanted.discard(clip_id)
    return pa.Table.from_pylist(taken, schema=SIZES)


def _pieces_in(corpus: Corpus, root: str, wanted: set[str]) -> Iterator[tuple[str, Piece]]:
    """Clips of a set of shards, read where its index says that they lie."""
    index = pq.read_table(io.BytesIO(corpus.filesystem.cat_file(f"{root}/{INDEX_FILE}")))
    index = index.filter(pc.is_in(index["clip_id"], pa.array(sorted(wanted), pa.string()))).sort_by([("shard", "ascending"), ("offset", "ascending")])
    files: dict[str, dict[str, dict[str, Any]]] = {}
    for row in index.to_pylist():
        files.setdefault(row["clip_id"], {})[row["suffix"]] = row
    for clip_id, own in files.items():
        suffix = next((suffix for suffix in ("mp4", "jpg") if suffix in own), None)
        if suffix is not None:
            facts = json.loads(_file(corpus, root, own["json"]))["encoded"]
            sound = _file(corpus, root, own[AUDIO_SUFFIX]) if "sound" in facts else None
            yield clip_id, Piece(suffix, _file(corpus, root, own[suffix]), facts, sound)


def _file(corpus: Corpus, root: str, row: dict[str, Any]) -> bytes:
    return corpus.filesystem.cat_file(f"{root}/{row['shard']}", start=row["offset"], end=row["offset"] + row["bytes"])
