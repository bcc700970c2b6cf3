"""Distances know equal from different, with few samples too, and intervals cover."""

import numpy as np
import pytest
import scipy.linalg

from train.distances import estimate, frechet, kernel_distance, resampled


def gaussian(count: int, channels: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (count, channels))


def test_frechet_is_the_textbook_formula():
    one, other = gaussian(60, 5, 0), gaussian(70, 5, 1, 0.5, 2.0)
    covariances = [np.cov(part.T) for part in (one, other)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(sum(covariances)) - 2 * np.trace(root).real
    assert frechet(one, other) == pytest.approx(expected, rel=1e-6)


def test_frechet_works_with_fewer_samples_than_channels():
    one = gaussian(6, 50, 0)
    assert frechet(one, one) == pytest.approx(0, abs=1e-8)
    assert frechet(one, one + 1.0) == pytest.approx(50, rel=1e-6)


def test_the_kernel_distance_of_equal_laws_is_near_zero_on_average_and_grows_with_difference():
    equal = [kernel_distance(gaussian(12, 8, 2 * seed), gaussian(12, 8, 2 * seed + 1)) for seed in range(60)]
    assert abs(np.mean(equal)) < 3 * np.std(equal) / np.sqrt(60)
    assert kernel_distance(gaussian(12, 8, 0), gaussian(12, 8, 1, 1.5)) > max(equal)


def test_an_interval_covers_its_mean_about_as_often_as_it_says():
    covered = [(found := estimate(gaussian(25, 1, seed)[:, 0])).low <= 0 <= found.high for seed in range(200)]
    assert 0.87 <= np.mean(covered) <= 0.99


def test_an_interval_of_a_distance_holds_the_distance():
    found = resampled(frechet, gaussian(20, 4, 0), gaussian(20, 4, 1, 0.5), resamples=50)
    assert found.low < found.mean < found.high
    assert str(estimate([])).startswith("nan")
