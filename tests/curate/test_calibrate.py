"""Thresholds carried between scorers by quantiles."""

import numpy as np
import pyarrow as pa
import pytest

from curate.calibrate import CalibrationError, calibrate
from curate.corpus import open_corpus
from schemas.clip import CLIPS, UNMEASURED


def measured(corpus, maker: str, values, column: str = "aesthetic", missing: int = 0) -> None:
    """Writes a scorer's values for clips 0, 1, …; the last `missing` are null."""
    told = [None if number >= len(values) - missing else float(value) for number, value in enumerate(values)]
    schema = pa.schema([CLIPS.field("clip_id"), CLIPS.field(column), *UNMEASURED])
    rows = [{"clip_id": f"clip{number:04d}", column: value, "unmeasured": []} for number, value in enumerate(told)]
    corpus.append(f"measures/{maker}", pa.Table.from_pylist(rows, schema=schema), maker)


@pytest.fixture
def corpus(tmp_path):
    made = open_corpus(str(tmp_path / "corpus"), create=True)
    values = np.random.default_rng(0).uniform(0, 1, 400)
    measured(made, "handcrafted@1", values)
    measured(made, "laion_v2@1-0123abcd", 3 + 4 * values**2, missing=20)
    return made


def test_a_threshold_keeps_the_same_share(corpus):
    made = calibrate(corpus, "aesthetic", "handcrafted", "laion_v2")
    assert (made.source, made.target, len(made.pairs)) == ("handcrafted@1", "laion_v2@1-0123abcd", 380)
    assert made.carry(0.5) == pytest.approx(4.0, abs=0.05) and made.agreement == pytest.approx(1.0)
    assert (made.pairs[:, 0] >= 0.5).mean() == pytest.approx((made.pairs[:, 1] >= made.carry(0.5)).mean(), abs=0.01)
    low, high = made.interval(0.5)
    assert low <= made.carry(0.5) <= high and high - low < 0.3


def test_carrying_back_returns(corpus):
    there, back = calibrate(corpus, "aesthetic", "handcrafted@1", "laion_v2"), calibrate(corpus, "aesthetic", "laion_v2", "handcrafted")
    for threshold in (0.1, 0.5, 0.9):
        assert back.carry(there.carry(threshold)) == pytest.approx(threshold, abs=0.01)


def test_scorers_that_disagree_are_said_to(corpus):
    measured(corpus, "dice@1", np.random.default_rng(1).uniform(0, 1, 400))
    assert "which is weak" in calibrate(corpus, "aesthetic", "handcrafted", "dice").summary(0.5)
    assert "which is weak" not in calibrate(corpus, "aesthetic", "handcrafted", "laion_v2").summary(0.5)


@pytest.mark.parametrize(
    ("column", "source", "said"),
    [
        ("aesthetics", "handcrafted", "not a numeric column"),
        ("caption", "handcrafted", "not a numeric column"),
        ("aesthetic", "clip", "no measure of aesthetic"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_there_is(corpus, column, source, said):
    with pytest.raises(CalibrationError, match=said):
        calibrate(corpus, column, source, "laion_v2")


def test_too_few_clips_are_refused_with_what_to_do(corpus):
    measured(corpus, "few@1", np.arange(10))
    with pytest.raises(CalibrationError, match="10 clips in common"):
        calibrate(corpus, "aesthetic", "handcrafted", "few")
