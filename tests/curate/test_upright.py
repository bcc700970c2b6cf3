"""Frames as people see them: turned, cut by edit lists, with square pixels, in SDR, whatever way they are stored."""

import subprocess
from fractions import Fraction
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest

from curate.media.upright import HLG, PQ, displayed_size, tone_mapped
from curate.video import Decoding, decode, probe


def ffmpeg(*arguments: str) -> bytes:
    return subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y", *arguments], check=True, capture_output=True).stdout


def shown_by_ffmpeg(path, width, height):
    """What FFmpeg's own program shows of a file, uint8 (T, H, W, 3)."""
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-fps_mode", "passthrough", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def ours(path):
    return np.concatenate([frames.pictures for frames in decode(str(path))])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_film_is_shown_as_ffmpeg_shows_it(tmp_path, made_footage, degrees):
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", str(degrees), "-i", str(made_footage / "moving.mp4"), "-c", "copy", str(turned))
    size = (180, 320) if degrees % 180 else (320, 180)
    assert (probe(str(turned)).width, probe(str(turned)).height) == size
    difference = ours(turned).astype(np.int16) - shown_by_ffmpeg(turned, *size)
    assert np.abs(difference).mean() < 2


def comb(pictures):
    """How much more each line differs from its neighbour than from the one after that, in levels."""
    luma = pictures.astype(np.int16).mean(-1)
    return float(np.abs(luma[:, 1:] - luma[:, :-1]).mean() - np.abs(luma[:, 2:] - luma[:, :-2]).mean())


def test_pictures_coded_as_fields_are_made_whole(tmp_path):
    # Bars that run across: what one field shows is elsewhere in the other, half a frame later.
    moving = "color=c=black:size=320x180:rate=50:duration=1,geq=lum='255*lt(mod(X+8*N,80),40)':cb=128:cr=128"
    whole, fields = tmp_path / "whole.mpg", tmp_path / "fields.mpg"
    ffmpeg("-f", "lavfi", "-i", moving, "-vf", "framestep=2", "-c:v", "mpeg2video", "-q:v", "2", str(whole))
    ffmpeg("-f", "lavfi", "-i", moving, "-vf", "tinterlace=interleave_top", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2", str(fields))
    learnt = Decoding()
    shown = np.concatenate([frames.pictures for frames in decode(str(fields), learnt=learnt)])
    assert learnt.interlaced and len(shown) == len(shown_by_ffmpeg(fields, 320, 180)) == learnt.frames
    assert comb(shown_by_ffmpeg(fields, 320, 180)) > 20
    assert comb(shown) < 2
    assert np.abs(ours(whole).astype(np.int16) - shown_by_ffmpeg(whole, 320, 180)).mean() < 2


def test_what_an_edit_list_leaves_out_is_not_shown(tmp_path, made_footage):
    cut = tmp_path / "cut.mp4"
    ffmpeg("-ss", "0.5", "-i", str(made_footage / "moving.mp4"), "-c", "copy", str(cut))
    learnt = Decoding()
    pictures = np.concatenate([frames.pictures for frames in decode(str(cut), learnt=learnt)])
    assert len(pictures) == 36 and learnt.duration_s == pytest.approx(1.5, abs=0.01)
    assert np.array_equal(pictures, ours(made_footage / "moving.mp4")[12:])


def test_pixels_that_are_not_square_are_made_so(tmp_path, made_footage):
    wide = tmp_path / "wide.mp4"
    ffmpeg("-i", str(made_footage / "moving.mp4"), "-vf", "setsar=3/2", "-c:v", "libx264", "-t", "0.2", str(wide))
    assert ours(wide).shape[1:] == (180, 480, 3)


def test_a_mad_aspect_ratio_is_not_believed():
    frame = SimpleNamespace(width=100, height=50, rotation=0)
    assert displayed_size(frame, Fraction(1, 5000)) == (100, 50)
    assert displayed_size(frame, Fraction(0)) == (100, 50)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_tone_mapping_keeps_black_white_grey_and_order(transfer):
    levels = np.linspace(0, 65535, 200).astype(np.uint16)
    shown = tone_mapped(np.repeat(levels[None, :, None], 3, axis=2), transfer)[0]
    assert shown[0].max() == 0 and shown[-1].min() == 255
    assert (np.diff(shown[:, 1].astype(int)) >= 0).all()
    assert np.ptp(shown.astype(int), axis=1).max() <= 1


def test_diffuse_white_under_pq_stays_light_and_leaves_room_above():
    white = np.full((1, 1, 3), round(0.5807 * 65535), np.uint16)
    assert 160 < tone_mapped(white, PQ).min() < 240
