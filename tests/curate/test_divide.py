"""Dividing shots into clips: no frame lost, none twice, nothing of the next shot, and nothing that waits for the end of a shot."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from curate.divide import REST_FRAMES, Divider, Lengths
from curate.shots.base import Boundary


def divided(frames, boundaries, lengths=None, fps=25.0, step=16, behind=48):
    """Feeds a film's times and boundaries as a reading would."""
    divider, times_s, told = Divider(lengths or Lengths()), np.arange(frames) / fps, list(boundaries)
    made = []
    for start in range(0, frames, step):
        divider.add_times(times_s[start : start + step])
        frontier = max(0, min(start + step, frames) - behind)
        known = [boundary for boundary in told if (boundary.start + boundary.end) // 2 < frontier]
        told = told[len(known) :]
        made.append(divider.advance(known, frontier))
    made += [divider.advance(told, 0), divider.finish(frames / fps)]
    return [list(itertools.chain(*(getattr(part, name) for part in made))) for name in ("shots", "clips", "gaps")]


def spans(pieces):
    return [(piece.span.start_frame, piece.span.end_frame) for piece in pieces]


@some.composite
def films(draw):
    """A film's number of frames and the boundaries of its shots, some of them hard, some gradual, some close together."""
    at, boundaries = 0, []
    for length, wide in draw(some.lists(some.tuples(some.integers(2, 400), some.integers(0, 30)), max_size=8)):
        boundaries.append(Boundary(at + length, at + length + wide))
        at += length + wide + 2
    return at + draw(some.integers(1, 400)), boundaries


@settings(max_examples=60, deadline=None)
@given(films(), some.sampled_from([8.0, 25.0, 60.0]), some.integers(0, 3))
def test_every_frame_is_in_exactly_one_clip_or_gap(film, fps, margin):
    frames, boundaries = film
    _, clips, gaps = divided(frames, boundaries, Lengths(margin_frames=margin), fps)
    pieces = sorted(spans(clips) + spans(gaps))
    assert [start for start, _ in pieces] == [0, *(end for _, end in pieces[:-1])]
    assert pieces[-1][1] == frames


@settings(max_examples=60, deadline=None)
@given(films())
def test_no_clip_holds_a_frame_of_a_transition_or_of_another_shot(film):
    frames, boundaries = film
    shots, clips, _ = divided(frames, boundaries)
    of = {shot.index: shot.span for shot in shots}
    for clip in clips:
        assert of[clip.shot_index].start_frame <= clip.span.start_frame < clip.span.end_frame <= of[clip.shot_index].end_frame
        assert all(clip.span.end_frame <= boundary.start or clip.span.start_frame >= boundary.end for boundary in boundaries)


@settings(max_examples=40, deadline=None)
@given(films(), some.integers(1, 90))
def test_how_the_film_arrives_changes_nothing(film, step):
    assert divided(*film, step=step) == divided(*film)


def test_divisions_touch_and_transitions_leave_a_margin():
    _, clips, gaps = divided(500, [Boundary(290, 290)])
    assert spans(clips) == [(0, 125), (125, 289), (291, 416), (416, 500)]
    assert spans(gaps) == [(289, 291)] and gaps[0].rule == "transition"


def test_a_shot_that_goes_on_a_little_after_the_target_stays_whole():
    assert spans(divided(125 + REST_FRAMES - 1, [])[1]) == [(0, 125 + REST_FRAMES - 1)]
    assert spans(divided(125 + REST_FRAMES, [])[1]) == [(0, 125), (125, 125 + REST_FRAMES)]


def test_a_short_shot_is_a_shot_and_a_gap_with_its_length():
    shots, clips, gaps = divided(110, [Boundary(50, 50), Boundary(60, 60)])
    assert spans(shots) == [(0, 50), (50, 60), (60, 110)]
    assert spans(clips) == [(0, 49), (61, 110)]
    assert [(gap.rule, gap.detail) for gap in gaps if gap.rule == "length"] == [("length", "8 frames, fewer than 16")]


def test_clips_of_few_frames_a_second_have_the_minimum_of_frames():
    _, clips, _ = divided(100, [], fps=1.0)
    assert min(clip.span.frames for clip in clips) >= 16


def test_a_long_shot_is_divided_before_its_end_is_known():
    divider = Divider(Lengths())
    divider.add_times(np.arange(400) / 25)
    assert spans(divider.advance([], 350).clips) == [(0, 125), (125, 250)]


@pytest.mark.parametrize("wrong", [{"target_s": 12.0}, {"minimum_frames": 0}, {"margin_frames": -1}])
def test_impossible_lengths_are_refused(wrong):
    with pytest.raises(ValueError, match="lengths must satisfy"):
        Lengths(**wrong)
