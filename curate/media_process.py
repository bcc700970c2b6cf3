"""The process that opens untrusted media: probes and decodes on request, holds no secret, and may die without taking anything else along.

It speaks over pipes: a request is one JSON line, an answer is a length, a JSON header and, for frames, raw bytes. Nothing it says is
executed by its parent (`curate/sandbox.py`), so a decoder that is taken over can lie about pixels, and no more.
"""

import json
import os
import resource
import stat
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import av
import av.error
import av.logging
import av.stream
import numpy as np

from curate.timeline import Timeline
from curate.upright import HDR_TRANSFERS, Upright, displayed_size

VIDEO_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h263,h264,hevc,vvc,vc1,obu,av1,ivf,ogg,flv,live_flv,asf,gif,apng,"
    "mxf,nut,rm,dv,mjpeg,yuv4mpegpipe,gxf,cavsvideo,dirac,wtv"
)
IMAGE_FORMATS = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,jpegxl_pipe,j2k_pipe,ppm_pipe,pgm_pipe,qoi_pipe"
OPEN_OPTIONS = {"protocol_whitelist": "file,pipe", "format_whitelist": f"{VIDEO_FORMATS},{IMAGE_FORMATS}"}
MOST_PIXELS, MOST_STREAMS, MOST_PACKETS, MOST_FRUITLESS_PACKETS = 2**27, 100, 50_000_000, 20_000
MEMORY_BYTES = 4 * 2**30
CHUNK_FRAMES, CHUNK_BYTES = 16, 64 * 2**20


class Refused(Exception):
    """This media cannot be read; the message is a plain reason."""


