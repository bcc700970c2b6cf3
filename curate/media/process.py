"""The process that opens untrusted media: probes and decodes on request, holds no secret, and may die without taking anything else along.

It speaks over pipes: a request is one JSON line, an answer is two lengths, a JSON header and, for frames, raw bytes. Nothing it says is
executed by its parent (`curate/media/sandbox.py`), so a decoder that is taken over can lie about pixels, and no more.
"""

import json
import os
import resource
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import av.error
import numpy as np

from curate.media.fields import made_whole
from curate.media.heard import beginning, sound
from curate.media.opened import Media, Refused
from curate.media.timeline import Timeline
from curate.media.upright import HDR_TRANSFERS, Upright, displayed_size

MEMORY_BYTES = 4 * 2**30
LIMITS = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: 64, resource.RLIMIT_AS: MEMORY_BYTES}
"""No core dump, no file written, few files open, and memory that a hostile header cannot exhaust."""
CHUNK_FRAMES, CHUNK_BYTES = 16, 64 * 2**20


def main() -> None:
    """Answer requests from standard input until it closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    limit_resources()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            for header, pictures in ANSWERS[request["ask"]](request):
                send(answers, header, pictures)
        except (Refused, av.error.FFmpegError, MemoryError, OSError, ValueError) as error:
            send(answers, {"kind": "refused", "reason": plain_reason(error)}, b"")


def send(answers: BinaryIO, header: dict[str, Any], pictures: bytes) -> None:
    """One answer."""
    head = json.dumps(header).encode()
    answers.write(struct.pack(">II", len(head), len(pictures)) + head)
    answers.write(pictures)
    answers.flush()


def limit_resources() -> None:
    """Apply LIMITS to this process, or whatever lower ones it already has."""
    for which, most in LIMITS.items():
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(which, (most, most))
        except (ValueError, OSError):
            continue  # macOS refuses RLIMIT_AS: the parent's time limits still hold


def plain_reason(error: BaseException) -> str:
    """What went wrong, without a path or an object's address."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, MemoryError):
        return f"decoding it needs more than {MEMORY_BYTES >> 30} GB of memory"
    if isinstance(error, av.error.FFmpegError | OSError):
        return f"cannot be read: {(error.strerror or type(error).__name__).lower()}"
    return f"cannot be read: {error}"


def probe(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What the file is, from its header and its first picture."""
    with Media(request["path"]) as media:
        troubles: dict[str, int] = {}
        first = next(media.frames(troubles), None)
        if first is None:
            raise Refused("no picture decodes" + (f": {next(iter(troubles))}" if troubles else ""))
        stream = media.stream
        context, rate = stream.codec_context, stream.average_rate or stream.guessed_rate
        width, height = displayed_size(first, stream.sample_aspect_ratio)
        differs = (context.width, context.height) != (first.width, first.height)
        yield (
            {
                "kind": "probe",
                "media_type": "image" if media.is_image else "video",
                "container": media.container.format.name,
                "codec": context.codec.canonical_name,
                "width": width,
                "height": height,
                "fps": round(float(rate), 6) if rate else None,
                "container_duration_s": 0.0 if media.is_image else media.claimed_s,
                "rotation": first.rotation,
                "interlaced": bool(first.interlaced_frame),
                "hdr": first.color_trc in HDR_TRANSFERS,
                "pixel_format": first.format.name,
                "warnings": [f"the container says {context.width}x{context.height}, the picture is {first.width}x{first.height}"] if differs else [],
            },
            b"",
        )


def decode(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Frames `start` to `end` as upright RGB whose longer side is at most `side`, in chunks, then what was learnt on the way.

    Every so many frames a second picture is made, with a longer side of at most `sample_side`.
    """
    start, end, troubles = request["start"], request["end"], dict[str, int]()
    with Media(request["path"]) as media:
        stream = media.stream
        timeline = Timeline(stream.time_base, stream.guessed_rate)
        upright, larger = (Upright(request[side], stream.sample_aspect_ratio) for side in ("side", "sample_side"))
        step = sample_step(stream.guessed_rate, request["samples_per_s"], request["most_step"]) if request["sample_side"] else 0
        facts: dict[str, Any] = {"keyframes": [], "interlaced_frames": 0, "corrupt_frames": 0, "hdr": False, "promised_frames": stream.frames}
        chunk = Chunk(start)
        for number, (frame, shown) in enumerate(made_whole(media.frames(troubles), stream)):
            timeline.add(frame.pts if frame.pts is not None else frame.dts, frame.duration)
            if chunk.is_full:
                yield chunk.answer(timeline)
                chunk = Chunk(number)
            if number == end:
                break
            facts["interlaced_frames"] += frame.interlaced_frame
            facts["corrupt_frames"] += frame.is_corrupt
            facts["hdr"] |= frame.color_trc in HDR_TRANSFERS
            if frame.key_frame:
                facts["keyframes"].append(number)
            if number >= start:
                sampled = step > 0 and number % step == 0
                chunk.add(number, upright.picture(shown), larger.picture(shown) if sampled else None)
        if chunk.pictures:
            yield chunk.answer(timeline)
        learnt = {"frames": timeline.count, "duration_s": timeline.end_s, "variable_rate": timeline.is_variable, "time_jumps": timeline.jumps}
        troubled = [what if what.startswith("the container") else f"{count} {what}" for what, count in troubles.items()]
        yield {"kind": "end", **facts, **learnt, "claimed_s": media.claimed_s, "troubles": troubled}, b""


def sample_step(rate: Any, samples_per_s: float, most: int) -> int:
    """Frames from one sample to the next."""
    return max(1, min(most, round(float(rate or 25) / samples_per_s)))


@dataclass
class Chunk:
    """Consecutive pictures on their way to the parent, with the samples taken among them."""

    start: int
    pictures: list[np.ndarray] = field(default_factory=list)
    samples: list[np.ndarray] = field(default_factory=list)
    sampled: list[int] = field(default_factory=list)

    def add(self, number: int, picture: np.ndarray, sample: np.ndarray | None) -> None:
        """The next frame."""
        self.pictures.append(picture)
        if sample is not None:
            self.samples.append(sample)
            self.sampled.append(number)

    @property
    def is_full(self) -> bool:
        count = len(self.pictures)
        return count >= CHUNK_FRAMES or (count > 0 and count * self.pictures[0].nbytes >= CHUNK_BYTES)

    def answer(self, timeline: Timeline) -> tuple[dict[str, Any], bytes]:
        """`times_s` has one more entry than frames: when the last one ends."""
        header = {"kind": "frames", "start": self.start, "shape": [len(self.pictures), *self.pictures[0].shape], "sampled": self.sampled}
        header["sample_shape"] = [len(self.samples), *(self.samples[0].shape if self.samples else (0, 0, 3))]
        header["times_s"] = timeline.times_from(self.start, len(self.pictures))
        return header, b"".join(picture.data for picture in (*self.pictures, *self.samples))


ANSWERS = {"probe": probe, "decode": decode, "sound": sound, "beginning": beginning}
