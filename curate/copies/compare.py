"""Compare: whether two clips show the same footage, by laying their pictures over one another and their times along one another.

One frame of each must agree nearly everywhere once scale, shift, contrast and (if asked for) a mirror are taken out, show enough for that to mean
something, and no other frame may contradict it under the same placement. Two takes of one scene, or two objects before one background, agree in much of
the picture and not in all.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from curate.copies.fingerprint import MIRROR, Footage, Still
from curate.copies.placement import Placement, correlation, overlaid, place

TRIED = 6
"""Pairs of pictures, the likeliest first, of which one must agree."""
AGREES = 0.96
BLOCKS = 10
FLAT = 0.12
"""Detail, in deviations of the picture, that a part is granted at least: noise of flat parts is not a difference."""
DIFFERS, STANDS = 0.6, 0.3
OUTLYING, ROUNDS = 0.3, 4
"""Deviations of the picture beyond which tones do not fit the curve between two pictures, and how often it is drawn anew."""
LEAST_SHOWN, SAME_STRUCTURE = 0.25, 0.7
"""Share of parts in which both must show something, and the same by its correlation: an edge between two plain fields lies well over any other."""
UNLIKE_SHARE = 0.12
"""Parts that may differ: a logo, a subtitle."""
CONTRADICTED_SHARE = 0.3
"""Parts that, having stood still, may differ in between: somebody passes by and the picture is as before."""
AT_ONCE_S, AT_ONCE_SHARE = 0.08, 0.2
"""Pictures of one moment, within so many seconds, may differ in fewer parts."""
CHANGED_SHARE = 0.15
"""Parts that must differ from one moment to another for both clips to show the same change."""
LEAST_OVERLAP = 0.5
"""Share of the shorter clip that must lie within the other."""
SLOWEST = 0.5


def differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How two pictures of one size differ in each of BLOCKS x BLOCKS parts, relative to what is to be seen there: float32 (BLOCKS, BLOCKS).

    0 is the same, 1 as much as the part deviates from its own mean; parts without detail are measured against the whole picture's.
    """
    if min(first.shape) < BLOCKS:
        return np.full((BLOCKS, BLOCKS), np.inf, np.float32)
    return _apart(*toned(first, second))


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`differences` of two pictures that are in the same tones."""
    return _pooled(np.abs(one - other)) / (np.maximum(_detail(one), _detail(other)) + FLAT)


def toned(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of one size in the same tones, of about mean 0 and deviation 1, whatever curve was laid over one of them.

    The curve is a parabola that is fitted where it fits well, so that a mark or a banner does not bend it; it takes the tones of one to those of the
    other, in whichever direction leaves less: tones that were clipped away cannot be brought back.
    """
    one, other = _even(first), _even(second)
    there, back = _curve(other, one), _curve(one, other)
    left = [float(np.minimum(np.abs(away), OUTLYING).mean()) for away in (there - one, back - other)]
    return (one, there) if left[0] <= left[1] else (back, other)


