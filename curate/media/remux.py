"""Remux: streams of a source into an MP4 without encoding its pictures again: whole groups of pictures copied, or sound laid beside a clip.

FFmpeg runs as a program of its own here, with the same containers and protocols allowed as when decoding.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
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
INDEXED, SPARE_S = "mov,mp4,m4a,3gp,3g2,mj2", 10.0
"""The containers in which FFmpeg finds a keyframe by when it is shown, and how much beyond the last clip is read of any other."""


@dataclass(frozen=True)
class Indexed:
    """A file in which any clip is found by its time.

    Attributes:
        path: a local file of the containers INDEXED.
        first_picture_s: when it shows its first picture, by its container's clock; times of clips are counted from there.
    """

    path: str
    first_picture_s: float

    @classmethod
    def of(cls, path: str, folder: Path, end_s: float, audio: bool) -> "Indexed":
        """A local file itself, or its packets up to `end_s` in an MP4 in `folder` where its container is another.

        FFmpeg seeks in Matroska by when frames are sent, less a guess; in a broadcast stream it lands anywhere, and where only some pictures are stamped
        those behind that place cannot be told apart.

        Raises:
            MediaError: it cannot be read, or its codecs do not go into an MP4.
        """
        told, _ = next(ask({"ask": "beginning", "path": path}))
        if told["container"] == INDEXED:
            return cls(path, told["first_picture_s"])
        made, until_s = folder / "indexed.mp4", told["first_picture_s"] - told["start_s"] + end_s + SPARE_S
        _run([*ALLOWED, "-i", f"file:{path}", "-t", f"{until_s:.6f}", *_streams(audio), "-c", "copy"], made)
        return cls.of(str(made), folder, end_s, audio)


def copied(source: Indexed, clip: dict[str, Any], known: Recognition, audio: bool) -> Piece:
    """The groups of pictures that hold a clip, as they are: no loss, and a hundredth of the cost of encoding.

    The piece's facts tell `in_frame` and `out_frame`: the clip's first frame in the file, and the one after its last.

    Args:
        source: where it lies.
        clip: clip_id, start_frame, end_frame, start_s, end_s, fps and `keyframe`, the last one not after its start.
        known: what measuring kept of it.
        audio: whether the sound is copied too.

    Raises:
        MediaError: the codec does not go into an MP4, or the copy does not hold the frames that it should.
    """
    frames = clip["end_frame"] - clip["start_frame"]
    first, length_s = clip["start_frame"] - clip["keyframe"], clip["end_s"] - clip["start_s"]
    # A quarter of a frame late is still within a frame, whatever the rounding of time stamps. Half-way back to the keyframe, since the next one is sent
    # before frames that are shown before it. By the container's clock: counted from where the file begins, it would depend on what comes first there.
    late_s, back_s = 0.25 * length_s / frames, 0.5 * first * length_s / frames
    seek = ["-seek_timestamp", "1", "-ss", f"{source.first_picture_s + clip['start_s'] + late_s - back_s:.6f}", "-t", f"{length_s + back_s:.6f}"]
    data = _made([*ALLOWED, *seek, "-i", f"file:{source.path}", *_streams(audio), "-c", "copy", *CLEAN])
    size, held = _checked(data, clip, known)
    if held < first + frames:
        raise MediaError(f"the copied groups hold {held} frames, and the clip needs {first + frames} of them; encode this source instead")
    facts = {"mode": "copy", "frames": held, "in_frame": first, "out_frame": first + frames, "width": size[0], "height": size[1]}
    return Piece("mp4", data, {**facts, "fps": clip["fps"], "duration_s": round(length_s, 6)})


def with_sound(video: bytes, sound: Sound) -> bytes:
    """A clip's MP4 with its sound beside the pictures (AAC, two channels).

    Raises:
        MediaError: the encoder fails.
    """
    with tempfile.TemporaryDirectory(prefix="clipmill-sound-") as folder:
        silent = Path(folder) / "silent.mp4"
        silent.write_bytes(video)
        samples = ["-f", "s16le", "-ar", f"{sound.rate}", "-ac", f"{sound.channels}", "-i", "pipe:"]
        return _made(["-i", str(silent), *samples, "-map", "0:v:0", "-map", "1:a:0", "-c:v", "copy", *SOUND, *CLEAN], sound.data)


def _streams(audio: bool) -> Sequence[str]:
    """Which streams are copied: pictures, and sound where it is kept."""
    return ["-map", "0:v:0", *(["-map", "0:a:0?"] if audio else SILENT)]


def _made(arguments: Sequence[str], given: bytes = b"") -> bytes:
    """The MP4 that FFmpeg makes."""
    with tempfile.TemporaryDirectory(prefix="clipmill-remux-") as folder:
        target = Path(folder) / "made.mp4"
        _run(arguments, target, given)
        return target.read_bytes()


def _run(arguments: Sequence[str], target: Path, given: bytes = b"") -> None:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-threads", "1", *arguments, str(target)]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE_S, env={"LANG": "C.UTF-8"}, check=False)
    except subprocess.TimeoutExpired:
        raise MediaError(f"copying took over {PATIENCE_S} s") from None
    if done.returncode != 0 or not target.exists():
        raise MediaError(f"its streams cannot be copied into an MP4: {last_words(done.stderr)}; a recipe that encodes can pack it")


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
