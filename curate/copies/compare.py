"""Compare: whether two clips show the same footage, by laying their pictures over one another and their times along one another.

One frame of each must agree nearly everywhere once scale, shift, contrast and (if asked for) a mirror are taken out, show enough for that to mean
something, and no other frame may contradict it under the same placement. Two takes of one scene, or two objects before one background, agree in much of
the picture and not in all.
"""

import itertools
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from curate.copies.fingerprint import MIRROR, Footage, Still
from curate.copies.placement import Placement, overlaid, place

TRIED = 6
"""Pairs of pictures, the likeliest first, of which one must agree."""
AGREES = 0.96
BLOCKS = 10
FLAT = 0.12
"""Detail, in deviations of the picture, that a part is granted at least: noise of flat parts is not a difference."""
DIFFERS, STANDS = 0.6, 0.3
LEAST_SHOWN = 0.2
"""Share of parts in which both must show something: an edge between two plain fields lies well over any other. Copies of real footage had .29 and more, but
for a screen recording of one square; strangers that agreed all the same, .18 at most."""
UNLIKE_SHARE = 0.12
"""Parts that may differ: a logo, a subtitle."""
CONTRADICTED_SHARE = 0.3
"""Parts that, having stood still, may differ in between: somebody passes by and the picture is as before."""
AT_ONCE_S, AT_ONCE_SHARE = 0.08, 0.2
"""Pictures of one moment, within so many seconds, may differ in fewer parts."""
LEAST_OVERLAP = 0.5
"""Share of the shorter clip that must lie within the other."""
SLOWEST = 0.5


def differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How two pictures of one size differ in each of BLOCKS x BLOCKS parts, relative to what is to be seen there: float32 (BLOCKS, BLOCKS).

    0 is the same, 1 as much as the part deviates from its own mean; parts without detail are measured against the whole picture's.
    """
    if min(first.shape) < BLOCKS:
        return np.full((BLOCKS, BLOCKS), np.inf, np.float32)
    one, other = _even(first), _even(second)
    detail = np.maximum(_detail(one), _detail(other))
    return _pooled(np.abs(one - other)) / (detail + FLAT)


def shown(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the parts of two pictures of one size in which there is something to be seen in both."""
    if min(first.shape) < BLOCKS:
        return 0.0
    return float((np.minimum(_detail(_even(first)), _detail(_even(second))) >= FLAT).mean())


def _even(picture: np.ndarray) -> np.ndarray:
    """A picture of mean 0 and deviation 1."""
    return (picture - picture.mean()) / (picture.std() + 1e-6)


def _detail(picture: np.ndarray) -> np.ndarray:
    means = cv2.resize(_pooled(picture), (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_NEAREST)
    return _pooled(np.abs(picture - means))


def _pooled(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)


def same_footage(first: Footage, second: Footage, mirror: bool = False) -> float:
    """How surely two clips show the same footage: the agreement of the likeliest pair of pictures that agrees, or 0 where none does.

    Args:
        first: one clip.
        second: the other.
        mirror: whether a mirrored copy is a copy.
    """
    for _, i, j in sorted(_likeness(first, second, mirror), reverse=True)[:TRIED]:
        one, other = first.stills[i], second.stills[j]
        placement = place(one.luma, other.luma, mirror)
        if placement is None or placement.agreement < AGREES:
            continue
        laid = overlaid(one.luma, other.luma, placement)
        unlike = differences(*laid) > DIFFERS
        if unlike.mean() > UNLIKE_SHARE or shown(*laid) < LEAST_SHOWN:
            continue
        if any(_fits(first, second, one.time_s, other.time_s, rate, placement, unlike) for rate in _rates(first, second)):
            return placement.agreement
    return 0.0


def _likeness(first: Footage, second: Footage, mirror: bool) -> Iterator[tuple[float, int, int]]:
    """Every pair of pictures, with the cosine of their descriptors, either one being the crop."""
    for (i, one), (j, other) in itertools.product(enumerate(first.described), enumerate(second.described)):
        likeness = max(float((one @ other[0]).max()), float((other @ one[0]).max()))
        if mirror:
            likeness = max(likeness, float(((one * MIRROR) @ other[0]).max()), float(((other * MIRROR) @ one[0]).max()))
        yield likeness, i, j


def _rates(first: Footage, second: Footage) -> tuple[float, ...]:
    """How fast the first may run beside the second: alike, or so that both last equally long (a whole clip that was re-timed)."""
    ratio = first.length_s / second.length_s if second.length_s else 1.0
    return (1.0, ratio) if SLOWEST <= ratio <= 1 / SLOWEST and ratio != 1.0 else (1.0,)


def _fits(first: Footage, second: Footage, at_s: float, beside_s: float, rate: float, placement: Placement, unlike: np.ndarray) -> bool:
    """Whether the clips overlap for long enough when these two moments coincide, and no picture contradicts it."""
    if first.length_s and second.length_s:
        start_s, end_s = max(0.0, at_s - rate * beside_s), min(first.length_s, at_s + rate * (second.length_s - beside_s))
        if end_s - start_s < LEAST_OVERLAP * min(first.length_s, rate * second.length_s):
            return False
    forth = _contradicted(first, second, lambda time_s: at_s + rate * (time_s - beside_s), placement, False, unlike)
    return not forth and not _contradicted(second, first, lambda time_s: beside_s + (time_s - at_s) / rate, placement, True, unlike)


def _contradicted(outer: Footage, inner: Footage, moment: Callable[[float], float], placement: Placement, swapped: bool, unlike: np.ndarray) -> bool:
    """Whether some picture of `inner` differs where `outer` stood still from before its moment till after it.

    Parts that are unlike in the pair that agrees best (a watermark, say) say nothing.
    """
    for still in inner.stills:
        time_s = moment(still.time_s)
        before = max((one for one in outer.stills if one.time_s <= time_s + AT_ONCE_S), key=lambda one: one.time_s, default=None)
        after = min((one for one in outer.stills if one.time_s >= time_s - AT_ONCE_S), key=lambda one: one.time_s, default=None)
        if before is None or after is None:
            continue
        laid = [_outer_first(one, still, placement, swapped) for one in (before, after)]
        stood = differences(laid[0][0], laid[1][0]) < STANDS
        apart = np.minimum(differences(*laid[0]), differences(*laid[1])) > DIFFERS
        allowed = AT_ONCE_SHARE if max(abs(one.time_s - time_s) for one in (before, after)) <= AT_ONCE_S else CONTRADICTED_SHARE
        if (stood & apart & ~unlike).mean() > allowed:
            return True
    return False


def _outer_first(outer: Still, inner: Still, placement: Placement, swapped: bool) -> tuple[np.ndarray, np.ndarray]:
    if not swapped:
        return overlaid(outer.luma, inner.luma, placement)
    part, other = overlaid(inner.luma, outer.luma, placement)
    return other, part
