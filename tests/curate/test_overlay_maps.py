"""The maps of what stays while content moves: exact statistics, whatever the chunks, in flat memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from curate.observers import overlay_maps
from curate.observers.overlay_maps import CAPACITY, OverlayMaps, evidence, pictures, planes_from, planes_of, sort_in_time, strongest, working_luma


def moving_film(frames: int, seed: int = 0, size: tuple[int, int] = (180, 320)) -> np.ndarray:
    """A random texture of squares panning diagonally at 6 and 5 pixels a frame, (T, H, W, 3)."""
    height, width = size
    texture = np.random.default_rng(seed).integers(0, 256, ((height + 5 * frames) // 8 + 2, (width + 6 * frames) // 8 + 2)).astype(np.uint8)
    wide = np.kron(texture, np.ones((8, 8), np.uint8))
    return np.stack([np.repeat(wide[5 * at : 5 * at + height, 6 * at : 6 * at + width, None], 3, axis=2) for at in range(frames)])


def marked(film: np.ndarray) -> np.ndarray:
    """The film with a white cross-hatched box laid over its upper right corner."""
    film = film.copy()
    film[:, 12:36:4, 250:306] = 230
    film[:, 12:36, 250:306:8] = 230
    return film


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, some.tuples(some.integers(1, 17), some.integers(1, 4), some.integers(1, 4))))
def test_the_sorting_network_sorts_any_number_of_frames(stack):
    assert (sort_in_time(stack) == np.sort(stack, axis=0)).all()


def test_a_mark_that_stays_over_moving_content_is_evidence_with_its_box():
    numbers, times = range(48), [at / 24 for at in range(48)]
    found = {}
    for name, film in (("clean", moving_film(48)), ("marked", marked(moving_film(48)))):
        maps = OverlayMaps(24.0)
        maps.add(film, numbers, times)
        found[name] = strongest(maps.close(0, 48))
    assert found["marked"][0] > found["clean"][0] + 0.3
    left, top, right, bottom = found["marked"][1]
    assert left == pytest.approx(250 / 320, abs=0.06) and right == pytest.approx(306 / 320, abs=0.06)
    assert top == pytest.approx(12 / 180, abs=0.08) and bottom == pytest.approx(36 / 180, abs=0.08)


def test_the_maps_do_not_depend_on_how_the_film_was_cut_into_chunks():
    film, times = moving_film(40), [at / 24 for at in range(40)]
    whole, chunked = OverlayMaps(24.0), OverlayMaps(24.0)
    whole.add(film, range(40), times)
    for start in range(0, 40, 7):
        chunked.add(film[start : start + 7], range(start, min(start + 7, 40)), times[start : start + 7])
    assert (whole.close(0, 40)[0].planes == chunked.close(0, 40)[0].planes).all()


def test_a_span_sees_only_its_own_frames():
    film, times = marked(moving_film(60)), [at / 24 for at in range(60)]
    film[:30] = moving_film(30, seed=1)
    both, late = OverlayMaps(24.0), OverlayMaps(24.0)
    both.add(film, range(60), times)
    late.add(film[30:], range(30, 60), times[30:])
    both.close(0, 30)
    assert (both.close(30, 60)[0].planes == late.close(30, 60)[0].planes).all()


def test_an_endless_shot_keeps_memory_flat_and_its_newest_frames_whole():
    maps = OverlayMaps(24.0)
    picture = np.zeros((1, 36, 64), np.uint8)
    for number in range(0, 24 * 600, 3):
        maps.add(picture, [number], [number / 24])
        assert len(maps.samples) <= CAPACITY + 1
    newest = [number for number, _, _ in maps.samples if number >= 24 * 600 - overlay_maps.LAG]
    assert np.diff(newest).max() == 3


def test_a_long_span_has_a_window_every_ten_seconds_at_most():
    maps = OverlayMaps(2.0)
    maps.add(np.zeros((51, 36, 64), np.uint8), range(51), [at / 2 for at in range(51)])
    windows = maps.close(0, 51)
    assert [round(window.time_s, 1) for window in windows] == [0.0, 8.5, 17.0]


def test_samples_that_lie_years_apart_have_no_more_windows_than_samples():
    luma = np.zeros((36, 64), np.uint8)
    assert len(overlay_maps.windows_of([(0, 0.0, luma), (1, 0.1, luma), (2, 1e9, luma)])) <= 3


def test_a_single_frame_has_no_window_and_its_evidence_is_unknown():
    maps = OverlayMaps(24.0)
    maps.add(np.zeros((1, 36, 64, 3), np.uint8), [0], [0.0])
    assert strongest(maps.close(0, 1)) == (None, None)


@pytest.mark.parametrize("shape", [(180, 320), (1080, 1920), (480, 270), (240, 320), (37, 1000), (3, 5)])
def test_every_shape_fits_the_working_size_in_whole_cells(shape):
    luma = working_luma(np.zeros((*shape, 3), np.uint8))
    assert max(luma.shape) <= 640 and min(luma.shape) <= 360 and not luma.shape[0] % 4 and not luma.shape[1] % 4
    planes = planes_from(np.stack([luma, luma]))
    assert planes.shape == (9, luma.shape[0] // 4, luma.shape[1] // 4)
    assert evidence(planes) == (0.0, None)


def test_pictures_hold_the_planes_without_loss():
    planes = np.random.default_rng(0).integers(0, 256, (9, 5, 7)).astype(np.uint8)
    stored = pictures(planes)
    assert [picture.shape for picture in stored] == [(5, 7, 3)] * 3 and (planes_of(stored) == planes).all()
