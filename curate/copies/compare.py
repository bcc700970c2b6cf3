"""Compare: whether two clips show the same footage, by laying their pictures over one another and their times along one another.

One frame of each must agree nearly everywhere once scale, shift, contrast and (if asked for) a mirror are taken out, show enough for that to mean
something, and no other frame may contradict it under the same placement. Two takes of one scene, or two objects before one background, agree in much of
the picture and not in all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from curate.copies.fingerprint import MIRROR, Footage, Still
from curate.copies.placement import SMALL, Placement, overlaid, place, roughly
from curate.copies.tones import FLAT, Even, Toned, even, toned

TRIED = 8
"""Pairs of pictures, the likeliest first, of which one must agree."""
NEARLY_SAME = 0.99
"""Cosine of two pictures of a clip from which they lie over others alike, or both lie over none."""
EITHER_WAY = 0.1
"""Cosine by which a picture must be more like the other, or more like it mirrored, for only that to be tried."""
AGREES = 0.96
DIFFERS, STANDS = 0.6, 0.3
LEAST_SHOWN = 0.25
"""Share of parts in which both must show something, and the same: an edge between two plain fields lies well over any other."""
UNLIKE_SHARE = 0.12
"""Parts that may differ: a logo, a subtitle."""
HOPELESS_SHOWN, HOPELESS_SHARE = 0.2, 0.3
"""The same two of small pictures, which lie less well, beyond which others are not asked."""
CONTRADICTED_SHARE = 0.3
"""Parts that, having stood still, may differ in between: somebody passes by and the picture is as before."""
AT_ONCE_S, AT_ONCE_SHARE = 0.08, 0.2
"""Pictures of one moment, within so many seconds, may differ in fewer parts."""
CHANGED_SHARE = 0.15
"""Parts that must differ from one moment to another for both clips to show the same change."""
LEAST_OVERLAP = 0.5
"""Share of the shorter clip that must lie within the other."""
SLOWEST = 0.5


def shown(picture: np.ndarray) -> float:
    """Share of a picture's parts in which there is something to be seen."""
    return float((even(picture).detail >= FLAT).mean())


def same_footage(first: Footage, second: Footage, mirror: bool = False) -> float:
    """How surely two clips show the same footage: the agreement of the likeliest pair of pictures that agrees, or 0 where none does.

    Args:
        first: one clip.
        second: the other.
        mirror: whether a mirrored copy is a copy.
    """
    tried: dict[tuple[int, int], Overlay | None] = {}
    for i, j, mirrored in _likeliest(first, second, mirror):
        nearly = [pair for pair in tried if _nearly_same(first, i, pair[0]) and _nearly_same(second, j, pair[1])]
        agreeing = (one for one in tried.values() if one is not None and one.at(i, j).agreement)
        overlay = tried[nearly[0]] if nearly else next(agreeing, None) or _overlay(first, second, i, j, mirrored)
        if overlay is not None and overlay.at(i, j).agreement and any(_fits(overlay, i, j, rate) for rate in _rates(first, second)):
            return overlay.at(i, j).agreement
        tried[i, j] = overlay
    return 0.0


def _likeliest(first: Footage, second: Footage, mirror: bool) -> Iterator[tuple[int, int, tuple[bool, ...]]]:
    """The pairs of pictures to be tried, by the cosine of their descriptors, either one being the crop; and whether the second could be mirrored."""
    upright, turned = (_likeness(first.described, second.described * signs) for signs in (1, MIRROR))
    best = np.maximum(upright, turned) if mirror else upright
    for number in np.argsort(-best, axis=None, kind="stable")[:TRIED].tolist():
        i, j = divmod(number, best.shape[1])
        could = [not mirror or upright[i, j] >= best[i, j] - EITHER_WAY, mirror and turned[i, j] >= best[i, j] - EITHER_WAY]
        yield i, j, tuple(way for way in (False, True) if could[way])


def _likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines of descriptors (N, CROPS, DIMENSIONS) and (M, CROPS, DIMENSIONS), the best crop of either with the other's whole: float32 (N, M)."""
    crops = np.tensordot(first, second[:, 0], (2, 1)), np.tensordot(first[:, 0], second, (1, 2))
    return np.maximum(crops[0].max(axis=1), crops[1].max(axis=2))


def _nearly_same(clip: Footage, one: int, other: int) -> bool:
    return one == other or float(clip.described[one, 0] @ clip.described[other, 0]) >= NEARLY_SAME


def _overlay(first: Footage, second: Footage, i: int, j: int, mirrored: tuple[bool, ...]) -> "Overlay | None":
    """The clips as their pictures i and j lie best; None where these, made small, differ too much or show too little alike to be worth the pains."""
    one, other = first.stills[i], second.stills[j]
    rough = roughly(one, other, mirrored)
    if rough is None:
        return None
    laid = toned(*map(even, overlaid(one, other, rough.placement, SMALL)))
    if (laid.differences() > DIFFERS).mean() > HOPELESS_SHARE or laid.alike() < HOPELESS_SHOWN:
        return None
    return Overlay(first, second, place(one, other, rough))


def _rates(first: Footage, second: Footage) -> tuple[float, ...]:
    """How fast the first may run beside the second: alike, or so that both last equally long (a whole clip that was re-timed)."""
    ratio = first.length_s / second.length_s if second.length_s else 1.0
    return (1.0, ratio) if SLOWEST <= ratio <= 1 / SLOWEST and ratio != 1.0 else (1.0,)


