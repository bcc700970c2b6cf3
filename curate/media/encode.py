"""Encode: frames to an MP4, the same bytes again: x264 on one thread, bit-exact flags, nothing of the time or the machine inside."""

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg
import numpy as np

from curate.media.frames import Frames
from curate.media.last_words import last_words
from curate.media.sandbox import MediaError


@dataclass(frozen=True)
class Cut:
    """An encoded clip.

    Attributes:
        data: bytes of an MP4 file.
        frames: pictures in it.
        width: pixels.
        height: pixels.
        fps: its constant rate.
        duration_s: frames over rate.
    """

    data: bytes
    frames: int
    width: int
    height: int
    fps: float
    duration_s: float


OPTIONS: dict[str, dict[str, str | int]] = {
    # Macroblock-tree rate control reads memory it has not written: other bytes from run to run.
    "h264": {"vcodec": "libx264", "preset": "veryfast", "threads": 1, "x264-params": "mbtree=0"},
    "av1": {"vcodec": "libsvtav1", "preset": 8, "svtav1-params": "lp=1"},
    "h264_nvenc": {"vcodec": "h264_nvenc", "preset": "p4", "rc": "vbr"},
    "av1_nvenc": {"vcodec": "av1_nvenc", "preset": "p4", "rc": "vbr"},
}
"""How each codec is run; where the bytes are promised to be the same again, on one thread."""


def encode(chunks: Iterator[Frames], shorter_side: int | None, fps: float | None, crf: int, codec: str = "h264") -> Cut:
    """Encode consecutive frames at a constant rate; a frame held longer is repeated, so that time is kept.

    Args:
        chunks: the frames; each chunk of the same picture size.
        shorter_side: pixels; None, or more than there are, keeps the size.
        fps: frames per second; None takes the rate of the frames themselves.
        crf: constant quality, on the codec's own scale.
        codec: one of OPTIONS.

    Raises:
        MediaError: there are no frames, or the encoder fails: NVENC does where there is no NVIDIA GPU.
    """
    first = next(chunks, None)
    if first is None:
        raise MediaError("no frame of the span decodes")
    rate = usual_rate(fps) if fps else own_rate(first.ends_s - first.times_s)
    stored_height, stored_width = first.pictures.shape[1:3]
    width, height = encoded_size(stored_width, stored_height, shorter_side)
    with tempfile.TemporaryDirectory(prefix="clipmill-cut-") as folder:
        target = Path(folder) / "cut.mp4"
        command = encoder(first.pictures.shape, (width, height), rate, crf, target, codec)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"LANG": "C.UTF-8"})
        assert process.stdin is not None and process.stderr is not None
        written = 0
        try:
            for pictures in at_rate(first, chunks, rate):
                process.stdin.write(pictures.data)
                written += len(pictures)
            process.stdin.close()
        except BrokenPipeError:
            pass  # its exit code and its words say why, below
        except BaseException:
            process.kill()
            process.wait()
            raise
        said = process.stderr.read()
        if process.wait() != 0 or written == 0:
            raise MediaError(f"the encoder failed: {last_words(said)}")
        data = target.read_bytes()
    return Cut(data, written, width, height, round(float(rate), 6), round(float(written / rate), 6))


def own_rate(intervals: np.ndarray) -> Fraction:
    """The frames' own rate from their intervals in seconds: by the mean where they are even, by the median where they vary."""
    even = np.ptp(intervals) <= max(0.1 * float(intervals.mean()), 0.0021)
    interval = float(intervals.mean() if even else np.median(intervals))
    return usual_rate(1 / max(interval, 1e-3))


def usual_rate(rate: float) -> Fraction:
    """A measured rate as the whole number, or the 1000/1001 of one (NTSC), that it is within 0.02 %; else as it is."""
    candidates = (Fraction(round(rate)), Fraction(round(rate * 1.001) * 1000, 1001))
    near = min(candidates, key=lambda candidate: abs(candidate - rate))
    return near if abs(near - rate) < 2e-4 * rate else Fraction(rate).limit_denominator(1001)


def encoded_size(width: int, height: int, shorter_side: int | None) -> tuple[int, int]:
    """Even width and height (4:2:0 needs them), shrunk in proportion so that the shorter one is `shorter_side`."""
    scale = min(1.0, shorter_side / min(width, height)) if shorter_side else 1.0
    return max(2, int(width * scale + 0.5) // 2 * 2), max(2, int(height * scale + 0.5) // 2 * 2)


def at_rate(first: Frames, rest: Iterator[Frames], rate: Fraction) -> Iterator[np.ndarray]:
    """The pictures at a constant rate: each is shown as often as its share of time rounds to, counted from the span's start."""
    began_s, shown = float(first.times_s[0]), 0
    chunk: Frames | None = first
    while chunk is not None:
        due = np.maximum(np.round((chunk.ends_s - began_s) * float(rate) + 1e-6).astype(np.int64), 0)
        times = np.diff(due, prepend=shown).clip(0)
        shown = max(shown, int(due[-1]))
        following = next(rest, None)
        if following is None and shown == 0:
            times[-1] = 1
        for begin in range(0, len(chunk), 8):
            pictures = np.repeat(chunk.pictures[begin : begin + 8], times[begin : begin + 8], axis=0)
            if len(pictures):
                yield np.ascontiguousarray(pictures)
        chunk = following


def encoder(shape: tuple[int, ...], size: tuple[int, int], rate: Fraction, crf: int, target: Path, codec: str = "h264") -> list[str]:
    """The command that turns raw RGB of `shape` (T, H, W, 3) on its standard input into an MP4 of `size` (width, height)."""
    import imageio_ffmpeg

    frames = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", video_size=(shape[2], shape[1]), framerate=f"{rate}")
    if size == (shape[2] // 2 * 2, shape[1] // 2 * 2):
        frames = frames.filter("crop", size[0], size[1], 0, 0)
    frames = frames.filter("scale", size[0], size[1], flags="bicubic+accurate_rnd+full_chroma_int+bitexact", out_color_matrix="bt709", out_range="tv")
    options = {
        **OPTIONS[codec], "cq" if codec.endswith("nvenc") else "crf": crf, "pix_fmt": "yuv420p", "an": None, "map_metadata": -1,
        "fflags": "+bitexact", "flags:v": "+bitexact", "movflags": "+faststart",
        "colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv",
    }  # fmt: skip
    output = frames.output(str(target), **options).global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-filter_threads", "1")
    return output.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)
