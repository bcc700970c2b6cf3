"""Signals: what 48x27 pictures of consecutive frames say about change, cheaply: how much, how suddenly, and whether it is the same scene."""

import cv2
import numpy as np

AROUND = 8
"""Frames on either side with which a change is compared."""
QUIET_LEVELS = 0.3
"""Change that is nothing, in luma levels."""


def luma_of(pictures: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W) of RGB (T, H, W, 3)."""
    frames, height, width, _ = pictures.shape
    return cv2.cvtColor(np.ascontiguousarray(pictures).reshape(frames * height, width, 3), cv2.COLOR_RGB2GRAY).reshape(frames, height, width)


def changes(luma: np.ndarray) -> np.ndarray:
    """Levels by which each frame leaves its predecessor's local range of values, (T - 1,).

    A pixel counts by how far it lies outside the range of the 3x3 pixels around it in the other frame, averaged both ways: movement by
    a pixel, noise and grain cost nothing.
    """
    if len(luma) < 2:
        return np.empty(0)
    least, most = _local_range(luma)
    one_way = cv2.add(cv2.subtract(luma[1:], most[:-1]), cv2.subtract(least[:-1], luma[1:]))
    other_way = cv2.add(cv2.subtract(luma[:-1], most[1:]), cv2.subtract(least[1:], luma[:-1]))
    return (one_way.mean((1, 2)) + other_way.mean((1, 2))) / 2


def _local_range(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most of the 3x3 pixels around each."""
    padded = np.pad(luma, ((0, 0), (1, 1), (1, 1)), mode="edge")
    ranges = []
    for pick in (np.minimum, np.maximum):
        across = pick(pick(padded[:, :, :-2], padded[:, :, 1:-1]), padded[:, :, 2:])
        ranges.append(pick(pick(across[:, :-2], across[:, 1:-1]), across[:, 2:]))
    return ranges[0], ranges[1]


def suddenness(change: np.ndarray) -> np.ndarray:
    """Each change over the mean of the two largest others within AROUND frames, (T,): a cut stands alone, movement does not."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(change, AROUND), 2 * AROUND + 1).copy()
    windows[:, AROUND] = 0
    windows.partition(2 * AROUND - 1, axis=1)
    return change / (windows[:, -2:].mean(1) + QUIET_LEVELS)


def likeness(first: np.ndarray, second: np.ndarray, reach: int) -> np.ndarray:
    """Normalised correlation of pairs of pictures (N, H, W) under the best shift of up to `reach` pixels, (N,): 1 is the same scene.

    Gain and offset do not matter to it, so exposure does not either.
    """
    if len(first) == 0:
        return np.empty(0, np.float32)
    height, width = first.shape[1:]
    best = np.full(len(first), -1.0, np.float32)
    first, second = first.astype(np.float32), second.astype(np.float32)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            a = first[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)].reshape(len(first), -1)
            b = second[:, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)].reshape(len(second), -1)
            best = np.maximum(best, correlation(a, b))
    return best


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of rows (N, M) with rows; flat ones correlate with each other, and with nothing else."""
    a_mean, b_mean = a.mean(1), b.mean(1)
    shared = np.einsum("nm,nm->n", a, b) / a.shape[1] - a_mean * b_mean
    a_power, b_power = (np.einsum("nm,nm->n", x, x) / x.shape[1] - mean**2 for x, mean in ((a, a_mean), (b, b_mean)))
    return (shared + 1) / np.sqrt((np.maximum(a_power, 0) + 1) * (np.maximum(b_power, 0) + 1))


def correlation_ratio(given: np.ndarray, of: np.ndarray, bins: int = 16) -> float:
    """Share of the variance of picture `of` explained by a function of picture `given` (Roche et al. 1998): 1 under any tone curve."""
    index = (given.ravel().astype(np.int64) * bins) >> 8
    values = of.ravel().astype(np.float64)
    count = np.bincount(index, minlength=bins)
    total = np.bincount(index, values, minlength=bins)
    explained = float((total**2 / np.maximum(count, 1)).sum() / len(values) - values.mean() ** 2)
    return explained / max(float(values.var()), 1.0)


def colour_change(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of pixels that changed colour, of pairs of RGB pictures (N, H, W, 3): histograms of 64 colours in 2x2 cells, (N,)."""
    return np.abs(_cell_histograms(first) - _cell_histograms(second)).sum(1) / 2


def _cell_histograms(pictures: np.ndarray) -> np.ndarray:
    frames, height, width, _ = pictures.shape
    colours = pictures >> 6
    bins = (colours[..., 0].astype(np.int64) << 4) + (colours[..., 1] << 2) + colours[..., 2]
    cell = (np.arange(height) * 2 // height)[:, None] * 2 + np.arange(width) * 2 // width
    flat = (np.arange(frames)[:, None, None] * 4 + cell) * 64 + bins
    return np.bincount(flat.ravel(), minlength=frames * 256).reshape(frames, 256) / (height * width)
