"""The small figures of pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.figures import HEIGHT, WIDTH, asked, histogram


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=50), st.one_of(st.none(), st.floats(-1e3, 1e3)))
def test_every_bar_and_the_allowed_stretch_lie_inside_the_figure(values, minimum):
    made = histogram("motion", values, minimum, None)
    assert all(0 <= bar.x and bar.x + bar.width <= WIDTH and 0 <= bar.y and bar.y + bar.height <= HEIGHT + 0.01 for bar in made.bars)
    if made.allowed is not None:
        assert made.allowed[0] >= 0 and made.allowed[0] + made.allowed[1] <= WIDTH + 0.02


def test_nulls_are_counted_apart_and_never_drawn():
    made = histogram("aesthetic", [1.0, None, 2.0, None, None], None, None)
    assert made.note == "2 clips, 3 unmeasured"
    assert len(made.bars) == 2


@pytest.mark.parametrize(("bounds", "words"), [((None, None), ""), ((4.0, None), "≥ 4"), ((None, 0.5), "≤ 0.5"), ((0.1, 3.0), "0.1 – 3")])
def test_a_range_is_said_in_the_fewest_words(bounds, words):
    assert asked(*bounds) == words
