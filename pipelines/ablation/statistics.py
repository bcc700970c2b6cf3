"""Statistics of paired trials: intervals over seeds, corrections for many questions, power, and the coverage that intervals really have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST_FOR_BOOTSTRAP = 8
MOST_SEEDS, MOST_CLIPS = 10_000, 1_000_000


@dataclass(frozen=True)
class Interval:
    """An estimated mean difference and how sure of it we are.

    Attributes:
        estimate: mean of the differences, in the metric's unit.
        low, high: bounds of the two-sided confidence interval; infinite where there are too few seeds for one.
        p: two-sided p-value against no difference, by the same method as the interval.
        spread: standard deviation of the differences over seeds; nan for one seed.
        seeds: number of pairs.
        confidence: nominal coverage, such as 0.95.
        method: `paired-t` or `hierarchical-bootstrap`.
    """

    estimate: float
    low: float
    high: float
    p: float
    spread: float
    seeds: int
    confidence: float
    method: str

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def paired_t(differences: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """Student's t interval for the mean of one difference per seed (Student 1908).

    One seed gives an infinite interval and p = 1: it says nothing about other seeds.
    """
    values = np.asarray(differences, dtype=float)
    count = len(values)
    if count == 0:
        raise ValueError("no seed was finished by both arms, so there is no difference to test")
    if count == 1:
        return Interval(float(values[0]), -np.inf, np.inf, 1.0, float("nan"), 1, confidence, "paired-t")
    spread = float(values.std(ddof=1))
    error = spread / np.sqrt(count)
    reach = float(stats.t.ppf(0.5 + confidence / 2, count - 1)) * error
    mean = float(values.mean())
    return Interval(mean, mean - reach, mean + reach, _p_of_t(mean, error, count), spread, count, confidence, "paired-t")


def _p_of_t(mean: float, error: float, count: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, count - 1))


def hierarchical_bootstrap(differences: np.ndarray, rng: np.random.Generator, confidence: float = 0.95, draws: int = 4000) -> Interval:
    """Expanded percentile interval from resampling seeds and, crossed with them, clips.

    Seeds and clips are both drawn with replacement, so the interval speaks about other seeds and other clips. A percentile
    interval of n seeds is too narrow; its percentiles are moved outwards until a mean of n normal values is covered as
    Student's t covers it (Hesterberg 2015, "What teachers should know about the bootstrap", on expanded percentiles).

    Args:
        differences: one value per seed and clip, shape (seeds, clips).

    Raises:
        ValueError: fewer than 8 seeds, for which this covers less than it says.
    """
    values = np.asarray(differences, dtype=float)
    seeds = len(values)
    if seeds < FEWEST_FOR_BOOTSTRAP:
        raise ValueError(f"a hierarchical bootstrap needs {FEWEST_FOR_BOOTSTRAP} seeds or more and has {seeds}; use a paired t interval")
    means = _resampled_means(values, rng, draws)
    widened = np.sqrt(seeds / (seeds - 1))
    tail = stats.norm.cdf(widened * stats.t.ppf(0.5 - confidence / 2, seeds - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    beyond = (1 + min((means <= 0).sum(), (means >= 0).sum())) / (draws + 1)
    p = min(1.0, 2 * stats.t.cdf(stats.norm.ppf(beyond) / widened, seeds - 1))
    spread = float(values.mean(axis=1).std(ddof=1))
    return Interval(float(values.mean()), float(low), float(high), float(p), spread, seeds, confidence, "hierarchical-bootstrap")


def _resampled_means(values: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Means of `draws` resamples: how often each seed and each clip was drawn, times the differences."""
    seeds, clips = values.shape
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    clip_weights = rng.multinomial(clips, np.full(clips, 1 / clips), size=draws) / clips
    return np.asarray(np.einsum("ds,sc,dc->d", seed_weights, values, clip_weights, optimize=True))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for asking several questions, in the order given (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def power(effect: float, spread: float, seeds: int, alpha: float = 0.05) -> float:
    """Chance that a paired t test over `seeds` finds a true mean difference of `effect` (noncentral t)."""
    if seeds < 2:
        return 0.0
    if spread == 0:
        return 1.0 if effect else alpha
    shift = abs(effect) / spread * np.sqrt(seeds)
    edge = stats.t.ppf(1 - alpha / 2, seeds - 1)
    missed = stats.nct.cdf(edge, seeds - 1, shift) - stats.nct.cdf(-edge, seeds - 1, shift)
    return float(1 - missed) if np.isfinite(missed) else 1.0


def seeds_needed(effect: float, spread: float, alpha: float = 0.05, wanted: float = 0.8) -> int | None:
    """Fewest seeds with which `effect` is found with chance `wanted`; None above 10,000."""
    return _smallest(lambda seeds: power(effect, spread, seeds, alpha) >= wanted, 2, MOST_SEEDS)


def detectable_effect(spread: float, seeds: int, alpha: float = 0.05, wanted: float = 0.8) -> float:
    """The smallest true difference that `seeds` find with chance `wanted`, in the metric's unit; infinite for one seed."""
    if seeds < 2 or not np.isfinite(spread):
        return float("inf")
    if spread == 0:
        return 0.0
    low, high = 0.0, spread
    while power(high, spread, seeds, alpha) < wanted:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, spread, seeds, alpha) >= wanted else (middle, high)
    return high


@dataclass(frozen=True)
class Components:
    """Where the spread of differences comes from: standard deviations, in the metric's unit, never below 0.

    Attributes:
        seeds: between seeds, the same for all clips.
        clips: between clips, the same for all seeds.
        rest: of a clip under a seed.
    """

    seeds: float
    clips: float
    rest: float


def components(differences: np.ndarray) -> Components:
    """Variance components of a crossed design without repeats, by the method of moments (Searle, Casella, McCulloch 1992, ch. 4)."""
    values = np.asarray(differences, dtype=float)
    seeds, clips = values.shape
    if seeds < 2 or clips < 2:
        return Components(float("nan"), float("nan"), float("nan"))
    by_seed, by_clip, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = float(((values - by_seed[:, None] - by_clip[None] + mean) ** 2).sum() / ((seeds - 1) * (clips - 1)))
    of_seeds = max(0.0, float(by_seed.var(ddof=1)) - rest / clips)
    of_clips = max(0.0, float(by_clip.var(ddof=1)) - rest / seeds)
    return Components(of_seeds**0.5, of_clips**0.5, rest**0.5)


def clips_needed(effect: float, parts: Components, seeds: int, alpha: float = 0.05, wanted: float = 0.8) -> int | None:
    """Fewest held-out clips with which `seeds` find `effect`; None where no number of clips is enough, since seeds differ by themselves."""
    return _smallest(lambda clips: power(effect, (parts.seeds**2 + parts.rest**2 / clips) ** 0.5, seeds, alpha) >= wanted, 2, MOST_CLIPS)


def _smallest(enough: Callable[[int], bool], fewest: int, most: int) -> int | None:
    """The smallest count that is enough, for a condition that stays true once it is."""
    if not enough(most):
        return None
    low, high = fewest - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def coverage(
    interval: Callable[[np.ndarray], tuple[float, float]], parts: Components, seeds: int, clips: int, repetitions: int, rng: np.random.Generator
) -> float:
    """Share of simulated experiments whose interval holds the true mean difference (which is 0).

    Each simulated experiment draws seed, clip and remaining effects from normal distributions of the given spreads.

    Args:
        interval: differences of shape (seeds, clips) to the interval's low and high.
    """
    held = 0
    for _ in range(repetitions):
        values = rng.normal(0, parts.rest, (seeds, clips)) + rng.normal(0, parts.seeds, (seeds, 1)) + rng.normal(0, parts.clips, (1, clips))
        low, high = interval(values)
        held += low <= 0 <= high
    return held / repetitions
