"""The one decoder and encoder: what it reads, what it refuses, and that nothing hostile gets through it."""

import signal
import subprocess
from fractions import Fraction

import av
import imageio_ffmpeg
import numpy as np
import psutil
import pytest

from curate.media import sandbox
from curate.media.last_words import last_words
from curate.media.sandbox import Patience
from curate.video import Decoding, MediaError, Sampling, cut, decode, probe


def film(path, frames=40, size=(64, 48), rate=25, stamps=None, codec="mpeg4", pixel_format="yuv420p", **stream_options):
    """A film whose frame n has the grey level 4n + 20."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.bit_rate = 4_000_000
        for name, value in stream_options.items():
            setattr(stream.codec_context, name, value)
        stream.codec_context.time_base = Fraction(1, 1000) if stamps else Fraction(1, rate)
        for number in range(frames):
            picture = np.full((size[1], size[0], 3), (20 + 4 * number) % 236, np.uint8)
            picture[: size[1] // 4, : size[0] // 4] = 255
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = (stamps[number] if stamps else number), stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def levels(path, **options):
    return [int(picture[-8:, -8:].mean()) for frames in decode(path, **options) for picture in frames.pictures]


def test_frames_come_in_order_with_their_times(tmp_path):
    path, learnt = film(tmp_path / "a.mp4"), Decoding()
    chunks = list(decode(path, learnt=learnt))
    assert np.concatenate([chunk.numbers for chunk in chunks]).tolist() == list(range(40))
    assert np.concatenate([chunk.times_s for chunk in chunks]) == pytest.approx(np.arange(40) / 25)
    assert np.abs(np.array(levels(path)) - (20 + 4 * np.arange(40))).max() <= 6
    assert (learnt.frames, learnt.duration_s, learnt.variable_rate) == (40, 1.6, False)
    assert learnt.keyframes[0] == 0


def test_a_span_is_exactly_the_frames_asked_for(tmp_path):
    path = film(tmp_path / "a.mp4")
    assert levels(path, start_frame=10, end_frame=35) == levels(path)[10:35]


def test_samples_are_larger_pictures_of_some_of_the_frames(tmp_path):
    path = film(tmp_path / "a.mp4", size=(128, 96))
    chunks = list(decode(path, 32, sampling=Sampling(side=64)))
    assert {chunk.pictures.shape[1:] for chunk in chunks} == {(24, 32, 3)}
    assert {chunk.samples.pictures.shape[1:] for chunk in chunks if len(chunk.samples)} == {(48, 64, 3)}
    assert [number for chunk in chunks for number in chunk.samples.numbers.tolist()] == list(range(0, 40, 3))


def test_cutting_twice_gives_the_same_bytes_and_the_frames_asked_for(tmp_path):
    path = film(tmp_path / "a.mp4")
    made = cut(path, 5, 25)
    assert made.data == cut(path, 5, 25).data
    assert (made.frames, made.width, made.height, made.fps) == (20, 64, 48, 25.0)
    (tmp_path / "b.mp4").write_bytes(made.data)
    assert np.abs(np.array(levels(str(tmp_path / "b.mp4"))) - levels(path)[5:25]).max() <= 4


def test_a_crash_of_the_decoder_takes_down_its_own_source_only(tmp_path):
    path = film(tmp_path / "a.mp4", frames=400)
    frames = decode(path)
    next(frames)
    media_process().send_signal(signal.SIGSEGV)
    with pytest.raises(MediaError, match="crashed"):
        list(frames)
    assert len(levels(path)) == 400


def test_a_hang_is_ended_by_the_time_limit(tmp_path):
    path = film(tmp_path / "a.mp4")
    probe(path)
    media_process().suspend()
    with pytest.raises(MediaError, match="no progress"):
        probe(path, Patience(silence_s=0.3))
    assert probe(path).width == 64


def media_process():
    (child,) = [child for child in psutil.Process().children() if any("curate.media.process" in part for part in child.cmdline())]
    return child


@pytest.fixture(autouse=True)
def _no_process_left_over():
    yield
    sandbox.close_idle()


def test_why_ffmpeg_failed_is_said_in_the_same_words_each_time(tmp_path):
    program, film = imageio_ffmpeg.get_ffmpeg_exe(), tmp_path / "film.gif"
    subprocess.run([program, "-v", "error", "-f", "lavfi", "-i", "testsrc=size=32x32:rate=4", "-t", "1", str(film)], check=True)
    copying = [program, "-y", "-v", "error", "-i", str(film), "-c", "copy", str(tmp_path / "film.mp4")]
    said = [subprocess.run(copying, capture_output=True, check=False).stderr for _ in range(2)]
    assert b"@ 0x" in said[0].splitlines()[-1], "it calls its parts by their addresses"
    assert last_words(said[0]) == last_words(said[1]) and "0x" not in last_words(said[0]) and "[out#0/mp4]" in last_words(said[0])
    assert last_words(b"") == "no reason given"
