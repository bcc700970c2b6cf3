"""Sound: what a source sounds like during a clip, sample by sample, and as FLAC: the same bytes again, and exactly as long as the clip."""

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from curate.media.last_words import last_words
from curate.media.sandbox import MediaError, ask

SAMPLE_BYTES = 2
HEAD_BYTES = 42
"""Of a FLAC file before its frames or further metadata: four letters, a block's head, and STREAMINFO."""


@dataclass(frozen=True)
class Sound:
    """The sound of a span.

    Attributes:
        data: 16-bit little-endian samples, channels side by side.
        rate: samples a second.
        channels: one or two.
    """

    data: bytes
    rate: int
    channels: int

    @property
    def samples(self) -> int:
        """How many there are of each channel."""
        return len(self.data) // (SAMPLE_BYTES * self.channels)

    def facts(self) -> dict[str, int]:
        """What a sample's JSON tells of it."""
        return {"rate": self.rate, "channels": self.channels, "samples": self.samples}


def sound_of(path: str, start_s: float, end_s: float) -> Sound | None:
    """The sound of a local file from `start_s` to `end_s`, seconds from its first picture; None where the file has none.

    Silence stands where the file holds no sound, so that it is exactly as long as the span.

    Raises:
        MediaError: the file cannot be read.
    """
    data = bytearray()
    for header, body in ask({"ask": "sound", "path": path, "start_s": start_s, "end_s": end_s}):
        data += body
        if header["kind"] == "end":
            return Sound(bytes(data), header["rate"], header["channels"]) if header["channels"] else None
    raise MediaError("the decoder told no end of the sound")


def flac(sound: Sound) -> bytes:
    """The sound as a FLAC file.

    Raises:
        MediaError: the encoder fails.
    """
    import imageio_ffmpeg

    with tempfile.TemporaryDirectory(prefix="clipmill-sound-") as folder:
        target = Path(folder) / "sound.flac"
        samples = ffmpeg.input("pipe:", format="s16le", ar=sound.rate, ac=sound.channels)
        options = {"acodec": "flac", "map_metadata": -1, "fflags": "+bitexact", "flags:a": "+bitexact", "threads": 1}
        command = samples.output(str(target), **options).global_args("-hide_banner", "-nostdin", "-loglevel", "error")
        _run(command.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe()), sound.data)
        return target.read_bytes()


def flac_problem(data: bytes, told: dict[str, int]) -> str | None:
    """What is wrong with a FLAC file that is said to hold so much sound; decodes it and compares with the digest inside."""
    import imageio_ffmpeg

    if data[:4] != b"fLaC" or len(data) < HEAD_BYTES:
        return "is no FLAC file"
    packed = int.from_bytes(data[18:26])
    found = {"rate": packed >> 44, "channels": (packed >> 41 & 7) + 1, "samples": packed & (1 << 36) - 1}
    if found != told:
        return f"holds {found}, and the sample says {told}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "flac", "-i", "pipe:", "-f", "s16le", "pipe:"]
    try:
        decoded = _run(command, data)
    except MediaError as error:
        return f"does not decode: {error}"
    return None if hashlib.md5(decoded, usedforsecurity=False).digest() == data[26:42] else "does not decode to what was encoded"


def _run(command: list[str], data: bytes) -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, env={"LANG": "C.UTF-8"}, check=False)
    if done.returncode != 0:
        raise MediaError(f"FFmpeg failed on the sound: {last_words(done.stderr)}")
    return done.stdout
