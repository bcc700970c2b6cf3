"""The only decoder and encoder: probe, decode and cut. Measuring and packing see the same frames because both come from here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curate.media.encode import Cut, encode
from curate.media.frames import Frames
from curate.media.sandbox import MediaError, Patience, ask

__all__ = ["Cut", "Decoding", "MediaError", "Probe", "Sampling", "cut", "decode", "probe"]


@dataclass(frozen=True)
class Probe:
    """What a file says it is, checked against its first picture.

    Attributes:
        media_type: `video` or `image`.
        container: FFmpeg's name of the container.
        codec: FFmpeg's name of the video codec.
        width: displayed width in pixels, after rotation and sample aspect ratio.
        height: displayed height in pixels.
        fps: average frames per second as claimed; None where not stated.
        container_duration_s: length as claimed; None where not stated, 0 for an image.
        rotation: degrees by which stored pictures are turned counter-clockwise for display.
        interlaced: whether the first picture is coded as fields.
        hdr: whether the transfer is PQ or HLG.
        pixel_format: FFmpeg's name of the pixel format.
        warnings: what is odd but survivable.
    """

    media_type: str
    container: str
    codec: str
    width: int
    height: int
    fps: float | None
    container_duration_s: float | None
    rotation: int
    interlaced: bool
    hdr: bool
    pixel_format: str
    warnings: tuple[str, ...]


@dataclass
class Decoding:
    """What a whole decoding pass learnt; complete once the frames have been consumed.

    Attributes:
        frames: frames that decoded.
        duration_s: from the first picture to the end of the last.
        claimed_s: what the container claims; None where not stated.
        promised_frames: what the container claims; 0 where not stated.
        variable_rate: whether frame intervals differ.
        interlaced: whether most pictures are coded as fields.
        hdr: whether any picture is PQ or HLG.
        keyframes: numbers of frames at which decoding may start.
        warnings: what was odd but survivable.
    """

    frames: int = 0
    duration_s: float = 0.0
    claimed_s: float | None = None
    promised_frames: int = 0
    variable_rate: bool = False
    interlaced: bool = False
    hdr: bool = False
    keyframes: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def probe(path: str, patience: Patience | None = None) -> Probe:
    """What a local file is. Opens it in the sandbox and decodes its first picture.

    Raises:
        MediaError: it cannot be read as video or image; the message is a plain reason.
    """
    header, _ = next(ask({"ask": "probe", "path": path}, patience))
    return Probe(**{name: header[name] for name in Probe.__dataclass_fields__ if name != "warnings"}, warnings=tuple(header["warnings"]))


@dataclass(frozen=True)
class Sampling:
    """Larger pictures of some frames, beside the small ones of all.

    Attributes:
        side: their longer side is at most this.
        per_s: about so many a second, by the nominal frame rate.
        most_step: but at least one in so many frames.
    """

    side: int = 640
    per_s: float = 8.0
    most_step: int = 8


def decode(
    path: str,
    side: int | None = None,
    start_frame: int = 0,
    end_frame: int | None = None,
    sampling: Sampling | None = None,
    learnt: Decoding | None = None,
    patience: Patience | None = None,
) -> Iterator[Frames]:
    """Frames of a local file in presentation order, in chunks, from one sequential pass in the sandbox.

    Args:
        path: a local file.
        side: the longer side of the pictures is at most this (area average); None for full size.
        start_frame: first frame wanted; those before are decoded and dropped, since a seek may give other pictures.
        end_frame: frame after the last one wanted; None for all.
        sampling: larger pictures of some frames, as `samples` of each chunk.
        learnt: filled in at the end with what the pass learnt.
        patience: time limits.

    Raises:
        MediaError: it cannot be read, the decoder crashed, or took too long.
    """
    request: dict[str, Any] = {"ask": "decode", "path": path, "side": side, "start": start_frame, "end": end_frame, "sample_side": None}
    if sampling:
        request |= {"sample_side": sampling.side, "samples_per_s": sampling.per_s, "most_step": sampling.most_step}
    for header, body in ask(request, patience):
        if header["kind"] == "frames":
            yield _frames(header, body)
        elif learnt is not None:
            _fill(learnt, header)


def _frames(header: dict[str, Any], body: bytearray) -> Frames:
    """A chunk from an answer; the shapes must account for every byte."""
    shape, sample_shape = header["shape"], header["sample_shape"]
    split = int(np.prod(shape))
    data = np.frombuffer(body, np.uint8)
    start, times_s, sampled = header["start"], np.asarray(header["times_s"], np.float64), np.asarray(header["sampled"], np.int64)
    samples = Frames(
        sampled, times_s[sampled - start], times_s[sampled - start + 1], data[split:].reshape(sample_shape)
    )  # fmt: skip
    return Frames(np.arange(start, start + shape[0]), times_s[:-1], times_s[1:], data[:split].reshape(shape), samples)


def _fill(learnt: Decoding, header: dict[str, Any]) -> None:
    for name in ("frames", "duration_s", "claimed_s", "promised_frames", "variable_rate", "hdr", "keyframes"):
        setattr(learnt, name, header[name])
    learnt.interlaced = header["interlaced_frames"] * 2 > header["frames"]
    learnt.warnings = list(header["troubles"])
    if header["corrupt_frames"]:
        learnt.warnings.append(f"{header['corrupt_frames']} frames are damaged")
    if header["time_jumps"]:
        learnt.warnings.append(f"time stamps jump {header['time_jumps']} times; frames there are placed one usual interval apart")


def cut(path: str, start_frame: int, end_frame: int, height: int | None = None, fps: float | None = None, crf: int = 18) -> Cut:
    """One span of a source as an MP4 (H.264, 4:2:0): the same bytes again for the same input and versions.

    Args:
        path: a local file.
        start_frame: first frame, counted in decode order from 0.
        end_frame: frame after the last.
        height: pixels of the shorter side; None, or more than there are, keeps the size.
        fps: constant frame rate to resample to; None keeps each frame at its time.
        crf: constant rate factor of x264, 0 (lossless) to 51.

    Raises:
        MediaError: the span does not decode, or does not encode.
    """
    return encode(decode(path, None, start_frame, end_frame), height, fps, crf)
