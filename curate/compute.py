"""Where and how models run: one device, fixed threads, batches of fixed shape, so that a number does not depend on its neighbours or its engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

THREADS = 1
"""Threads inside one model. Sums are ordered differently with another number, and workers are what should be many."""


def device_name() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def fixed_threads() -> Iterator[None]:
    """Torch with THREADS threads and no gradients, and as it was before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def in_fixed_batches(inputs: np.ndarray, rows: int, forward: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`forward` over inputs (N, ...) in batches of exactly `rows`, the last one padded with zeros; returns (N, ...)."""
    made = []
    for start in range(0, len(inputs), rows):
        batch = inputs[start : start + rows]
        padding = np.zeros((rows - len(batch), *inputs.shape[1:]), inputs.dtype)
        made.append(forward(np.concatenate([batch, padding]))[: len(batch)])
    return np.concatenate(made)
