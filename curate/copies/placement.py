"""Placement: how one picture lies over another: scale, shift and mirror, found roughly by template matching and then to a fraction of a pixel.

The fine step maximises the enhanced correlation coefficient (Evangelidis and Psarakis 2008), which contrast and brightness do not change.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

SCALES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
COARSE, HOPEFUL = 0.25, 4
"""At this size all ways to lay a picture are tried, and so many of them at full size."""
HOPELESS = 0.6
"""Rough agreement below which refining is not worth it."""
INSIDE = 0.975
"""Share of one picture that must lie inside the other: a crop does, and a camera that moved on does not."""
STEPS, PRECISION = 30, 1e-4


@dataclass(frozen=True)
class Placement:
    """How the second picture lies over the first.

    Attributes:
        matrix: float32 (2, 3), takes positions in the second picture, after any mirroring, to positions in the first.
        mirrored: whether the second picture is mirrored.
        agreement: normalised correlation of the two where they overlap, -1 to 1.
    """

    matrix: np.ndarray
    mirrored: bool
    agreement: float


def place(first: np.ndarray, second: np.ndarray, mirror: bool) -> Placement | None:
    """The placement under which two float32 luma pictures agree best; None where they do not agree at all."""
    rough = _rough(first, second, mirror)
    if rough is None or rough.agreement < HOPELESS:
        return None
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, PRECISION)
    start = _inverse(rough.matrix)
    try:
        _, back = cv2.findTransformECC(first, _turned(second, rough.mirrored), start, cv2.MOTION_AFFINE, criteria)
    except cv2.error:  # it did not converge, so the rough placement is the best there is
        return rough
    matrix = _inverse(np.asarray(back))
    fine = Placement(matrix, rough.mirrored, 0.0)
    if _inside(first, second, fine) < INSIDE:
        return rough
    fine = dataclasses.replace(fine, agreement=correlation(*overlaid(first, second, fine)))
    return max((rough, fine), key=lambda placement: placement.agreement)


def overlaid(first: np.ndarray, second: np.ndarray, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """The parts of the first and of the second picture that lie over one another, in the first one's pixels; empty where there are none."""
    height, width = first.shape
    left, top, right, bottom = _overlap(first, second, placement)
    rows, columns = slice(math.ceil(top), math.floor(bottom)), slice(math.ceil(left), math.floor(right))
    laid = cv2.warpAffine(_turned(second, placement.mirrored), placement.matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return first[rows, columns], laid[rows, columns]


def _overlap(first: np.ndarray, second: np.ndarray, placement: Placement) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the largest upright rectangle, in the first picture, over which the second lies."""
    height, width = second.shape
    corners = placement.matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], np.float32)
    (left_top, right_top, left_bottom, right_bottom), (top_left, top_right, bottom_left, bottom_right) = corners.tolist()
    left, right = max(0.0, left_top, left_bottom), min(float(first.shape[1]), right_top, right_bottom)
    top, bottom = max(0.0, top_left, top_right), min(float(first.shape[0]), bottom_left, bottom_right)
    return left, top, max(left, right), max(top, bottom)


def _inside(first: np.ndarray, second: np.ndarray, placement: Placement) -> float:
    """The overlap as a share of the smaller picture."""
    left, top, right, bottom = _overlap(first, second, placement)
    smaller = min(first.size, second.size * abs(float(np.linalg.det(placement.matrix[:, :2]))))
    return (right - left) * (bottom - top) / max(smaller, 1.0)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Normalised correlation of two pictures of one size; 0 where there is nothing to compare."""
    if first.size < 64:
        return 0.0
    one, other = first - first.mean(), second - second.mean()
    return float((one * other).sum() / (np.sqrt((one**2).sum() * (other**2).sum()) + 1e-9))


@dataclass(frozen=True)
class _Way:
    """A way to lay the second picture: mirrored or not, inside the first or around it, and the width and height of the inner one in the outer's pixels."""

    mirrored: bool
    inward: bool
    size: tuple[int, int]


def _rough(first: np.ndarray, second: np.ndarray, mirror: bool) -> Placement | None:
    """The best placement of either picture inside the other, in steps of a twentieth of the width."""
    small_first, small_second = (cv2.resize(picture, None, fx=COARSE, fy=COARSE, interpolation=cv2.INTER_AREA) for picture in (first, second))
    ways = sorted(_ways(first, second, mirror), key=lambda way: _laid(small_first, small_second, way, COARSE).agreement, reverse=True)
    return max((_laid(first, second, way) for way in ways[:HOPEFUL]), key=lambda placement: placement.agreement, default=None)


def _ways(first: np.ndarray, second: np.ndarray, mirror: bool) -> Iterator[_Way]:
    for mirrored, scale, stretched in itertools.product((False, True) if mirror else (False,), SCALES, (False, True)):
        for inward in (False, True) if scale < 1.0 else (False,):
            outer, inner = (second, first) if inward else (first, second)
            size = _inner_size(outer.shape, inner.shape, scale, stretched)
            if size is not None:
                yield _Way(mirrored, inward, size)


def _laid(first: np.ndarray, second: np.ndarray, way: _Way, shrunk: float = 1.0) -> Placement:
    """Where the inner picture lies best; both may be shrunk, by what the way's size is to be shrunk by."""
    other = _turned(second, way.mirrored)
    outer, inner = (other, first) if way.inward else (first, other)
    width, height = min(round(way.size[0] * shrunk), outer.shape[1]), min(round(way.size[1] * shrunk), outer.shape[0])
    found = cv2.matchTemplate(outer, cv2.resize(inner, (width, height), interpolation=cv2.INTER_AREA), cv2.TM_CCOEFF_NORMED)
    _, agreement, _, (left, top) = cv2.minMaxLoc(found)
    into = np.array([[width / inner.shape[1], 0, left], [0, height / inner.shape[0], top]], np.float32)
    return Placement(_inverse(into) if way.inward else into, way.mirrored, float(agreement))


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


def _turned(picture: np.ndarray, mirrored: bool) -> np.ndarray:
    return np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.invertAffineTransform(matrix), np.float32)