@dataclass(frozen=True)
class Laid:
    """A picture of one clip over one of the other.

    Attributes:
        outer, inner: both where they overlap.
        toned: both in the same tones.
        unlike: the parts that differ, bool (BLOCKS, BLOCKS).
    """

    outer: Even
    inner: Even
    toned: Toned
    unlike: np.ndarray

    @cached_property
    def agreement(self) -> float:
        """How well they agree where they do; 0 where they differ in too much, or show too little."""
        if self.unlike.mean() > UNLIKE_SHARE or self.toned.alike() < LEAST_SHOWN:
            return 0.0
        agreed = self.toned.agreement(self.unlike)
        return agreed if agreed >= AGREES else 0.0


@dataclass(frozen=True)
class Overlay:
    """The pictures of two clips over one another under one placement; each pair is laid once, when it is first asked for."""

    first: Footage
    second: Footage
    placement: Placement
    _made: dict[tuple[int, int], Laid] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at(self, i: int, j: int) -> Laid:
        """The first clip's picture i and the second's picture j."""
        if (i, j) not in self._made:
            one, other = map(even, overlaid(self.first.stills[i], self.second.stills[j], self.placement))
            both = toned(one, other)
            self._made[i, j] = Laid(one, other, both, both.differences() > DIFFERS)
        return self._made[i, j]

    def swapped(self, j: int, i: int) -> Laid:
        """The second clip's picture j and the first's picture i."""
        laid = self.at(i, j)
        return Laid(laid.inner, laid.outer, laid.toned, laid.unlike)


def _fits(overlay: Overlay, i: int, j: int, rate: float) -> bool:
    """Whether the clips overlap for long enough when the moments of two pictures that agree coincide, and no picture contradicts it.

    Where both show the same change, what happens between their moments contradicts nothing: somebody raised a hand and let it fall.
    """
    first, second = overlay.first, overlay.second
    at_s, beside_s, unlike = first.stills[i].time_s, second.stills[j].time_s, overlay.at(i, j).unlike
    if first.length_s and second.length_s:
        start_s, end_s = max(0.0, at_s - rate * beside_s), min(first.length_s, at_s + rate * (second.length_s - beside_s))
        if end_s - start_s < LEAST_OVERLAP * min(first.length_s, rate * second.length_s):
            return False
    forth = Beside(first.stills, [at_s + rate * (one.time_s - beside_s) for one in second.stills], overlay.at)
    back = Beside(second.stills, [beside_s + (one.time_s - at_s) / rate for one in first.stills], overlay.swapped)
    if any(one.contradicted(unlike, at_once=True) for one in (forth, back)):
        return False
    return not any(one.contradicted(unlike, at_once=False) for one in (forth, back)) or forth.shows_the_same_change() or back.shows_the_same_change()


@dataclass(frozen=True)
class Beside:
    """One clip's pictures among another's.

    Attributes:
        outer: the pictures of the clip among which the other's are looked for.
        times_s: the moments, of the outer clip, of the inner one's pictures.
        at: the outer clip's picture, by its number, and the inner's, laid over one another.
    """

    outer: Sequence[Still]
    times_s: Sequence[float]
    at: Callable[[int, int], Laid]

    def contradicted(self, unlike: np.ndarray, at_once: bool) -> bool:
        """Whether some picture of the inner clip differs where the outer one stood still from before its moment till after it.

        Args:
            unlike: parts that say nothing, for they are unlike in the pair that agrees best (a watermark, say).
            at_once: whether pictures that the outer clip has one of the same moment for are looked at, or the others.
        """
        allowed = AT_ONCE_SHARE if at_once else CONTRADICTED_SHARE
        for inner, before, after in self._pairs(at_once):
            apart = self.at(before, inner).unlike & ~unlike
            if apart.mean() <= allowed:
                continue
            if before != after:
                apart &= self.at(after, inner).unlike
                apart &= toned(self.at(before, inner).outer, self.at(after, inner).outer).differences() < STANDS
            if apart.mean() > allowed:
                return True
        return False

    def shows_the_same_change(self) -> bool:
        """Whether pictures of two moments agree, and differ from one moment to the other."""
        agreed: list[Even] = []
        for inner, before, _ in self._pairs(at_once=True):
            laid = self.at(before, inner)
            if laid.unlike.mean() > UNLIKE_SHARE:
                continue
            if any((toned(laid.outer, earlier).differences() > DIFFERS).mean() > CHANGED_SHARE for earlier in agreed):
                return True
            agreed.append(laid.outer)
        return False

    def _pairs(self, at_once: bool) -> Iterator[tuple[int, int, int]]:
        """Each inner picture between two outer ones, by number, of which the farther is of the same moment or is not."""
        times = [one.time_s for one in self.outer]
        for inner, time_s in enumerate(self.times_s):
            before = max((n for n, t in enumerate(times) if t <= time_s + AT_ONCE_S), key=times.__getitem__, default=None)
            after = min((n for n, t in enumerate(times) if t >= time_s - AT_ONCE_S), key=times.__getitem__, default=None)
            if before is None or after is None:
                continue
            if (max(abs(times[before] - time_s), abs(times[after] - time_s)) <= AT_ONCE_S) == at_once:
                yield inner, before, after