def main() -> None:
    """Answer requests from standard input until it closes."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    limit_resources()
    for line in requests:
        request = json.loads(line)
        try:
            for header, pictures in ANSWERS[request["ask"]](request):
                send(answers, header, pictures)
        except (Refused, av.error.FFmpegError, MemoryError, OSError, ValueError) as error:
            send(answers, {"kind": "refused", "reason": plain_reason(error)}, b"")


def send(answers: BinaryIO, header: dict[str, Any], pictures: bytes) -> None:
    """One answer: two lengths, a JSON header, raw bytes."""
    head = json.dumps(header).encode()
    answers.write(struct.pack(">II", len(head), len(pictures)) + head)
    rest = memoryview(pictures)
    while len(rest):
        rest = rest[answers.write(rest) :]


def limit_resources() -> None:
    """No core dump, no file written, no further process worth the name, and memory that a hostile header cannot exhaust."""
    for which, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_AS, MEMORY_BYTES)):
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


class Media:
    """One open file: its container and its best video stream."""

    def __init__(self, path: str) -> None:
        self.descriptor = self._regular_file(path)
        try:
            self.container = self._container()
            self.stream = self._video_stream()
        except BaseException:
            os.close(self.descriptor)
            raise

    def __enter__(self) -> "Media":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()
        os.close(self.descriptor)

    @staticmethod
    def _regular_file(path: str) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            os.close(descriptor)
            raise Refused("the file is empty" if stat.S_ISREG(status.st_mode) else "not a regular file")
        return descriptor

    def _container(self) -> Any:
        """Opened by its descriptor, so that no demuxer is chosen by a hostile name."""
        with av.logging.Capture(local=True) as told:
            try:
                return av.open(f"file:/dev/fd/{self.descriptor}", options=OPEN_OPTIONS, metadata_errors="replace")
            except av.error.FFmpegError as error:
                said = "; ".join(dict.fromkeys(entry[2].strip() for entry in told if entry[0] <= av.logging.WARNING and "/dev/fd" not in entry[2]))
                if "whitelist" in said.lower():
                    raise Refused(f"of a kind that is not opened: {said.lower()}") from None
                raise Refused(f"not a video or image that can be read: {said or (error.strerror or '').lower()}") from None

    def _video_stream(self) -> Any:
        streams = self.container.streams
        if len(streams) > MOST_STREAMS:
            raise Refused(f"holds {len(streams)} streams, more than {MOST_STREAMS}")
        covers = av.stream.Disposition.attached_pic
        real = [stream for stream in streams.video if not stream.disposition & covers]
        if not real:
            raise Refused("holds no video, only " + (", ".join(sorted({stream.type for stream in streams})) or "nothing"))
        best = streams.best("video")
        stream = best if best in real else real[0]
        for other in streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        if stream.codec_context is None:
            raise Refused("no decoder for its codec")
        context = stream.codec_context
        if context.width * context.height > MOST_PIXELS:
            raise Refused(f"{context.width}x{context.height} is more than {MOST_PIXELS / 1e6:.0f} million pixels")
        context.thread_count = 1  # the same frames again, on any machine, also where data is damaged
        context.options = {"max_pixels": str(MOST_PIXELS)}
        return stream

    @property
    def is_image(self) -> bool:
        return self.container.format.name in IMAGE_FORMATS.split(",")

    @property
    def claimed_s(self) -> float | None:
        """The length that the header claims."""
        stream = self.stream
        if stream.duration and stream.time_base:
            return round(float(stream.duration * stream.time_base), 6)
        return round(self.container.duration / 1e6, 6) if self.container.duration else None

    def frames(self, troubles: dict[str, int]) -> Iterator[Any]:
        """Every frame that decodes, in order; what does not is counted in `troubles`, by what it said."""
        fruitless, packets = 0, self.container.demux(self.stream)
        for number in range(MOST_PACKETS):
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                troubles[f"the container cannot be read further: {(error.strerror or '').lower()}"] = 1
                return
            try:
                decoded = packet.decode()
            except av.error.FFmpegError as error:
                said = f"packets that do not decode: {(error.strerror or '').lower()}"
                troubles[said] = troubles.get(said, 0) + 1
                decoded = []
            yield from decoded
            fruitless = 0 if decoded else fruitless + 1
            if fruitless > MOST_FRUITLESS_PACKETS:
                troubles[f"stopped after {fruitless} packets without a picture, at packet {number}"] = 1
                return
            if self.is_image and decoded:
                return
        troubles[f"stopped after {MOST_PACKETS} packets"] = 1


def probe(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What the file is, from its header and its first picture."""
    with Media(request["path"]) as media:
        troubles: dict[str, int] = {}
        first = next(media.frames(troubles), None)
        if first is None:
            raise Refused("no picture decodes" + (": " + next(iter(troubles)) if troubles else ""))
        stream = media.stream
        width, height = displayed_size(first, stream.sample_aspect_ratio)
        claimed = (stream.codec_context.width, stream.codec_context.height)
        yield (
            {
                "kind": "probe",
                "media_type": "image" if media.is_image else "video",
                "container": media.container.format.name,
                "codec": stream.codec_context.codec.canonical_name if hasattr(stream.codec_context.codec, "canonical_name") else stream.codec_context.name,
                "width": width,
                "height": height,
                "fps": round(float(stream.average_rate or stream.guessed_rate or 0), 6) or None,
                "container_duration_s": 0.0 if media.is_image else media.claimed_s,
                "rotation": first.rotation,
                "interlaced": bool(first.interlaced_frame),
                "hdr": first.color_trc in HDR_TRANSFERS,
                "pixel_format": first.format.name,
                "warnings": [f"the container says {claimed[0]}x{claimed[1]}, the picture is {first.width}x{first.height}"]
                if claimed != (first.width, first.height)
                else [],
            },
            b"",
        )


def decode(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Frames `start` to `end` as upright RGB whose longer side is at most `side`, in chunks, then what was learnt on the way.

    Every so many frames (`sample`) a second picture is made, with a longer side of at most `sample_side`.
    """
    start, end, troubles = request["start"], request["end"], dict[str, int]()
    with Media(request["path"]) as media:
        stream = media.stream
        timeline = Timeline(stream.time_base, stream.guessed_rate)
        upright, larger = (Upright(request[side], stream.sample_aspect_ratio) for side in ("side", "sample_side"))
        step = sample_step(stream.guessed_rate, request["samples_per_s"], request["most_step"]) if request["sample_side"] else 0
        facts: dict[str, Any] = {"keyframes": [], "interlaced_frames": 0, "corrupt_frames": 0, "hdr": False, "promised_frames": stream.frames}
        chunk, number = Chunk(start), 0
        for number, frame in enumerate(media.frames(troubles)):
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
                chunk.pictures.append(upright.picture(frame))
                if step and number % step == 0:
                    chunk.samples.append(larger.picture(frame))
                    chunk.sampled.append(number)
        if chunk.pictures:
            yield chunk.answer(timeline)
        troubled = [what if what.startswith("the container") else f"{count} {what}" for what, count in troubles.items()]
        learnt = {"frames": timeline.count, "duration_s": timeline.end_s, "variable_rate": timeline.is_variable, "time_jumps": timeline.jumps}
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


ANSWERS = {"probe": probe, "decode": decode}
