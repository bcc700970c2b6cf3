"""Distances between two sets of features, and the uncertainty of a mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % bootstrap interval over `count` independent values."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.count})"


def estimate(values: Sequence[float] | np.ndarray, seed: int = 0) -> Estimate:
    """The mean with its percentile interval (Efron 1979); values must be independent, such as one for each clip or each seed."""
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    chosen = np.random.default_rng(seed).integers(0, len(array), (RESAMPLES, len(array)))
    low, high = np.percentile(array[chosen].mean(axis=1), [2.5, 97.5])
    return Estimate(float(array.mean()), float(low), float(high), len(array))


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Fréchet distance between Gaussians fitted to two sets (N, D) and (M, D) (Heusel et al. 2017, section 2).

    Exact for any number of samples: the trace of the root of the product of covariances is the nuclear norm of the product of
    the centred samples, so no matrix root of a singular covariance is taken. Biased upwards when samples are few; compare only
    sets of equal sizes, or use `kernel_distance`.
    """
    centred_one, centred_other = ((part - part.mean(axis=0)) / np.sqrt(max(1, len(part) - 1)) for part in (one, other))
    shared = np.linalg.norm(centred_one @ centred_other.T, ord="nuc")
    spread = (centred_one**2).sum() + (centred_other**2).sum() - 2 * shared
    return float(((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum() + spread)


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018, KID): unbiased for few samples, so it may be below zero."""
    channels = one.shape[1]

    def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (left @ right.T / channels + 1) ** 3

    def within(part: np.ndarray) -> float:
        values = kernel(part, part)
        return float((values.sum() - np.trace(values)) / (len(part) * (len(part) - 1)))

    return within(one) + within(other) - 2 * float(kernel(one, other).mean())


def resampled(distance, one: np.ndarray, other: np.ndarray, seed: int = 0, resamples: int = 200) -> Estimate:
    """A distance with its 95 % bootstrap interval over samples of both sets."""
    chance = np.random.default_rng(seed)
    drawn = [distance(one[chance.integers(0, len(one), len(one))], other[chance.integers(0, len(other), len(other))]) for _ in range(resamples)]
    value = distance(one, other)
    low, high = np.percentile(drawn, [2.5, 97.5]) - np.median(drawn) + value
    return Estimate(value, float(low), float(high), min(len(one), len(other)))
