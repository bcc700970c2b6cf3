"""Cascade: cheap signals settle the clear cuts and fades; TransNetV2 looks only at the windows left in doubt."""

import numpy as np

from curate.media.frames import Frames
from curate.shots.base import Boundary, ShotDetector
from curate.shots.fronts import front
from curate.shots.recent import Recent
from curate.shots.settle import Verdict, returns, verdict
from curate.shots.signals import AROUND, colour_change, likeness
from curate.shots.transnet import TransNet

AHEAD = 48
"""Frames seen after a boundary's middle before it is told: half of the longest hold of a fade, or of a wipe."""
LONGEST_DOUBT = 32
"""A doubt that goes on for longer is looked at in parts."""
CONTEXT = 16
"""Frames around a doubt that the network sees with it."""
KEPT = 112
"""Frames kept before the frontier, for what straddles it."""
FLAT, PICTURE, NEAR, LONGEST_HOLD = 6.0, 10.0, 16, 75
"""A fade goes through frames whose luma deviates by less than FLAT, between pictures that deviate by PICTURE, NEAR frames away."""
DIFFERENT = 0.8
"""Likeness under which the pictures before and after a fade are two scenes."""
LAGS, STRIDE, RECOLOURED_AT = (4, 8, 16), 4, (6, 12)
UNLIKE, COLOUR_CHANGE = 0.65, 0.25
"""A gradual change may be going on where frames some way before and after are less alike than this, and so much of them has other colours."""
HIT, WITHIN, SHORT = 0.5, 0.2, 4
"""Probability of a boundary, of lying within its transition, and frames up to which a transition may be one sudden change after all."""


