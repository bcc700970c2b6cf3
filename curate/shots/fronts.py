"""Fronts: wipes, irises, barn doors and pushes, found as a front that moves across the picture and leaves another scene behind it."""

from functools import cache

import numpy as np

BLOCK = 3
LENGTHS = (40, 34, 28, 20, 14, 10)
"""Frames between the two scenes compared, the longest first."""
CONTRAST_LEVELS = 10.0
"""Blocks in which the two scenes differ by less tell nothing."""
LEAST_TELLING = 0.5
FIT, SHARPNESS = 0.985, 0.9
"""Share of the variance of switching times that the shape must explain, and of (block, frame)s on the right side of their switch."""
KEPT, STEPS = 0.8, 3
"""Share of the blocks that must make the shape, and rounds of leaving out those that fit worst."""
LEAST_TRAVEL, SHORTEST = 0.3, 6
"""Share of the frames compared for which the front must be on its way, and frames at the least: a whipped camera or a passing object is quicker."""


def front(pictures: np.ndarray) -> tuple[float, int, int] | None:
    """The best front in a run of frames, uint8 (T, 27, 48, 3): how well it fits (0-1), the first frame it touches and the frame after the last."""
    best: tuple[float, int, int] | None = None
    for length in LENGTHS:
        for start in range(0, len(pictures) - length, 4):
            found = between(pictures[start : start + length + 1])
            if found and (best is None or found[0] > best[0]):
                best = (found[0], start + found[1], start + found[2])
    return best


def between(pictures: np.ndarray) -> tuple[float, int, int] | None:
    """A front between the first and the last of these frames; see `front`.

    Every 3x3 block of pixels has a time at which it stops looking like the first frame and begins to look like the last. Over the
    picture these times make a plane (a wipe), a cone (an iris), a pyramid (a box) or a ridge (barn doors).
    """
    length = len(pictures) - 1
    frames = pictures.astype(np.int16)
    one, other = frames[0], frames[-1]
    telling = _blocks(np.abs(one - other).mean(-1)[None])[0]
    use = telling > CONTRAST_LEVELS
    if use.mean() < LEAST_TELLING:
        return None
    to_one, to_other = (_blocks(np.abs(frames[1:-1] - end).mean(-1)) for end in (one, other))
    other_like = (to_other < to_one)[:, use]
    switch = (~other_like).sum(0) + 1.0
    steps = np.arange(1, length)[:, None] >= switch[None]
    sharp = float((steps == other_like).mean())
    if sharp < SHARPNESS or np.ptp(switch) < LEAST_TRAVEL * length:
        return None
    fit, low, high = max(_explained(design[use.ravel()], switch) for design in _designs(*use.shape))
    travels = high - low >= max(SHORTEST, LEAST_TRAVEL * length)
    return (fit, int(low), int(np.ceil(high)) + 1) if fit >= FIT and travels else None


def _blocks(values: np.ndarray) -> np.ndarray:
    """Means over blocks, (T, H, W) to (T, H / 3, W / 3)."""
    frames, height, width = values.shape
    return values.reshape(frames, height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((2, 4))


@cache
def _designs(rows: int, columns: int) -> list[np.ndarray]:
    """The shapes of fronts, each as columns of a linear model over blocks."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    shapes = [(x, y), (np.hypot(x * 16 / 9, y),), (np.hypot(x, y),), (np.maximum(np.abs(x), np.abs(y)),), (np.abs(x),), (np.abs(y),)]
    return [np.stack([np.ones_like(x), *shape], -1).reshape(rows * columns, -1) for shape in shapes]


def _explained(design: np.ndarray, values: np.ndarray) -> tuple[float, float, float]:
    """Share of the variance that a linear model explains of the best KEPT share of values; and between which values these lie (5 % and 95 %).

    Least trimmed squares by concentration steps (Rousseeuw and Van Driessen 2006): a subject that moves across the front spoils its own blocks only.
    """
    kept, count = np.ones(len(values), bool), round(KEPT * len(values))
    for _ in range(STEPS):
        solved = np.linalg.lstsq(design[kept], values[kept], rcond=None)[0]
        left = np.abs(values - design @ solved)
        kept = left <= np.partition(left, count - 1)[count - 1]
    low, high = np.percentile(values[kept], [5, 95])
    return float(1 - left[kept].var() / max(values[kept].var(), 1e-9)), float(low), float(high)
