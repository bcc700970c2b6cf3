"""Remux: streams of a source into an MP4 without encoding its pictures again: whole groups of pictures copied, or sound laid beside a clip.

FFmpeg runs as a program of its own here, with the same containers and protocols allowed as when decoding.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate.media.frames import Frames
from curate.media.last_words import last_words
from curate.media.opened import OPEN_OPTIONS
from curate.media.sandbox import ask
from curate.media.sound import Sound
from curate.packing.pieces import Piece
from curate.packing.recognise import Recognition
from curate.video import MediaError, decode

PATIENCE_S = 600
CHECK_SIDE = 160
CLEAN = ["-map_metadata", "-1", "-fflags", "+bitexact", "-avoid_negative_ts", "make_zero", "-movflags", "+faststart"]
SILENT = ["-use_editlist", "0"]
"""Beside sound, edit lists say when each of the two begins; pictures alone need none."""
SOUND = ["-c:a", "aac", "-b:a", "128k", "-ac", "2", "-flags:a", "+bitexact"]
ALLOWED = [part for name, value in OPEN_OPTIONS.items() for part in (f"-{name}", value)]
BROADCAST, LEAD_S = frozenset({"mpegts", "mpeg"}), 3.0
"""Containers that do not say where their keyframes lie, and how long before the one that is wanted reading begins there."""


@dataclass(frozen=True)
class Beginning:
    """What finding a clip in a file takes.

    Attributes:
        first_picture_s: when the file shows its first picture, by its container's clock; times of clips are counted from there.
        indexed: whether the container says where its keyframes lie.
    """

    first_picture_s: float
    indexed: bool

    @classmethod
    def of(cls, path: str) -> "Beginning":
        """That of a local file.

        Raises:
            MediaError: it cannot be read.
        """
        told, _ = next(ask({"ask": "beginning", "path": path}))
        return cls(told["first_picture_s"], told["container"] not in BROADCAST)


def copied(path: str, clip: dict[str, Any], known: Recognition, audio: bool, beginning: Beginning) -> Piece:
    """The groups of pictures that hold a clip, as they are: no loss, and a hundredth of the cost of encoding.

    The piece's facts tell `in_frame` and `out_frame`: the clip's first frame in the file, and the one after its last.

    Args:
        path: a local file.
        clip: clip_id, start_frame, end_frame, start_s, end_s, fps; `keyframe`, the last one not after its start; `keyframe_before` that one, if any.
        known: what measuring kept of it.
        audio: whether the sound is copied too.
        beginning: of the file.

    Raises:
        MediaError: the codec does not go into an MP4, or the copy does not hold the frames that it should.
    """
    frames = clip["end_frame"] - clip["start_frame"]
    maps = ["-map", "0:v:0", *(["-map", "0:a:0?"] if audio else SILENT)]
    data = _run([*(_indexed if beginning.indexed else _broadcast)(path, clip, beginning.first_picture_s), *maps, "-c", "copy", *CLEAN])
    first = clip["start_frame"] - clip["keyframe"]
    size, held = _checked(data, clip, known)
    spare, before = held - first - frames, clip["keyframe_before"]
    if not beginning.indexed and before is not None and spare >= clip["keyframe"] - before:
        raise MediaError(f"{spare} frames more were copied than the clip needs, so the copy may begin with the group before; encode this source instead")
    if spare < 0:
        raise MediaError(f"the copied groups hold {held} frames, and the clip needs {first + frames} of them; encode this source instead")
    facts = {"mode": "copy", "frames": held, "in_frame": first, "out_frame": first + frames, "width": size[0], "height": size[1]}
    return Piece("mp4", data, {**facts, "fps": clip["fps"], "duration_s": round(clip["end_s"] - clip["start_s"], 6)})


def with_sound(video: bytes, sound: Sound) -> bytes:
    """A clip's MP4 with its sound beside the pictures (AAC, two channels).

    Raises:
        MediaError: the encoder fails.
    """
    with tempfile.TemporaryDirectory(prefix="clipmill-sound-") as folder:
        silent = Path(folder) / "silent.mp4"
        silent.write_bytes(video)
        samples = ["-f", "s16le", "-ar", f"{sound.rate}", "-ac", f"{sound.channels}", "-i", "pipe:"]
        return _run(["-i", str(silent), *samples, "-map", "0:v:0", "-map", "1:a:0", "-c:v", "copy", *SOUND, *CLEAN], sound.data)


def _indexed(path: str, clip: Mapping[str, Any], first_picture_s: float) -> Sequence[str]:
    """Reading from a clip's keyframe to its end, by the container's clock: counted from where the file begins, it would depend on whether sound comes first."""
    length_s = clip["end_s"] - clip["start_s"]
    # A quarter of a frame late is still within the first frame, and after its keyframe whatever the rounding of time stamps.
    start_s = first_picture_s + clip["start_s"] + 0.25 * length_s / (clip["end_frame"] - clip["start_frame"])
    return [*ALLOWED, "-seek_timestamp", "1", "-ss", f"{start_s:.6f}", "-t", f"{length_s:.6f}", "-i", f"file:{path}"]


def _broadcast(path: str, clip: Mapping[str, Any], first_picture_s: float) -> Sequence[str]:
    """As `_indexed`, where seeking lands anywhere: read from well before, and left out until the first keyframe after a moment half-way from the one before it.

    Half-way, since frames are sent before they are shown, by as much as they are reordered.
    """
    first, before = clip["keyframe"], clip["keyframe_before"]
    back = clip["start_frame"] - first + (LEAD_S * clip["fps"] if before is None else (first - before) / 2)
    moment_s = clip["start_s"] - back / clip["fps"]
    seek = ["-seek_timestamp", "1", "-ss", f"{first_picture_s + moment_s - LEAD_S:.6f}", "-i", f"file:{path}"]
    return [*ALLOWED, *seek, "-copypriorss", "0", "-ss", f"{LEAD_S}", "-t", f"{clip['end_s'] - moment_s:.6f}"]


def _run(arguments: Sequence[str], given: bytes = b"") -> bytes:
    import imageio_ffmpeg

    with tempfile.TemporaryDirectory(prefix="clipmill-remux-") as folder:
        target = Path(folder) / "made.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-threads", "1", *arguments, str(target)]
        try:
            done = subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE_S, env={"LANG": "C.UTF-8"}, check=False)
        except subprocess.TimeoutExpired:
            raise MediaError(f"copying took over {PATIENCE_S} s") from None
        if done.returncode != 0 or not target.exists():
            raise MediaError(f"its streams cannot be copied into an MP4: {last_words(done.stderr)}; a recipe that encodes can pack it")
        return target.read_bytes()


def _checked(data: bytes, clip: dict[str, Any], known: Recognition) -> tuple[tuple[int, int], int]:
    """Displayed size and number of frames of a copy, once the frames that measuring kept were recognised in it."""
    with tempfile.NamedTemporaryFile(prefix="clipmill-copy-", suffix=".mp4") as file:
        file.write(data)
        file.flush()
        held, size = 0, (0, 0)
        for chunk in known.checked(clip["clip_id"], _renumbered(decode(file.name, CHECK_SIDE), clip["keyframe"])):
            held += len(chunk)
        whole = next(decode(file.name, end_frame=1), None)
        if whole is not None:
            size = (whole.pictures.shape[2], whole.pictures.shape[1])
    return size, held


def _renumbered(chunks: Iterator[Frames], first: int) -> Iterator[Frames]:
    for chunk in chunks:
        yield replace(chunk, numbers=chunk.numbers + first, _made={})
