"""Cutting: the stage that encodes selected clips; each becomes one finished file of its own, so that nothing is encoded twice."""

import hashlib
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import cv2
import numpy as np
import pyarrow as pa

from curate.corpus import open_corpus
from curate.footage.locations import local_copy
from curate.media.encode import encode, encoded_size
from curate.media.frames import Frames
from curate.media.passes import Pass, passes
from curate.media.remux import Indexed, copied, with_sound
from curate.media.sound import flac, sound_of
from curate.packing.pieces import SIZES, Piece
from curate.packing.recognise import Recognition
from curate.stage import Resources, Stage
from curate.storage.atomic import filesystem_of
from curate.video import MediaError, decode
from schemas.recipe import Encoding

JPEG_QUALITY = 95
JOB_S = 600.0
"""Seconds of clips that one job cuts: enough to repay decoding what comes before them."""
CLIP = pa.struct(
    [("clip_id", pa.string()), ("start_frame", pa.int64()), ("end_frame", pa.int64()), ("start_s", pa.float64()), ("end_s", pa.float64()),
     ("fps", pa.float64()), ("keyframe", pa.int64())]
)  # fmt: skip
JOB = pa.schema([("source_id", pa.string()), ("uri", pa.string()), ("media_type", pa.string()), ("clips", pa.list_(CLIP))])
CUT = pa.schema([*SIZES, ("problem", pa.string())])
ENCODER, SOUND_KEPT, COPIER = "x264@2", "aac@2", "copy@3"
"""Who encodes pictures and the sound beside them, who copies, and their versions: to be raised when the same settings give other bytes."""
Made = TypeVar("Made")


def encoding_digest(encoding: Encoding) -> str:
    """A digest of all that shapes an encoded clip; shards' sizes do not."""
    told = encoding.model_dump(mode="json", exclude={"shard_mb", "buckets"})
    makers = [ENCODER, *([SOUND_KEPT] if encoding.audio == "keep" else []), *([COPIER] if encoding.mode == "copy" else [])]
    return hashlib.sha256(json.dumps([*makers, told], sort_keys=True).encode()).hexdigest()[:16]


def jobs_of(samples: pa.Table) -> pa.Table:
    """Clips (source_id, uri, media_type and the fields of CLIP) as jobs of one source and about JOB_S seconds each (schema JOB)."""
    rows = sorted(samples.select([*JOB.names[:-1], *(field.name for field in CLIP)]).to_pylist(), key=lambda row: (row["source_id"], row["start_frame"]))
    jobs = []
    for _, group in itertools.groupby(rows, key=lambda row: row["source_id"]):
        held_s = JOB_S
        for row in group:
            if held_s >= JOB_S:
                jobs.append({**{name: row[name] for name in ("source_id", "uri", "media_type")}, "clips": []})
                held_s = 0.0
            jobs[-1]["clips"].append({field.name: row[field.name] for field in CLIP})
            held_s += row["end_s"] - row["start_s"]
    return pa.Table.from_pylist(jobs, schema=JOB)


