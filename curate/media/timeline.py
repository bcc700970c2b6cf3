"""Timeline: rational presentation times turned into seconds from the first frame, always rising, whatever the container stamps."""

from collections import deque
from fractions import Fraction

LONGEST_INTERVAL_S = 60
BELIEVED_RATE, PLAIN_RATE, PLAIN_CLOCK = 1000, 25, Fraction(1, 90_000)
MICROSECONDS = 6
"""Decimals kept of a time; frames of any rate stay apart, and sums of spans stay exact to the nanosecond."""


class Timeline:
    """Follows the frames of one stream.

    A missing stamp is one usual interval after its predecessor. A stamp that falls back by less than a second (damage) is squeezed in
    just after its predecessor; one that leaps by more, or ahead by more than a minute (a wrapped clock, a lie), is placed one usual
    interval later and what follows is shifted along. `jumps` counts both.

    Args:
        time_base: seconds per tick; kept as the two whole numbers it is made of, which is as exact as a fraction and ten times faster. With a tick
            of more than a minute all stamps are taken to be missing.
        rate: nominal frames per second, for the usual interval before one is known; 25 where it is less than one a minute or more than a thousand.
    """

    def __init__(self, time_base: Fraction | None, rate: Fraction | None) -> None:
        self._stamped = not time_base or time_base <= LONGEST_INTERVAL_S
        base = time_base if time_base and self._stamped else PLAIN_CLOCK
        believed = rate if rate and Fraction(1, LONGEST_INTERVAL_S) <= rate <= BELIEVED_RATE else PLAIN_RATE
        self._numerator, self._denominator = base.numerator, base.denominator
        self._usual = max(1, min(round(1 / believed / base), int(LONGEST_INTERVAL_S / base)))
        self._stamp: int | None = None
        self._elapsed = 0
        self._shortest, self._longest = 0, 0
        self._duration = 0
        self._recent: deque[float] = deque(maxlen=4096)
        self.count = 0
        self.jumps = 0

    def add(self, stamp: int | None, duration: int | None) -> None:
        """The next frame: its presentation stamp and its duration in ticks, where the container gives them."""
        stamp = stamp if self._stamped else None
        if self.count:
            self._elapsed += self._step(stamp)
        elif stamp is not None:
            self._stamp = stamp
        self._duration = duration or 0
        self.count += 1
        self._recent.append(self._seconds(self._elapsed))

    def _step(self, stamp: int | None) -> int:
        """Ticks from the predecessor; `_stamp` follows along in the container's own ticks."""
        if stamp is None or self._stamp is None:
            self._stamp = stamp if self._stamp is None else self._stamp + self._usual
            return self._usual
        step = stamp - self._stamp
        falls_back = -self._denominator < step * self._numerator <= 0
        if falls_back or not 0 < step * self._numerator <= LONGEST_INTERVAL_S * self._denominator:
            self.jumps += 1
            step = max(1, self._usual // 4) if falls_back else self._usual
            self._stamp = self._stamp + step if falls_back else stamp
            return step
        self._stamp = stamp
        self._shortest = min(self._shortest or step, step)
        self._longest = max(self._longest, step)
        self._usual = step if self.count == 1 else self._usual
        return step

    def _seconds(self, ticks: int) -> float:
        return round(ticks * self._numerator / self._denominator, MICROSECONDS)

    @property
    def end_s(self) -> float:
        """When the last frame ends: by its own duration, else after a usual interval."""
        lasts = self._duration if 0 < self._duration * self._numerator <= LONGEST_INTERVAL_S * self._denominator else self._usual
        return self._seconds(self._elapsed + lasts) if self.count else 0.0

    @property
    def is_variable(self) -> bool:
        """Whether intervals differ by more than rounding (two ticks, or a tenth)."""
        return self._longest - self._shortest > max(2, self._shortest // 10)

    def times_from(self, start: int, frames: int) -> list[float]:
        """Seconds at which `frames` frames from number `start` begin, and at which the last of them ends."""
        offset = start - (self.count - len(self._recent))
        times = [self._recent[offset + index] for index in range(frames + 1) if offset + index < len(self._recent)]
        return times if len(times) > frames else [*times, self.end_s]
