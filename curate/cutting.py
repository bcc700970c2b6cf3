"""Cutting: the stage that encodes selected clips; each becomes one finished file of its own, so that nothing is encoded twice."""

import contextlib
import hashlib
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curate.atomic import filesystem_of, overwrite
from curate.encode import encoded_size
from curate.read import local_copy
from curate.stage import Resources, Stage
from curate.video import MediaError, cut, decode
from schemas.recipe import Encoding

JPEG_QUALITY = 95
CUT = pa.schema([("clip_id", pa.string()), ("bytes", pa.int64()), ("problem", pa.string())])
ENCODER = "x264@1"
"""Who encodes, and its version: to be raised when the same settings give other bytes."""


def encoding_digest(encoding: Encoding) -> str:
    """A digest of all that shapes an encoded clip; shards' sizes do not."""
    told = encoding.model_dump(mode="json", exclude={"shard_mb", "buckets"})
    return hashlib.sha256(json.dumps([ENCODER, told], sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Piece:
    """One encoded clip.

    Attributes:
        suffix: `mp4` or `jpg`.
        data: the file's bytes.
        facts: frames, width, height, fps and duration_s of what was encoded.
    """

    suffix: str
    data: bytes
    facts: dict[str, Any]

    def to_bytes(self) -> bytes:
        """One line of JSON, then the data."""
        return json.dumps({"suffix": self.suffix, "facts": self.facts}, sort_keys=True).encode() + b"\n" + self.data

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Piece":
        head, data = stored.split(b"\n", 1)
        told = json.loads(head)
        return cls(told["suffix"], data, told["facts"])


class CutClips(Stage):
    """Encode clips and write each as a piece below `folder`; a clip that fails is told, and stops no other."""

    reads: ClassVar[frozenset[str]] = frozenset({"clip_id", "source_id", "uri", "media_type", "start_frame", "end_frame"})
    writes: ClassVar[frozenset[str]] = frozenset(CUT.names)
    resources: ClassVar[Resources] = Resources(cpus=1, memory_gb=1.5)
    batch_rows = 16

    def __init__(self, folder: str, encoding: Encoding) -> None:
        self.folder, self.encoding = folder, encoding

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        filesystem, root = filesystem_of(self.folder)
        for uri, mine in itertools.groupby(rows.to_pylist(), key=lambda row: row["uri"]):
            done = []
            for row, piece in self._pieces(uri, list(mine)):
                stored = piece.to_bytes() if isinstance(piece, Piece) else b""
                if stored:
                    overwrite(filesystem, f"{root}/{row['clip_id']}", stored)
                done.append({"clip_id": row["clip_id"], "bytes": len(stored), "problem": None if stored else piece})
            yield pa.Table.from_pylist(done, schema=CUT)

    def _pieces(self, uri: str, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Piece | str]]:
        """Each clip of one source, or why it could not be cut."""
        with tempfile.TemporaryDirectory(prefix="clipmill-source-") as folder, contextlib.ExitStack() as stack:
            try:
                path = stack.enter_context(local_copy(uri, Path(folder)))
            except (MediaError, OSError) as error:
                yield from ((row, _plain(error)) for row in rows)
                return
            for row in rows:
                try:
                    yield row, self._piece(path, row)
                except (MediaError, OSError) as error:
                    yield row, _plain(error)

    def _piece(self, path: str, row: dict[str, Any]) -> Piece:
        if row["media_type"] == "image":
            return still(path, self.encoding.height)
        made = cut(path, row["start_frame"], row["end_frame"], self.encoding.height, self.encoding.fps, self.encoding.crf)
        return Piece("mp4", made.data, {name: value for name, value in asdict(made).items() if name != "data"})


def still(path: str, shorter_side: int | None) -> Piece:
    """An image upright as a JPEG, without the metadata of the original (which may tell where it was taken).

    Raises:
        MediaError: it does not decode.
    """
    frames = next(iter(decode(path, end_frame=1)), None)
    if frames is None:
        raise MediaError("no picture decodes")
    picture = frames.pictures[0]
    width, height = encoded_size(picture.shape[1], picture.shape[0], shorter_side)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) if (width, height) != picture.shape[1::-1] else picture
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Piece("jpg", data.tobytes(), {"frames": 1, "width": width, "height": height, "fps": None, "duration_s": 0.0})


def _plain(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
