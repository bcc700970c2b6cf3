"""Tones: how two pictures of one size differ once both are in the same tones, whatever curve was laid over one of them.

The curve is a parabola that is fitted where it fits well (iteratively reweighted least squares), so that a mark or a banner does not bend it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

BLOCKS = 10
"""Parts along either side."""
FLAT = 0.12
"""Detail, in deviations of the picture, that a part is granted at least: noise of flat parts is not a difference."""
OUTLYING, ROUNDS = 0.3, 4
"""Deviations of the picture beyond which tones do not fit the curve between two pictures, and how often it is drawn anew."""
FITTED = 800
"""Pixels that a curve is fitted to, about: neighbours in a smoothed picture say the same."""
SAME_STRUCTURE = 0.7
_POWERS = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
_RIDGE = 1e-4 * np.eye(3)
"""Keeps the curve of a plain picture from being anything at all."""


@dataclass(frozen=True)
class Even:
    """A picture of mean 0 and deviation 1, float32 (H, W)."""

    picture: np.ndarray

    @cached_property
    def detail(self) -> np.ndarray:
        """How much each part deviates from its own mean: float32 (BLOCKS, BLOCKS)."""
        return _detail(self.picture)

    @cached_property
    def powers(self) -> np.ndarray:
        """The powers from 0 to 4 of some of its tones, evenly spread: float32 (5, N)."""
        step = max(1, round((self.picture.size / FITTED) ** 0.5))
        tones = self.picture[::step, ::step].ravel()
        squares = tones * tones
        return np.stack([np.ones_like(tones), tones, squares, squares * tones, squares * squares])


def even(picture: np.ndarray) -> Even:
    """A luma picture without its brightness and contrast."""
    away = picture - picture.mean()
    return Even(away / (np.sqrt(np.vdot(away, away) / away.size) + 1e-6))


@dataclass(frozen=True)
class Toned:
    """Two pictures in the same tones.

    Attributes:
        kept: the one that is as it was.
        bent: the other one, its tones taken to the first one's; float32 (H, W).
    """

    kept: Even
    bent: np.ndarray

    def differences(self) -> np.ndarray:
        """How they differ in each of BLOCKS x BLOCKS parts, relative to what is to be seen there: float32 (BLOCKS, BLOCKS).

        0 is the same, 1 as much as the part deviates from its own mean; parts without detail are measured against the whole picture's.
        """
        return _pooled(np.abs(self.kept.picture - self.bent)) / (np.maximum(self.kept.detail, _detail(self.bent)) + FLAT)

    def agreement(self, unlike: np.ndarray) -> float:
        """Normalised correlation over the parts that are not unlike, bool (BLOCKS, BLOCKS): -1 to 1."""
        within = _spread(~unlike, self.bent.shape)
        one, other = (tones - tones.mean() for tones in (self.kept.picture[within], self.bent[within]))
        return float(np.vdot(one, other) / (np.sqrt(np.vdot(one, one) * np.vdot(other, other)) + 1e-9))

    def alike(self) -> float:
        """Share of the parts in which there is something to be seen in both, and the same."""
        one, other = (picture - _means(picture) for picture in (self.kept.picture, self.bent))
        structure = _pooled(one * other) / np.sqrt(_pooled(one * one) * _pooled(other * other) + 1e-6)
        return float(((np.minimum(_pooled(np.abs(one)), _pooled(np.abs(other))) >= FLAT) & (structure > SAME_STRUCTURE)).mean())


def toned(first: Even, second: Even) -> Toned:
    """Two pictures of one size in the same tones.

    The curve takes the tones of one to those of the other, in whichever direction leaves less: tones that were clipped away cannot be brought back.
    """
    (there, left_there), (back, left_back) = _curves((second, first), (first, second))
    kept, bent, (level, slope, bend) = (first, second, there) if left_there <= left_back else (second, first, back)
    return Toned(kept, (bend * bent.picture + slope) * bent.picture + level)


def _curves(given: Sequence[Even], wanted: Sequence[Even]) -> list[tuple[list[float], float]]:
    """Parabolas that take given tones to wanted ones, those which do not fit having no say: level, slope and bend, and what is left at the median-ish mean."""
    powers, target = np.stack([one.powers for one in given]), np.stack([one.powers[1] for one in wanted])
    weights = np.ones_like(target)
    for _ in range(ROUNDS):
        normal = (powers @ weights[:, :, None])[:, _POWERS, 0]
        curves = np.linalg.solve(normal + _RIDGE, powers[:, :3] @ (weights * target)[:, :, None])[:, :, 0].astype(np.float32)
        left = np.matmul(curves[:, None], powers[:, :3])[:, 0] - target
        weights = 1 / (1 + (left / OUTLYING) ** 2)
    return list(zip(curves.tolist(), np.minimum(np.abs(left), OUTLYING).mean(axis=1).tolist()))


def _detail(picture: np.ndarray) -> np.ndarray:
    return _pooled(np.abs(picture - _means(picture)))


def _means(picture: np.ndarray) -> np.ndarray:
    """Each part's mean, in all of its pixels."""
    return _spread(_pooled(picture), picture.shape)


def _spread(parts: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The values of parts in all of their pixels."""
    return parts.take(_part(shape[0]), axis=0).take(_part(shape[1]), axis=1)


def _pooled(picture: np.ndarray) -> np.ndarray:
    """Means of BLOCKS x BLOCKS parts, pixels on an edge shared among them."""
    return _shares(picture.shape[0]) @ picture @ _shares(picture.shape[1]).T


@lru_cache(maxsize=1024)
def _shares(length: int) -> np.ndarray:
    """What each pixel of a side has in each part's mean: float32 (BLOCKS, length)."""
    pixels, width = np.arange(length), length / BLOCKS
    starts = (np.arange(BLOCKS) * width)[:, None]
    return (np.clip(np.minimum(pixels + 1, starts + width) - np.maximum(pixels, starts), 0, 1) / width).astype(np.float32)


@lru_cache(maxsize=1024)
def _part(length: int) -> np.ndarray:
    """The part in which each pixel of a side lies."""
    return np.arange(length) * BLOCKS // length
