"""Camera: the one similarity transform (shift, zoom, turn) that explains most of an optical flow, and what it leaves over."""

import numpy as np

ROUNDS = 6
"""Rounds of reweighting; four settle most flows."""
SHARPNESS_PX = 0.25
"""Residuals below a quarter of a pixel count in full: the noise of the flow itself."""


def fit(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Robust similarity transforms of several flows at once, by iteratively reweighted least squares with Cauchy weights.

    Weights start from the distance to the median shift, so that a subject covering less than half of the frame does not pull.
    Source: Huber, Robust Statistics (1981), chapter 7; Odobez and Bouthemy (1995) for camera motion.

    Args:
        flow: float (T, h, w, 2): displacement in pixels of its own grid, x then y.

    Returns:
        float (T, 4): shift x, shift y (pixels at the centre), zoom (scale - 1), turn (radians);
        float (T, h, w, 2): the flow that the transforms explain.
    """
    count, height, width, _ = flow.shape
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    x, y, one, none = (part.ravel() for part in (x, y, np.ones_like(x), np.zeros_like(x)))
    design = np.stack([np.stack([one, none, x, -y], -1), np.stack([none, one, y, x], -1)], 1)  # (N, 2, 4)
    target = flow.reshape(count, -1, 2).astype(np.float64)
    left = np.linalg.norm(target - np.median(target, axis=1, keepdims=True), axis=-1)
    products = np.einsum("nci,ncj->nij", design, design)
    solved = np.zeros((count, 4))
    for _ in range(ROUNDS):
        scale = np.maximum(1.5 * np.median(left, axis=1, keepdims=True), SHARPNESS_PX)
        weights = 1 / (1 + (left / scale) ** 2)
        normal = np.einsum("tn,nij->tij", weights, products) + 1e-6 * np.eye(4)
        right = np.einsum("tn,nci,tnc->ti", weights, design, target, optimize=True)
        solved = np.linalg.solve(normal, right[..., None])[..., 0]
        left = np.linalg.norm(target - np.einsum("nci,ti->tnc", design, solved), axis=-1)
    explained = np.einsum("nci,ti->tnc", design, solved).reshape(flow.shape)
    return solved, explained
