"""What observers measure, on films whose truth is known by construction: bars, light, and whose movement it is."""

import cv2
import numpy as np
import pytest

from curate.media.frames import Frames
from curate.observers.base import Span
from curate.observers.borders import Borders
from curate.observers.exposure import Exposure
from curate.observers.motion import Motion

HEIGHT, WIDTH, FPS = 144, 256, 25


def watched(observer, pictures):
    """What an observer tells of a film seen at its size."""
    numbers = np.arange(len(pictures))
    frames = Frames(numbers, numbers / FPS, (numbers + 1) / FPS, np.stack(pictures).astype(np.uint8))
    for start in range(0, len(pictures), 16):
        part = slice(start, start + 16)
        observer.observe(Frames(numbers[part], frames.times_s[part], frames.ends_s[part], frames.pictures[part]).at(observer.size))
    return observer.close(Span(0, len(pictures), 0.0, len(pictures) / FPS))


def ground(seed=1, height=3 * HEIGHT, width=3 * WIDTH):
    """A textured picture larger than the frame, with detail at several scales."""
    random = np.random.default_rng(seed)
    layers = [cv2.resize(random.uniform(0, 255, (height // step, width // step, 3)), (width, height), interpolation=cv2.INTER_CUBIC) for step in (48, 12, 4)]
    return np.clip(sum(layer * share for layer, share in zip(layers, (0.5, 0.3, 0.2), strict=True)), 0, 255)


def moving(frames=50, right=0.0, down=0.0, zoom=0.0, shake=0.0, seed=1):
    """A camera over the ground: pixels a frame to the right and down, and a share of enlargement a frame."""
    picture, random, made = ground(seed), np.random.default_rng(seed), []
    for at in range(frames):
        scale = (1 + zoom) ** at
        x, y = WIDTH + right * at + random.normal(0, shake), HEIGHT + down * at + random.normal(0, shake)
        place = np.float32([[scale, 0, WIDTH / 2 * (1 - scale) - x * scale], [0, scale, HEIGHT / 2 * (1 - scale) - y * scale]])
        made.append(cv2.warpAffine(picture, place, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR))
    return made


def test_black_bars_are_found_with_the_rectangle_between_them():
    film = moving(right=1)
    for picture in film:
        picture[:18], picture[-18:] = 0, 0
    told = watched(Borders(), film)
    assert told["border"] == "letterbox"
    assert told["content_box"] == pytest.approx([0, 0.125, 1, 0.875], abs=0.01)


def test_a_bar_next_to_a_dark_half_of_the_picture_is_a_bar():
    film = moving(right=1)
    for picture in film:
        picture[72:, : WIDTH * 3 // 5] = 4
        picture[:18], picture[-18:] = 0, 0
    assert watched(Borders(), film)["border"] == "letterbox"


@pytest.mark.parametrize("cut", [False, True])
def test_blurred_pillars_are_the_picture_enlarged(cut):
    film = []
    for picture in moving(right=1, seed=3):
        inner = cv2.resize(picture, (WIDTH - 80, HEIGHT), interpolation=cv2.INTER_AREA)
        source = inner[20:-20] if cut else inner
        framed = cv2.GaussianBlur(cv2.resize(source, (WIDTH, HEIGHT)), (0, 0), 7)
        framed[:, 40:-40] = inner
        film.append(framed)
    told = watched(Borders(), film)
    assert told["border"] == "blurred"
    assert told["content_box"] == pytest.approx([40 / WIDTH, 0, 1 - 40 / WIDTH, 1], abs=0.02)


def test_soft_edges_and_darkness_are_not_bars():
    soft = [np.concatenate([cv2.GaussianBlur(p[:, :50], (0, 0), 6), p[:, 50:-50], cv2.GaussianBlur(p[:, -50:], (0, 0), 6)], 1) for p in moving(right=2, seed=5)]
    for picture in soft:
        picture[:, :50] = picture[:, 49:50] * 0.5 + 60
    assert watched(Borders(), soft)["border"] == "none"
    assert watched(Borders(), [picture * 0.05 for picture in moving(right=1)])["border"] == "none"
    assert watched(Borders(), [np.zeros((HEIGHT, WIDTH, 3))] * 30)["border"] == "none"


def test_flashes_are_counted_and_black_is_measured():
    film = [picture * 0.5 for picture in moving(60, right=1)]
    for at in (10, 11, 30):
        film[at] = np.minimum(film[at] + 100, 255)
    film[45:] = [np.full_like(film[0], 16)] * 15
    told = watched(Exposure(), film)
    assert told["flashes"] == 2
    assert told["black_share"] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("name", "film", "sign"), [("pan", {"right": 1.5}, 1), ("pan", {"right": -1.5}, -1), ("tilt", {"down": 1}, 1), ("zoom", {"zoom": 0.01}, 1)]
)
def test_camera_movement_has_a_kind_and_a_direction(name, film, sign):
    told = watched(Motion(), moving(**film))
    truth = {"pan": 100 * 1.5 / WIDTH, "tilt": 100 * 1 / HEIGHT, "zoom": 1.0}[name] * FPS / 24
    assert told[name] * sign == pytest.approx(truth, rel=0.2)
    assert told["camera_motion"] > 3 * told["subject_motion"]


def test_a_subject_before_a_still_camera_is_not_the_camera():
    film = moving()
    subject = ground(9)[:50, :50]
    for at, picture in enumerate(film):
        picture[40:90, 20 + 3 * at : 70 + 3 * at] = subject
    told = watched(Motion(), film)
    assert told["subject_motion"] > 3 * told["camera_motion"]
    assert abs(told["pan"]) < 0.1


def test_shake_is_movement_that_takes_itself_back():
    shaken, panned = watched(Motion(), moving(shake=2)), watched(Motion(), moving(right=2))
    assert shaken["shake"] > 3 * panned["shake"]
    assert shaken["motion"] < shaken["motion_mean"]


def test_a_slideshow_has_less_motion_than_a_slow_zoom_on_a_still():
    slides = [ground(seed)[:HEIGHT, :WIDTH] for seed in range(4) for _ in range(20)]
    shown, zoomed = watched(Motion(), slides), watched(Motion(), moving(80, zoom=0.002))
    assert shown["slideshow"] > 0.9 and shown["motion"] < zoomed["motion"]
    assert zoomed["slideshow"] == 0
