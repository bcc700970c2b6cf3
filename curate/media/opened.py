"""Media: one untrusted file, opened within limits: allow-listed demuxers and protocols, capped pixels, streams and packets."""

import os
import stat
from collections.abc import Iterator
from typing import Any

import av
import av.error
import av.logging
import av.stream

VIDEO_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h263,h264,hevc,vvc,vc1,obu,av1,ivf,ogg,flv,live_flv,asf,gif,apng,"
    "mxf,nut,rm,dv,mjpeg,yuv4mpegpipe,gxf,cavsvideo,dirac,wtv"
)
IMAGE_FORMATS = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,jpegxl_pipe,j2k_pipe,ppm_pipe,pgm_pipe,qoi_pipe"
"""Nothing that opens further files or addresses: no playlists (hls, dash), no concat scripts, no image sequences (image2), no devices."""
OPEN_OPTIONS = {"protocol_whitelist": "file,pipe", "format_whitelist": f"{VIDEO_FORMATS},{IMAGE_FORMATS}"}
MOST_PIXELS, MOST_STREAMS, MOST_PACKETS, MOST_FRUITLESS_PACKETS = 2**27, 100, 50_000_000, 20_000


class Refused(Exception):
    """This media cannot be read; the message is a plain reason."""


class Media:
    """One open file: its container and its best video stream.

    Raises:
        Refused, FFmpegError, OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = _regular_file(path)
        try:
            self.container = self._opened()
            self.stream = self._best_video()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> "Media":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()
        os.close(self._descriptor)

    def _opened(self) -> Any:
        """Opened by its descriptor, so that a hostile name chooses no demuxer and no protocol."""
        with av.logging.Capture(local=True) as told:
            try:
                return av.open(f"file:/dev/fd/{self._descriptor}", options=OPEN_OPTIONS, metadata_errors="replace")
            except av.error.FFmpegError as error:
                said = "; ".join(dict.fromkeys(entry[2].strip() for entry in told if entry[0] <= av.logging.WARNING and "/dev/fd" not in entry[2]))
                kind = "of a kind that is not opened" if "whitelist" in said.lower() else "not a video or image that can be read"
                raise Refused(f"{kind}: {said.lower() or (error.strerror or '').lower()}") from None

    def _best_video(self) -> Any:
        streams = self.container.streams
        if len(streams) > MOST_STREAMS:
            raise Refused(f"holds {len(streams)} streams, more than {MOST_STREAMS}")
        real = [stream for stream in streams.video if not stream.disposition & av.stream.Disposition.attached_pic]
        if not real:
            raise Refused("holds no video, only " + (", ".join(sorted({stream.type for stream in streams})) or "nothing"))
        best = streams.best("video")
        stream = best if best in real else real[0]
        for other in streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        context = stream.codec_context
        if context is None:
            raise Refused("no decoder for its codec")
        if context.width * context.height > MOST_PIXELS:
            raise Refused(f"{context.width}x{context.height} is more than {MOST_PIXELS / 1e6:.0f} million pixels")
        context.thread_count = 1  # the same frames again on any machine, also where data is damaged
        context.options = {"max_pixels": str(MOST_PIXELS)}
        return stream

    @property
    def is_image(self) -> bool:
        """Whether it is a single picture rather than a film."""
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
                said = f"packets do not decode: {(error.strerror or '').lower()}"
                troubles[said] = troubles.get(said, 0) + 1
                decoded = []
            yield from decoded
            if self.is_image and decoded:
                return
            fruitless = 0 if decoded else fruitless + 1
            if fruitless > MOST_FRUITLESS_PACKETS:
                troubles[f"packets without a picture, at packet {number}, where it was given up"] = fruitless
                return
        troubles["packets are the most that are read"] = MOST_PACKETS


def _regular_file(path: str) -> int:
    """A descriptor of a file that is one: no pipe that blocks, no device, no directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size > 0:
        return descriptor
    os.close(descriptor)
    raise Refused("the file is empty" if stat.S_ISREG(status.st_mode) else "not a regular file")
