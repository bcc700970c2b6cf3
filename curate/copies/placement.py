"""Placement: how one picture lies over another: scale, shift and mirror, found roughly by template matching and then to a fraction of a pixel.

The fine steps maximise the enhanced correlation coefficient (Evangelidis and Psarakis 2008), which contrast and brightness do not change: first on small
pictures, which tell most strangers apart for a fraction of the time, then on the pictures themselves.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from curate.copies.fingerprint import Still

SCALES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
TINY, SMALL = 0.25, 0.5
"""Sizes at which all ways to lay a picture are tried, and at which the HOPEFUL best of them, mirrored and not, are and the best one is refined."""
HOPEFUL = 4
HOPELESS = 0.6
"""Agreement of small pictures below which they have nothing to do with one another."""
INSIDE, LEAST = 0.975, 0.25
"""Share of one picture that must lie inside the other: a crop does, and a camera that moved on does not; and of the first one, at least, that it is."""
STEPS_SMALL, STEPS = (10, 1e-3), (15, 1e-4)
"""Steps of refining at most, and what each must gain."""
ASTRAY = 0.05
"""Agreement by which refining may seem to lose, for it looks at smoother pictures; beyond it, it has lost its way."""
SMOOTHED = 3
"""Pixels across which pictures are smoothed while they are refined."""
_NO_MASK = np.empty((0, 0), np.uint8)


@dataclass(frozen=True)
class Placement:
    """How the second picture lies over the first.

    Attributes:
        matrix: float32 (2, 3), takes positions in the second picture, after any mirroring, to positions in the first; pixels' centres are whole numbers.
        mirrored: whether the second picture is mirrored.
        agreement: normalised correlation of the two where they overlap, -1 to 1.
    """

    matrix: np.ndarray
    mirrored: bool
    agreement: float

    def enlarged(self, times: float) -> "Placement":
        """The same of pictures that are so many times as large."""
        matrix = self.matrix.copy()
        matrix[:, 2] = times * matrix[:, 2] + (times - 1) / 2 * (1 - matrix[:, :2].sum(axis=1))
        return Placement(matrix, self.mirrored, self.agreement)


@dataclass(frozen=True)
class Rough:
    """How two SMALL pictures lie over one another, and the way that it was found by."""

    placement: Placement
    way: "_Way"


def roughly(first: Still, second: Still, mirrored: tuple[bool, ...]) -> Rough | None:
    """The placement of SMALL pictures under which they agree best; None where they do not agree at all.

    Args:
        first: a picture.
        second: the other.
        mirrored: the ways to turn the second: as it is, mirrored, or both.
    """
    ways = sorted(_ways(first.luma.shape, second.luma.shape, mirrored), key=lambda way: _laid(first, second, way, TINY).agreement, reverse=True)
    found = [Rough(_laid(first, second, way, SMALL), way) for way in ways[: HOPEFUL * len(mirrored)]]
    best = max(found, key=lambda rough: rough.placement.agreement, default=None)
    if best is None or best.placement.agreement < HOPELESS:
        return None
    return Rough(_refined(first, second, best.placement, SMALL, STEPS_SMALL) or best.placement, best.way)


def place(first: Still, second: Still, rough: Rough) -> Placement:
    """The placement near one of SMALL pictures under which the pictures themselves agree best."""
    return _refined(first, second, rough.placement.enlarged(1 / SMALL), 1.0, STEPS) or _laid(first, second, rough.way, 1.0)


def _refined(first: Still, second: Still, near: Placement, size: float, steps: tuple[int, float]) -> Placement | None:
    """The placement near another under which pictures of a size agree best; None where it is not found, or neither lies inside the other then."""
    one, other = _sized(first, size), _sized(second, size, near.mirrored)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, *steps)
    try:
        agreement, back = cv2.findTransformECC(one, other, _inverse(near.matrix), cv2.MOTION_AFFINE, criteria, _NO_MASK, SMOOTHED)
    except cv2.error:  # it did not converge
        return None
    matrix = _inverse(np.asarray(back))
    astray = agreement < near.agreement - ASTRAY or _inside(one, other, matrix) < INSIDE
    return None if astray else Placement(matrix, near.mirrored, agreement)


def overlaid(first: Still, second: Still, placement: Placement, size: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The parts of two pictures of a size that lie over one another, in the first one's pixels; empty where there are none."""
    one, other = _sized(first, size), _sized(second, size, placement.mirrored)
    left, top, right, bottom = _overlap(one, other, placement.matrix)
    rows, columns = slice(math.ceil(top), math.floor(bottom)), slice(math.ceil(left), math.floor(right))
    laid = cv2.warpAffine(other, placement.matrix, one.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return one[rows, columns], laid[rows, columns]


def _overlap(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the largest upright rectangle, in the first picture, over which the second lies."""
    height, width = second.shape
    (across, skewed, left), (slanted, down, top) = matrix.tolist()
    left_top, right_top, left_bottom, right_bottom = (left + across * x + skewed * y for y in (0, height) for x in (0, width))
    top_left, top_right, bottom_left, bottom_right = (top + slanted * x + down * y for y in (0, height) for x in (0, width))
    left, right = max(0.0, left_top, left_bottom), min(float(first.shape[1]), right_top, right_bottom)
    top, bottom = max(0.0, top_left, top_right), min(float(first.shape[0]), bottom_left, bottom_right)
    return left, top, max(left, right), max(top, bottom)


def _inside(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> float:
    """The overlap as a share of the smaller picture."""
    left, top, right, bottom = _overlap(first, second, matrix)
    smaller = min(first.size, max(second.size * abs(float(np.linalg.det(matrix[:, :2]))), LEAST * first.size))
    return (right - left) * (bottom - top) / smaller


@dataclass(frozen=True)
class _Way:
    """A way to lay the second picture: mirrored or not, inside the first or around it, and the width and height of the inner one in the outer's pixels."""

    mirrored: bool
    inward: bool
    size: tuple[int, int]


@lru_cache(maxsize=1024)
def _ways(first: tuple[int, ...], second: tuple[int, ...], mirrored: tuple[bool, ...]) -> Sequence[_Way]:
    """All ways to lay a picture of one height and width over one of another."""
    ways = []
    for turned, scale, stretched in itertools.product(mirrored, SCALES, (False, True)):
        for inward in (False, True) if scale < 1.0 else (False,):
            outer, inner = (second, first) if inward else (first, second)
            size = _inner_size(outer, inner, scale, stretched)
            if size is not None:
                ways.append(_Way(turned, inward, size))
    return ways


def _laid(first: Still, second: Still, way: _Way, size: float) -> Placement:
    """Where the inner of two pictures of a size lies best, to the pixel."""
    outer, inner, turned = (second, first, (way.mirrored, False)) if way.inward else (first, second, (False, way.mirrored))
    around = _sized(outer, size, turned[0])
    width, height = min(round(way.size[0] * size), around.shape[1]), min(round(way.size[1] * size), around.shape[0])
    found = cv2.matchTemplate(around, inner.sized(width, height, turned[1]), cv2.TM_CCOEFF_NORMED)
    _, agreement, _, (left, top) = cv2.minMaxLoc(found)
    own_height, own_width = _shape(inner, size)
    across, down = width / own_width, height / own_height
    into = np.array([[across, 0, left + (across - 1) / 2], [0, down, top + (down - 1) / 2]], np.float32)
    return Placement(_inverse(into) if way.inward else into, way.mirrored, agreement)


def _inner_size(outer: tuple[int, ...], inner: tuple[int, ...], scale: float, stretched: bool) -> tuple[int, int] | None:
    """Width and height of the inner picture in the outer one's pixels; None where it sticks out, or where stretching changes nothing.

    A picture that is stretched takes the outer one's shape (a film squeezed to another aspect ratio), the others keep their own.
    """
    width, height = round(outer[1] * scale), round(outer[0] * scale)
    own = round(width * inner[0] / inner[1])
    if stretched:
        return (width, height) if abs(height - own) > 1 else None
    if own - outer[0] > max(1, 0.03 * outer[0]):
        return None
    return width, min(own, outer[0])


def _shape(picture: Still, size: float) -> tuple[int, int]:
    """Height and width of a picture at a size."""
    height, width = picture.luma.shape
    return round(height * size), round(width * size)


def _sized(picture: Still, size: float, mirrored: bool = False) -> np.ndarray:
    height, width = _shape(picture, size)
    return picture.sized(width, height, mirrored)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.invertAffineTransform(matrix), np.float32)
