"""Where and how models run: one device, fixed threads, batches of fixed shape, so that a number does not depend on its neighbours or its engine."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

THREADS = 1
"""Threads inside one model. Sums are ordered differently with another number, and workers are what should be many."""


def device_name() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def fold_norms(network: "torch.nn.Module") -> "torch.nn.Module":
    """A network whose batch norms are part of the convolutions before them, changed in place: the same function at less cost.

    Timm's norms hold an activation, which stays where the norm was.
    """
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for parent in list(network.modules()):
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(list(parent.named_children())):
            if isinstance(conv, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, getattr(norm, "act", torch.nn.Identity()))
    return network


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
