"""Intervals cover what they say, corrections correct, and power tells how many seeds are enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.ablation.statistics import (
    Components,
    clips_needed,
    components,
    coverage,
    detectable_effect,
    hierarchical_bootstrap,
    holm,
    paired_t,
    power,
    seeds_needed,
)

NOISE = Components(seeds=1.0, clips=0.0, rest=2.0)


def t_bounds(values: np.ndarray) -> tuple[float, float]:
    found = paired_t(values.mean(axis=1))
    return found.low, found.high


def test_a_paired_t_interval_equals_scipys():
    first, second = np.array([1.0, 1.4, 0.9, 1.1, 1.3]), np.array([0.8, 1.1, 0.9, 1.0, 0.9])
    found, known = paired_t(first - second), stats.ttest_rel(first, second)
    bounds = known.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx((known.pvalue, bounds.low, bounds.high))


def test_one_seed_shows_nothing():
    alone = paired_t([5.0])
    assert alone.p == 1 and not alone.excludes_zero and alone.high == np.inf


def test_differences_that_never_vary_are_certain():
    assert paired_t([0.5, 0.5, 0.5]).p == 0
    assert paired_t([0.0, 0.0]).p == 1


def test_no_finished_pair_is_an_error():
    with pytest.raises(ValueError, match="no seed was finished"):
        paired_t([])


@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_a_paired_t_interval_covers_95_of_100_experiments(seeds: int):
    held = coverage(t_bounds, NOISE, seeds, 12, 2000, np.random.default_rng(seeds))
    assert 0.935 < held < 0.965


def test_a_percentile_bootstrap_over_five_seeds_covers_far_less_than_it_says():
    rng = np.random.default_rng(0)

    def percentile(values: np.ndarray) -> tuple[float, float]:
        means = values.mean(axis=1)[rng.integers(0, 5, (500, 5))].mean(axis=1)
        return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))

    assert coverage(percentile, NOISE, 5, 12, 600, rng) < 0.89


@pytest.mark.parametrize("parts", [NOISE, Components(seeds=1.0, clips=1.0, rest=1.0)])
def test_a_hierarchical_bootstrap_over_eight_seeds_covers_what_it_says(parts: Components):
    rng = np.random.default_rng(1)

    def bounds(values: np.ndarray) -> tuple[float, float]:
        found = hierarchical_bootstrap(values, rng, draws=500)
        return found.low, found.high

    assert 0.92 < coverage(bounds, parts, 8, 24, 400, rng) <= 1


def test_a_hierarchical_bootstrap_refuses_seven_seeds():
    with pytest.raises(ValueError, match="needs 8 seeds or more and has 7"):
        hierarchical_bootstrap(np.zeros((7, 5)), np.random.default_rng(0))


def test_the_bootstraps_p_value_and_interval_agree():
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.3, 0.6, 0.9, 1.2):
        found = hierarchical_bootstrap(rng.normal(shift, 1, (10, 20)), rng)
        assert found.excludes_zero == (found.p < 0.05)


def test_holm_equals_a_calculation_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values: list[float]):
    corrected = holm(values)
    assert all(after >= before for before, after in zip(values, corrected))
    assert [corrected[index] for index in np.argsort(values, kind="stable")] == sorted(corrected)


def test_power_matches_simulated_experiments():
    rng = np.random.default_rng(4)
    found = np.mean([paired_t(rng.normal(1, 1, 6)).p < 0.05 for _ in range(2000)])
    assert power(1, 1, 6) == pytest.approx(found, abs=0.03)


@given(st.floats(0.2, 3), st.floats(0.1, 2))
def test_seeds_needed_is_the_first_count_with_enough_power(effect: float, spread: float):
    needed = seeds_needed(effect, spread)
    assert needed is not None and power(effect, spread, needed) >= 0.8
    assert needed == 2 or power(effect, spread, needed - 1) < 0.8


def test_the_detectable_effect_is_found_four_times_in_five():
    effect = detectable_effect(0.7, 5)
    assert power(effect, 0.7, 5) == pytest.approx(0.8, abs=1e-6)
    assert detectable_effect(0.7, 1) == np.inf


def test_more_clips_do_not_help_where_seeds_differ_by_themselves():
    assert clips_needed(0.5, Components(seeds=1.0, clips=0.0, rest=1.0), seeds=5) is None
    assert clips_needed(0.5, Components(seeds=0.1, clips=0.0, rest=2.0), seeds=5) is not None


def test_components_are_recovered_from_simulated_trials():
    rng = np.random.default_rng(5)
    values = rng.normal(0, 2, (60, 1)) + rng.normal(0, 3, (1, 80)) + rng.normal(0, 1, (60, 80))
    parts = components(values)
    assert (parts.seeds, parts.clips, parts.rest) == pytest.approx((2, 3, 1), rel=0.25)
