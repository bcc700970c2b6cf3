"""Fronts: wipes, irises, barn doors and pushes, found as a front that moves across the picture and leaves another scene behind it."""

from functools import cache

import numpy as np

BLOCK = 3
LENGTHS = (40, 34, 28, 20, 14, 10)
"""Frames between the two scenes compared, the longest first."""
CONTRAST_LEVELS = 10.0
"""Blocks in which the two scenes differ by less tell nothing."""
LEAST_TELLING = 0.5
FIT, SHARPNESS = 0.85, 0.9
"""Share of the variance of switching times that the shape must explain, and of (block, frame)s on the right side of their switch."""
LEAST_TRAVEL = 0.3
"""Share of the frames compared for which the front must be on its way."""


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
    low, high = np.percentile(switch, [5, 95])
    if sharp < SHARPNESS or high - low < max(3, LEAST_TRAVEL * length):
        return None
    fit = max(_explained(design[use.ravel()], switch) for design in _designs(*use.shape))
    return (fit, int(low), int(np.ceil(high)) + 1) if fit >= FIT else None


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


def _explained(design: np.ndarray, values: np.ndarray) -> float:
    """Share of the variance that a linear model explains."""
    solved = np.linalg.lstsq(design, values, rcond=None)[0]
    left = values - design @ solved
    return float(1 - left.var() / max(values.var(), 1e-9))
