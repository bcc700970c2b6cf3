"""Camera: the one similarity transform (shift, zoom, turn) that explains most of an optical flow, and what it leaves over."""

from functools import cache

import numpy as np

ROUNDS = 5
"""Rounds of reweighting; four settle most flows."""
SHARPNESS_PX = 0.25
"""Residuals below a quarter of a pixel count in full: the noise of the flow itself."""


def fit(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Robust similarity transforms of several flows at once, by iteratively reweighted least squares with Cauchy weights.

    Weights start from the distance to the median shift, so that a subject covering less than half of the frame does not pull.
    Source: Odobez and Bouthemy (1995); Huber, Robust Statistics (1981), chapter 7.

    Args:
        flow: float (T, h, w, 2): displacement in pixels of cells of a grid, x then y.

    Returns:
        float (T, 4): shift x, shift y (pixels at the centre), zoom and turn (pixels per cell from the centre);
        float (T, h, w, 2): the flow that the transforms explain.
    """
    count, height, width, _ = flow.shape
    design = _design(height, width)
    target = flow.reshape(count, -1).astype(np.float64)
    products, flat = _products(height, width), design.reshape(-1, 4)
    left = target.reshape(count, -1, 2) - np.median(target.reshape(count, -1, 2), axis=1, keepdims=True)
    solved = np.zeros((count, 4))
    for _ in range(ROUNDS):
        distance = np.hypot(left[..., 0], left[..., 1])
        scale = np.maximum(1.5 * np.median(distance, axis=1, keepdims=True), SHARPNESS_PX)
        weights = 1 / (1 + (distance / scale) ** 2)
        normal = (weights @ products).reshape(count, 4, 4) + 1e-6 * np.eye(4)
        right = (np.repeat(weights, 2, axis=1) * target) @ flat
        solved = np.linalg.solve(normal, right[..., None])[..., 0]
        left = (target - solved @ flat.T).reshape(count, -1, 2)
    return solved, field(solved, (height, width))


def field(camera: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """The flow of transforms, (T, 4) to (T, h, w, 2)."""
    height, width = cells
    return (camera @ _design(height, width).reshape(-1, 4).T).reshape(len(camera), height, width, 2)


@cache
def _products(height: int, width: int) -> np.ndarray:
    """What each cell adds to the normal equations, (h w, 16)."""
    design = _design(height, width)
    return np.einsum("nci,ncj->nij", design, design).reshape(-1, 16)


@cache
def _design(height: int, width: int) -> np.ndarray:
    """What each parameter moves each cell by, (h w, 2, 4)."""
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    x, y, one, none = (part.ravel() for part in (x, y, np.ones_like(x), np.zeros_like(x)))
    return np.stack([np.stack([one, none, x, -y], -1), np.stack([none, one, y, x], -1)], 1)
