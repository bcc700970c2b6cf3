"""Heard: the sound of a span of a file, decoded in the media process: exactly as many samples as the span lasts, silence where there is none."""

from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np

from curate.media.opened import MOST_PACKETS, Media, Refused

BEFORE_S = 10.0
"""From so long before the span sound is decoded: decoders need to warm up, and seeking is coarse."""
LEEWAY_S = 0.02
"""Stamps are rounded; sound that is stamped within this of where the sound before it ended follows upon it."""
MOST_SAMPLES = 48_000 * 3600
CHUNK_BYTES = 4 << 20


def sound(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """16-bit samples of at most two channels from `start_s` to `end_s`, seconds from the first picture; none where the file has no sound."""
    with Media(request["path"]) as media:
        stream = media.container.streams.best("audio")
        if stream is None or stream.codec_context is None:
            yield {"kind": "end", "rate": 0, "channels": 0, "samples": 0}, b""
            return
        rate, channels = stream.codec_context.sample_rate, min(2, stream.codec_context.channels)
        first, last = (round(request[name] * rate) for name in ("start_s", "end_s"))
        if not 0 <= last - first <= MOST_SAMPLES:
            raise Refused(f"{last - first} samples of sound are more than are held")
        samples = np.zeros((last - first, channels), np.int16)
        origin_s = _first_picture_s(media)
    # Opened again: what lies at the very start (a coder's padding, which is not to be heard) is known to those alone who did not seek there.
    with Media(request["path"]) as media:
        _fill(samples, media, media.container.streams.best("audio"), origin_s + request["start_s"], origin_s, first)
    data = samples.tobytes()
    for start in range(0, len(data), CHUNK_BYTES):
        yield {"kind": "sound"}, data[start : start + CHUNK_BYTES]
    yield {"kind": "end", "rate": rate, "channels": channels, "samples": len(samples)}, b""


def beginning(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Which container it is, when it begins, and when it shows its first picture."""
    with Media(request["path"]) as media:
        told = {"container": media.container.format.name, "start_s": (media.container.start_time or 0) / av.time_base}
        yield {"kind": "end", **told, "first_picture_s": _first_picture_s(media)}, b""


def _fill(samples: np.ndarray, media: Media, stream: Any, start_s: float, origin_s: float, first: int) -> None:
    """Put what decodes into its place; `start_s` is the container's time."""
    rate = stream.codec_context.sample_rate
    media.stream.discard, stream.discard = av.stream.Discard.all, av.stream.Discard.default
    if start_s > 2 * BEFORE_S:
        media.container.seek(int((start_s - BEFORE_S) * av.time_base), backward=True)
    resampler = av.AudioResampler(format="s16", layout="stereo" if samples.shape[1] == 2 else "mono", rate=rate)
    follows: int | None = None
    for frame in _frames(media, stream):
        stamped = None if frame.pts is None else round((frame.pts * float(frame.time_base) - origin_s) * rate) - first
        if follows is None and stamped is None:
            continue
        at = stamped if follows is None or (stamped is not None and abs(stamped - follows) > LEEWAY_S * rate) else follows
        assert at is not None
        if at >= len(samples):
            return
        heard = np.concatenate([part.to_ndarray().reshape(-1, samples.shape[1]) for part in resampler.resample(frame)] or [samples[:0]])
        inside = heard[max(-at, 0) : max(len(samples) - at, 0)]
        samples[max(at, 0) : max(at, 0) + len(inside)] = inside
        follows = at + len(heard)


def _first_picture_s(media: Media) -> float:
    """When the container shows its first picture, which is what times of clips are counted from."""
    picture = next(media.frames({}), None)
    stamp = None if picture is None else picture.pts if picture.pts is not None else picture.dts
    return 0.0 if stamp is None else float(stamp * media.stream.time_base)


def _frames(media: Media, stream: Any) -> Iterator[Any]:
    """Frames of sound; what does not decode is left out, and so silent."""
    packets = media.container.demux(stream)
    for _ in range(MOST_PACKETS):
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue
