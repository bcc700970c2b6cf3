"""Statistics of a picture that change when its quality does: energies of frequency bands, their spread over the frame, and normalised contrast."""

from collections.abc import Sequence

import cv2
import numpy as np

BANDS = 5
"""Levels of a Laplacian pyramid (Burt and Adelson 1983), finest first."""

QUANTILES = (0.05, 0.2, 0.5, 0.9)

WORTH_COUNTING = 4096
"""Values fewer than this are sorted sooner than counted."""


def statistics(luma: np.ndarray) -> dict[str, float]:
    """All statistics of a luma picture, float32 (H, W) in 0-255, by name; logarithms where they span decades."""
    return {**band_statistics(luma), **contrast_statistics(luma), **flatness(luma)}


def band_statistics(luma: np.ndarray) -> dict[str, float]:
    """Per band its energy, how heavy its tails are, and quantiles of its energy over the frame.

    Blur empties the finest bands, noise fills their calmest places, compression empties those and leaves the strongest.
    """
    found: dict[str, float] = {"log_deviation": float(np.log(luma.std() + 1))}
    finer = luma
    for number in range(BANDS):
        coarser = cv2.GaussianBlur(finer, (5, 5), 1.0)
        band = finer - coarser
        power, magnitude = cv2.norm(band, cv2.NORM_L2SQR) / band.size, cv2.norm(band, cv2.NORM_L1) / band.size
        found[f"band{number}"] = float(np.log(power + 0.05))
        found[f"band{number}_tails"] = float(np.log(power + 0.02) - 2 * np.log(magnitude + 0.1))
        local = cv2.sqrBoxFilter(band, -1, (9, 9))[4:-4:2, 4:-4:2]
        levels = quantiles(local, QUANTILES) if local.size else np.zeros(len(QUANTILES))
        found |= {f"band{number}_q{round(100 * share):02d}": float(np.log(level + 0.02)) for share, level in zip(QUANTILES, levels, strict=True)}
        finer = np.ascontiguousarray(coarser[::2, ::2])
    return found


def contrast_statistics(luma: np.ndarray) -> dict[str, float]:
    """Spread, tails and neighbour correlations of mean-subtracted contrast-normalised luma (Ruderman 1994; BRISQUE, Mittal et al. 2012)."""
    mean = cv2.GaussianBlur(luma, (7, 7), 7 / 6)
    deviation = np.sqrt(np.abs(cv2.GaussianBlur(cv2.multiply(luma, luma), (7, 7), 7 / 6) - cv2.multiply(mean, mean)))
    normal = cv2.divide(luma - mean, deviation + 1)
    square = cv2.multiply(normal, normal)
    variance = cv2.norm(normal, cv2.NORM_L2SQR) / normal.size - cv2.mean(normal)[0] ** 2 + 1e-6
    tails = cv2.norm(square, cv2.NORM_L2SQR) / square.size
    found = {"contrast_spread": float(np.log(variance)), "contrast_tails": float(np.log(tails / variance**2 + 1e-6))}
    for name, (down, across) in {"across": (0, 1), "down": (1, 0), "diagonal": (1, 1)}.items():
        product = normal[down:, across:] * normal[: normal.shape[0] - down, : normal.shape[1] - across]
        found[f"contrast_{name}"] = float(product.mean() / variance)
    return found


def flatness(luma: np.ndarray) -> dict[str, float]:
    """Shares of the frame in which neighbours hardly differ, at one pixel and over eight: what coarse quantisation leaves."""
    steps = np.abs(np.diff(luma, axis=1))
    shares = {"flat_share": (cv2.boxFilter(steps, -1, (8, 8)), 0.4), "equal_share": (steps, 1.0)}
    return {name: np.count_nonzero(values < bound) / steps.size for name, (values, bound) in shares.items()}


def quantiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """What `np.quantile` says (Hyndman and Fan 1996, definition 7) of float32 values that are not negative, float64, in a third of the time."""
    flat = np.abs(values, dtype=np.float32).ravel()  # a sum that runs along may end a hair below nought
    places = np.asarray(shares) * (flat.size - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, flat.size - 1)
    ranks = np.union1d(below, above)
    ordered = dict(zip(ranks.tolist(), _at_ranks(flat, ranks).tolist(), strict=True))
    low, high = (np.array([ordered[rank] for rank in wanted.tolist()]) for wanted in (below, above))
    return low + (high - low) * (places - below)


def _at_ranks(flat: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The values that would stand at some ranks, were all sorted: only those that share their leading bits with one are.

    The bits of floats that are not negative are in order as the floats are; the leading 16 part them finer than by a hundredth.
    """
    if flat.size < WORTH_COUNTING:
        return np.sort(flat)[ranks]
    leading = flat.view(np.int32) >> 16
    reached = np.bincount(leading).cumsum()
    made = np.empty(len(ranks), flat.dtype)
    buckets = np.searchsorted(reached, ranks, side="right")
    for bucket in np.unique(buckets):
        members = np.sort(flat[leading == bucket])
        here = buckets == bucket
        made[here] = members[ranks[here] - (reached[bucket] - members.size)]
    return made


def grey_quantiles(luma: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The same of whole grey levels, uint8 (H, W), by counting them."""
    reached = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel().astype(np.int64).cumsum()
    places = np.asarray(shares) * (luma.size - 1)
    below, above = (np.searchsorted(reached, np.minimum(np.floor(places) + step, luma.size - 1), side="right") for step in (0, 1))
    return below + (above - below) * (places - np.floor(places))