class CutClips(Stage):
    """Encode clips and write each as a piece below `folder`; a clip that fails is told, and stops no other."""

    reads: ClassVar[frozenset[str]] = frozenset(JOB.names)
    writes: ClassVar[frozenset[str]] = frozenset(CUT.names)
    resources = Resources(cpus=1, memory_gb=1.5, isolated=True)
    batch_rows = 1

    def __init__(self, corpus_url: str, folder: str, encoding: Encoding) -> None:
        self.corpus_url, self.folder, self.encoding = corpus_url, folder, encoding

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        filesystem, root = filesystem_of(self.folder)
        for job in rows.to_pylist():
            for clip, piece in self._pieces(job):
                told = {"bytes": piece.store(filesystem, root, clip["clip_id"]), "sound": piece.sound is not None} if isinstance(piece, Piece) else {}
                yield pa.Table.from_pylist([{"clip_id": clip["clip_id"], "problem": piece if isinstance(piece, str) else None, **told}], schema=CUT)

    def lost(self, rows: pa.Table, reason: str) -> Iterator[pa.Table]:
        for job in rows.to_pylist():
            yield pa.Table.from_pylist([{"clip_id": clip["clip_id"], "problem": reason} for clip in job["clips"]], schema=CUT)

    def _pieces(self, job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Piece | str]]:
        """Each clip of a job, or why it could not be cut."""
        clips = job["clips"]
        known = Recognition.of(open_corpus(self.corpus_url), [clip["clip_id"] for clip in clips])
        with tempfile.TemporaryDirectory(prefix="clipmill-source-") as folder:
            try:
                with local_copy(job["uri"], Path(folder)) as path:
                    if job["media_type"] == "image":
                        yield from ((clip, _attempt(lambda: still(path, self.encoding.height))) for clip in clips)
                        return
                    if self.encoding.mode == "copy":
                        yield from self._copied(path, clips, known)
                        return
                    for group in passes([(clip["start_frame"], clip["end_frame"]) for clip in clips]):
                        yield from self._cut(path, [clips[i] for i in group], known)
            except OSError as error:
                yield from ((clip, f"the source cannot be read: {error.strerror or error}") for clip in clips)

    def _cut(self, path: str, clips: Sequence[dict[str, Any]], known: Recognition) -> Iterator[tuple[dict[str, Any], Piece | str]]:
        """Clips that lie one after the other, out of one pass."""
        source = Pass(path, clips[0]["start_frame"], clips[-1]["end_frame"])
        for clip in clips:
            yield clip, _attempt(partial(self._encoded, path, source, clip, known))

    def _encoded(self, path: str, source: Pass, clip: dict[str, Any], known: Recognition) -> Piece:
        frames = known.checked(clip["clip_id"], source.span(clip["start_frame"], clip["end_frame"]))
        # The rate measured of the whole clip: one taken from its first chunk would depend on where the pass began.
        made = encode(frames, self.encoding.height, self.encoding.fps or clip["fps"], self.encoding.crf, self.encoding.codec)
        sound = sound_of(path, clip["start_s"], clip["end_s"]) if self.encoding.audio == "keep" else None
        data = made.data if sound is None else with_sound(made.data, sound)
        return self._with_sound_apart(Piece("mp4", data, {name: value for name, value in asdict(made).items() if name != "data"}), path, clip)

    def _copied(self, path: str, clips: Sequence[dict[str, Any]], known: Recognition) -> Iterator[tuple[dict[str, Any], Piece | str]]:
        """Clips of one source, their groups of pictures copied."""
        with tempfile.TemporaryDirectory(prefix="clipmill-indexed-") as folder:
            source = _attempt(lambda: Indexed.of(path, Path(folder), max(clip["end_s"] for clip in clips), self.encoding.audio == "keep"))
            for clip in clips:
                yield clip, source if isinstance(source, str) else _attempt(partial(self._copy, path, source, clip, known))

    def _copy(self, path: str, source: Indexed, clip: dict[str, Any], known: Recognition) -> Piece:
        return self._with_sound_apart(copied(source, clip, known, self.encoding.audio == "keep"), path, clip)

    def _with_sound_apart(self, piece: Piece, path: str, clip: dict[str, Any]) -> Piece:
        """The piece with the sound of exactly its span beside it, where the recipe asks for that and the source has any."""
        sound = sound_of(path, clip["start_s"], clip["end_s"]) if self.encoding.audio == "separate" else None
        return piece if sound is None else replace(piece, facts={**piece.facts, "sound": sound.facts()}, sound=flac(sound))


def still(path: str, shorter_side: int | None) -> Piece:
    """An image upright as a JPEG, without the metadata of the original (which may tell where it was taken).

    Raises:
        MediaError: it does not decode.
    """
    frames: Frames | None = next(iter(decode(path, end_frame=1)), None)
    if frames is None:
        raise MediaError("no picture decodes")
    picture = frames.pictures[0]
    width, height = encoded_size(picture.shape[1], picture.shape[0], shorter_side)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) if (width, height) != picture.shape[1::-1] else picture
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Piece("jpg", data.tobytes(), {"frames": 1, "width": width, "height": height, "fps": None, "duration_s": 0.0})


def _attempt(make: Callable[[], Made]) -> Made | str:
    try:
        return make()
    except MediaError as error:
        return str(error)