class Cascade(ShotDetector):
    """Boundaries by rules where they are plain, by TransNetV2 where they are not.

    Args:
        network: TransNetV2; None to leave doubts unsettled, which finds fewer of the gradual transitions.
        everywhere: look at every frame with the network, as a GPU can afford; the rules still hold.
    """

    def __init__(self, network: TransNet | None, everywhere: bool = False) -> None:
        self._network, self._everywhere = network, everywhere
        self._recent = Recent()
        self._verdicts: dict[int, Verdict] = {}
        self._judged = 1
        self._told: Boundary | None = None
        self.sent_frames = 0
        """Frames that the network was shown, those shown twice counted twice."""

    def observe(self, frames: Frames) -> list[Boundary]:
        self._recent.add(frames.pictures)
        return self._advance(self._recent.end - AHEAD, self._recent.end - AROUND)

    def finish(self) -> list[Boundary]:
        return self._advance(self._recent.end, self._recent.end, True)

    def _advance(self, known: int, judge: int, last: bool = False) -> list[Boundary]:
        self._judge(judge)
        if known <= self.frontier:
            return []
        flats = self._flats()
        doubts = [(self.frontier, known)] if self._everywhere else self._doubts(known, flats)
        target = known
        if doubts and doubts[-1][1] >= known and not last and known - doubts[-1][0] < LONGEST_DOUBT:
            target = max(doubts.pop()[0], self.frontier)
        found = [Boundary(number, number) for number, told in self._verdicts.items() if told is Verdict.CUT and self.frontier <= number < target]
        found += [flat for flat in flats if self.frontier <= (flat.start + flat.end) // 2 < target]
        for start, end in doubts:
            moving = self._by_front(start, end)
            found += [moving] if moving else self._by_network(start, end) if self._network else []
        boundaries = self._tell(found)
        self.frontier = target
        self._recent.forget(target - KEPT)
        self._verdicts = {number: told for number, told in self._verdicts.items() if number >= self._recent.first}
        return boundaries

    def _judge(self, until: int) -> None:
        """Verdicts on the sudden changes up to a frame."""
        if until > self._judged:
            for number, sudden in enumerate(self._recent.suddenness(self._judged, until), start=self._judged):
                told = verdict(self._recent, number, float(sudden))
                if told:
                    self._verdicts[number] = told
            self._judged = until

    def _flats(self) -> list[Boundary]:
        """Fades: runs of flat frames between different pictures; the boundary is all that is neither."""
        recent, found = self._recent, []
        flags = np.concatenate([[False], recent.spread < FLAT, [False]]).astype(np.int8)
        for begin, end in np.flatnonzero(np.diff(flags)).reshape(-1, 2):
            before = np.flatnonzero(recent.spread[max(begin - NEAR, 0) : begin] >= PICTURE)
            after = np.flatnonzero(recent.spread[end : end + NEAR] >= PICTURE)
            if len(before) == 0 or len(after) == 0 or end - begin > LONGEST_HOLD:
                continue
            b, a = max(begin - NEAR, 0) + before[-1], end + after[0]
            if likeness(recent.luma[b : b + 1], recent.luma[a : a + 1], 2)[0] < DIFFERENT:
                found.append(Boundary(recent.first + int(b) + 1, recent.first + int(a)))
        return found

    def _doubts(self, known: int, flats: list[Boundary]) -> list[tuple[int, int]]:
        """Runs of frames, from the frontier up to `known`, about which the signals cannot decide."""
        start = self.frontier
        doubtful = np.zeros(known - start, bool)
        for number, told in self._verdicts.items():
            if told is Verdict.DOUBT and start <= number < known and not any(flat.start - 2 <= number <= flat.end + 2 for flat in flats):
                doubtful[max(number - 1 - start, 0) : number + 2 - start] = True
        settled = [(number, number) for number, told in self._verdicts.items() if told is not Verdict.DOUBT]
        settled += [(flat.start, flat.end) for flat in flats]
        middles = np.arange(-(-start // STRIDE) * STRIDE, known, STRIDE)
        middles = middles[self._recoloured(middles)]
        for lag in LAGS:
            clear = np.array([not any(s - lag <= middle <= e + lag for s, e in settled) for middle in middles], bool)
            for number in self._unlike(middles[clear], lag):
                doubtful[number - start : number + STRIDE - start] = True
        flags = np.concatenate([[False], doubtful, [False]]).astype(np.int8)
        return [(start + int(a), start + int(b)) for a, b in np.flatnonzero(np.diff(flags)).reshape(-1, 2)]

    def _recoloured(self, middles: np.ndarray) -> np.ndarray:
        """Whether colours differ between some frames before and after each, far and near."""
        pictures = self._recent.pictures
        changed = [colour_change(*(pictures[self._indices(middles + offset)] for offset in (-reach, reach))) for reach in RECOLOURED_AT]
        return np.minimum(*changed) > COLOUR_CHANGE

    def _unlike(self, middles: np.ndarray, lag: int) -> np.ndarray:
        """Those between whose `lag`th frames before and after there is little likeness."""
        one, other = (self._recent.luma[self._indices(middles + offset)] for offset in (-lag, lag))
        return middles[likeness(one, other, 2) < UNLIKE]

    def _indices(self, numbers: np.ndarray) -> np.ndarray:
        return np.clip(numbers - self._recent.first, 0, len(self._recent.luma) - 1)

    def _by_front(self, start: int, end: int) -> Boundary | None:
        """A wipe or the like."""
        recent = self._recent
        low, high = max(start - CONTEXT, recent.first), min(end + CONTEXT, recent.end)
        found = front(recent.pictures[recent.at(low, high)])
        boundary = Boundary(low + found[1], low + found[2]) if found else None
        return boundary if boundary and not returns(recent, boundary.start, boundary.end) else None

    def _by_network(self, start: int, end: int) -> list[Boundary]:
        recent = self._recent
        assert self._network is not None
        low, high = max(start - CONTEXT, recent.first), min(end + CONTEXT, recent.end)
        probability = self._network.window(recent.pictures[recent.at(low, high)])
        self.sent_frames += high - low
        hits = low + np.flatnonzero(probability[:, 0] > HIT)
        found: list[Boundary] = []
        for hit in hits:
            if not start - 4 <= hit < end + 4 or (found and hit < found[-1].end + 2):
                continue
            region = self._region(probability, int(hit) - low)
            boundary = self._placed(low + region[0], low + region[1])
            if boundary.end >= 2 and not returns(recent, boundary.start, boundary.end):
                found.append(boundary)
        return found

    @staticmethod
    def _region(probability: np.ndarray, hit: int) -> tuple[int, int]:
        """The frames around a hit that lie within the same transition."""
        begin, end = hit, hit + 1
        while begin > 0 and probability[begin - 1].max() > WITHIN:
            begin -= 1
        while end < len(probability) and probability[end].max() > WITHIN:
            end += 1
        return begin, end

    def _placed(self, start: int, end: int) -> Boundary:
        """A region as a boundary: at its one sudden change if it is short and has one, else all of it."""
        change = self._recent.change[self._recent.at(start, end + 2)]
        peak = int(change.argmax())
        if end - start <= SHORT and change[peak] > 2 * np.partition(change, -2)[-2]:
            return Boundary(start + peak, start + peak)
        return Boundary(start, end)

    def _tell(self, found: list[Boundary]) -> list[Boundary]:
        """Boundaries in order, each once."""
        told = []
        for boundary in sorted(found):
            if self._told is None or boundary.start > self._told.end + 1:
                told.append(boundary)
                self._told = boundary
        return told
