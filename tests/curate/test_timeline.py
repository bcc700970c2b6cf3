"""Times from stamps: exact, always rising, bounded whatever the container claims."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from curate.media.timeline import LONGEST_INTERVAL_S, Timeline


def timeline(stamps, base=Fraction(1, 1000), rate=Fraction(25), duration=0):
    made = Timeline(base, rate)
    for stamp in stamps:
        made.add(stamp, duration)
    return made


def times(stamps, **options):
    made = timeline(stamps, **options)
    return made.times_from(0, made.count)


def test_times_are_stamps_from_the_first_one_on():
    assert times([500, 540, 600, 640]) == [0.0, 0.04, 0.1, 0.14, 0.18]


def test_thirty_thousand_thousand_and_firsts_do_not_drift():
    stamps = range(0, 1001 * 100_000, 1001)
    made = timeline(stamps, base=Fraction(1, 30_000), duration=1001)
    assert made.end_s == pytest.approx(100_000 * 1001 / 30_000, abs=1e-6)
    assert not made.is_variable


BASES = some.just(Fraction(1, 1000)) | some.fractions(Fraction(1, 10**6), 2**31, max_denominator=10**6)
RATES = some.none() | some.just(Fraction(25)) | some.fractions(Fraction(1, 2**31), 2**31)


@given(some.lists(some.none() | some.integers(-(2**62), 2**62), min_size=1, max_size=60), BASES, RATES)
@example(stamps=[0, None, 2], base=Fraction(1, 1000), rate=Fraction(1, 10**9))
@example(stamps=[0, 1, 2], base=Fraction(10**9), rate=None)
@example(stamps=[0, None], base=Fraction(40), rate=Fraction(1, 60))
def test_whatever_the_stamps_the_clock_and_the_rate_times_rise_and_no_interval_is_long(stamps, base, rate):
    steps = np.diff(times(stamps, base=base, rate=rate))
    assert (steps > 0).all() and (steps <= LONGEST_INTERVAL_S).all()


def test_a_last_frame_a_day_later_does_not_make_a_day():
    made = timeline([*range(0, 4000, 40), 86_400_000])
    assert made.end_s == pytest.approx(4.04) and made.jumps == 1


def test_a_stamp_that_falls_back_a_little_does_not_shift_what_follows():
    assert times([0, 40, 80, 60, 160, 200])[-2:] == [0.2, 0.24]


def test_intervals_that_differ_by_rounding_are_one_rate():
    assert not timeline([0, 33, 67, 100, 133, 167]).is_variable
    assert timeline([0, 40, 80, 240, 280]).is_variable


def test_frames_without_stamps_are_one_usual_interval_apart():
    assert times([None, None, None]) == [0.0, 0.04, 0.08, 0.12]


def test_a_clock_whose_tick_is_longer_than_any_interval_is_not_believed():
    assert times([0, 1, 2], base=Fraction(10**9), rate=Fraction(1, 10**9)) == [0.0, 0.04, 0.08, 0.12]
