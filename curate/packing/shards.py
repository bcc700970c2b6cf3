"""Shards: pieces and facts into tar files, the same bytes for the same samples."""

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar

import pyarrow as pa

from curate.packing.index import INDEX
from curate.packing.pieces import Piece
from curate.stage import Resources, Stage
from curate.storage.atomic import filesystem_of, put_file
from schemas.sample import VIDEO_SUFFIX, Sample, encode

OWNER = "clipmill"
SHARD = pa.schema(
    [
        ("shard", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("hours", pa.float64()),
        ("members", pa.list_(pa.struct([field for field in INDEX if field.name != "shard"]))),
    ]
)


KINDS = ("video", "video-audio", "image")
"""What samples of a shard hold, in the order of shards; `video-audio` has the sound apart."""


@dataclass(frozen=True)
class Plan:
    """One shard to write: its file name, its kind (one of KINDS), its bucket, and its clips in order."""

    shard: str
    kind: str
    bucket: str | None
    clips: tuple[str, ...]


def plan_shards(clips: Iterable[Mapping[str, Any]], shard_bytes: float) -> list[Plan]:
    """Divide clips among shards by bytes, in their order; kinds and buckets are not mixed, so that every sample of a shard has the same files.

    Args:
        clips: `clip_id`, `kind`, `bucket` (None where buckets are not asked for) and `bytes`, in packing order.
        shard_bytes: a shard that has reached so many is closed.
    """
    closed: dict[tuple[str, str | None], list[tuple[str, ...]]] = {}
    open_: dict[tuple[str, str | None], tuple[list[str], float]] = {}
    for clip in clips:
        group = clip["kind"], clip["bucket"]
        held, size = open_.get(group, ([], 0.0))
        held.append(clip["clip_id"])
        open_[group] = held, size + clip["bytes"]
        if size + clip["bytes"] >= shard_bytes:
            closed.setdefault(group, []).append(tuple(held))
            del open_[group]
    for group, (held, _) in open_.items():
        closed.setdefault(group, []).append(tuple(held))
    in_order = [(group, held) for group in sorted(closed, key=lambda group: (KINDS.index(group[0]), group[1] or "")) for held in closed[group]]
    return [Plan(f"shard-{number:06d}.tar", kind, bucket, held) for number, ((kind, bucket), held) in enumerate(in_order)]


class WriteShards(Stage):
    """Write each planned shard from the pieces below `pieces` into `folder`, whole or not at all."""

    reads: ClassVar[frozenset[str]] = frozenset({"shard", "clip_ids", "captions", "facts"})
    writes: ClassVar[frozenset[str]] = frozenset(SHARD.names)
    resources = Resources(cpus=0.5, memory_gb=1.0)
    batch_rows = 1

    def __init__(self, pieces: str, folder: str) -> None:
        self.pieces, self.folder = pieces, folder

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        for row in rows.to_pylist():
            with tempfile.TemporaryFile(prefix="clipmill-shard-") as file:
                hours = write_tar(file, self._samples(row))
                told = {"shard": row["shard"], "bytes": file.tell(), "hours": hours}
                members = list(members_of(file))
                file.seek(0)
                told["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
                put_file(file, *filesystem_of(f"{self.folder}/{row['shard']}"))
            yield pa.Table.from_pylist([{**told, "members": members}], schema=SHARD)

    def _samples(self, row: Mapping[str, Any]) -> Iterator[Sample]:
        filesystem, root = filesystem_of(self.pieces)
        for clip_id, caption, facts in zip(row["clip_ids"], row["captions"], row["facts"]):
            piece = Piece.load(filesystem, root, clip_id)
            told = {**json.loads(facts), "encoded": piece.facts}
            video, image = (piece.data, None) if piece.suffix == VIDEO_SUFFIX else (None, piece.data)
            yield Sample(clip_id, caption, told, video, image, audio=piece.sound)


def write_tar(file: IO[bytes], samples: Iterable[Sample]) -> float:
    """Write samples as a tar that names no time, person or machine; the hours of video in it."""
    import webdataset

    seconds = 0.0
    with webdataset.TarWriter(file, user=OWNER, group=OWNER, mode=0o444, mtime=0, encoder=False) as writer:
        for sample in samples:
            writer.write(encode(sample))
            seconds += sample.facts["encoded"]["duration_s"]
    return seconds / 3600


def members_of(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Where each file of each sample lies in a tar: clip_id, suffix, offset and bytes."""
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            clip_id, suffix = member.name.split(".", 1)
            yield {"clip_id": clip_id, "suffix": suffix, "offset": member.offset_data, "bytes": member.size}