def _curve(tones: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Tones taken to the wanted ones by a parabola that those which do not fit have no say in."""
    powers = np.stack([np.ones_like(tones), tones, tones * tones], axis=-1).reshape(-1, 3)
    target, weights = wanted.ravel(), np.ones(tones.size, np.float32)
    for _ in range(ROUNDS):
        weighed = powers * weights[:, None]
        made = powers @ np.linalg.lstsq(weighed.T @ powers, weighed.T @ target, rcond=None)[0].astype(np.float32)
        weights = 1 / (1 + ((made - target) / OUTLYING) ** 2)
    return made.reshape(tones.shape)


def _agreement(one: np.ndarray, other: np.ndarray, unlike: np.ndarray) -> float:
    """Normalised correlation of two pictures that are in the same tones, over the parts that are not unlike: -1 to 1."""
    within = cv2.resize((~unlike).astype(np.uint8), (one.shape[1], one.shape[0]), interpolation=cv2.INTER_NEAREST).astype(bool)
    return correlation(one[within], other[within])


def _alike(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the parts of two pictures that are in the same tones in which there is something to be seen in both, and the same."""
    one, other = (picture - _means(picture) for picture in (first, second))
    structure = _pooled(one * other) / np.sqrt(_pooled(one * one) * _pooled(other * other) + 1e-6)
    return float(((np.minimum(_pooled(np.abs(one)), _pooled(np.abs(other))) >= FLAT) & (structure > SAME_STRUCTURE)).mean())


def shown(picture: np.ndarray) -> float:
    """Share of a picture's parts in which there is something to be seen."""
    return float((_detail(_even(picture)) >= FLAT).mean()) if min(picture.shape) >= BLOCKS else 0.0


def _even(picture: np.ndarray) -> np.ndarray:
    """A picture of mean 0 and deviation 1."""
    return (picture - picture.mean()) / (picture.std() + 1e-6)


def _detail(picture: np.ndarray) -> np.ndarray:
    return _pooled(np.abs(picture - _means(picture)))


def _means(picture: np.ndarray) -> np.ndarray:
    """Each part's mean, in all of its pixels."""
    return cv2.resize(_pooled(picture), (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_NEAREST)


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
        if placement is None:
            continue
        laid = overlaid(one.luma, other.luma, placement)
        if min(laid[0].shape) < BLOCKS:
            continue
        laid = toned(*laid)
        unlike = _apart(*laid) > DIFFERS
        if unlike.mean() > UNLIKE_SHARE or _alike(*laid) < LEAST_SHOWN:
            continue
        agreed = _agreement(*laid, unlike)
        if agreed >= AGREES and any(_fits(first, second, one.time_s, other.time_s, rate, placement, unlike) for rate in _rates(first, second)):
            return agreed
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
    """Whether the clips overlap for long enough when these two moments coincide, and no picture contradicts it.

    Where both show the same change, what happens between their moments contradicts nothing: somebody raised a hand and let it fall.
    """
    if first.length_s and second.length_s:
        start_s, end_s = max(0.0, at_s - rate * beside_s), min(first.length_s, at_s + rate * (second.length_s - beside_s))
        if end_s - start_s < LEAST_OVERLAP * min(first.length_s, rate * second.length_s):
            return False
    forth = Beside(first, second, lambda time_s: at_s + rate * (time_s - beside_s), placement, False)
    back = Beside(second, first, lambda time_s: beside_s + (time_s - at_s) / rate, placement, True)
    only_at_once = forth.shows_the_same_change() or back.shows_the_same_change()
    return not any(one.contradicted(unlike, only_at_once) for one in (forth, back))


@dataclass(frozen=True)
class Beside:
    """One clip's pictures among another's, which they lie over as a placement says.

    Attributes:
        outer: the clip among whose pictures the others are looked for.
        inner: the other one.
        moment: takes times of the inner clip to times of the outer.
        placement: how the second clip's pictures lie over the first's.
        swapped: whether the outer clip is the second.
    """

    outer: Footage
    inner: Footage
    moment: Callable[[float], float]
    placement: Placement
    swapped: bool

    def contradicted(self, unlike: np.ndarray, only_at_once: bool) -> bool:
        """Whether some picture of the inner clip differs where the outer one stood still from before its moment till after it.

        Parts that are unlike in the pair that agrees best (a watermark, say) say nothing.
        """
        for still, before, after, apart_s in self._pairs():
            if apart_s > AT_ONCE_S and only_at_once:
                continue
            laid = [self._laid(one, still) for one in ((before,) if before is after else (before, after))]
            stood = differences(laid[0][0], laid[-1][0]) < STANDS
            apart = np.minimum.reduce([differences(*pair) for pair in laid]) > DIFFERS
            allowed = AT_ONCE_SHARE if apart_s <= AT_ONCE_S else CONTRADICTED_SHARE
            if (stood & apart & ~unlike).mean() > allowed:
                return True
        return False

    def shows_the_same_change(self) -> bool:
        """Whether pictures of two moments agree, and differ from one moment to the other."""
        agreed: list[np.ndarray] = []
        for still, before, _, apart_s in self._pairs():
            if apart_s > AT_ONCE_S:
                continue
            outer, inner = self._laid(before, still)
            if (differences(outer, inner) > DIFFERS).mean() > UNLIKE_SHARE:
                continue
            if any((differences(outer, earlier) > DIFFERS).mean() > CHANGED_SHARE for earlier in agreed):
                return True
            agreed.append(outer)
        return False

    def _pairs(self) -> Iterator[tuple[Still, Still, Still, float]]:
        """Each inner picture between two outer ones, with the seconds to the farther of them."""
        for still in self.inner.stills:
            time_s = self.moment(still.time_s)
            before = max((one for one in self.outer.stills if one.time_s <= time_s + AT_ONCE_S), key=lambda one: one.time_s, default=None)
            after = min((one for one in self.outer.stills if one.time_s >= time_s - AT_ONCE_S), key=lambda one: one.time_s, default=None)
            if before is not None and after is not None:
                yield still, before, after, max(abs(one.time_s - time_s) for one in (before, after))

    def _laid(self, outer: Still, inner: Still) -> tuple[np.ndarray, np.ndarray]:
        if not self.swapped:
            return overlaid(outer.luma, inner.luma, self.placement)
        part, other = overlaid(inner.luma, outer.luma, self.placement)
        return other, part
