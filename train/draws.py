"""Randomness as a pure function of what it is for: every draw in training has a generator named by seed, phase, step and place.

Nothing is drawn from global state. So a run resumed at a step, split over workers or read by other processes draws the same
numbers, and a held-out clip gets the same noise from every model that is tried on it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TIMESTEPS = 1000


def generator(*purpose: str | int) -> torch.Generator:
    """A CPU generator for one purpose: the same words and numbers give the same draws, others give independent ones."""
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


@dataclass(frozen=True)
class Draws:
    """The chance in one loss over a batch of clips.

    Attributes:
        timesteps: (B,) diffusion times, 0 to 999.
        generators: one for each clip.
        training: whether captions are dropped and inputs augmented.
    """

    timesteps: Tensor
    generators: tuple[torch.Generator, ...]
    training: bool = True

    def part(self, start: int, stop: int) -> "Draws":
        """The draws of some of the clips."""
        return Draws(self.timesteps[start:stop], self.generators[start:stop], self.training)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """(B, *shape) standard normal."""
        return torch.stack([torch.randn(tuple(shape), generator=one) for one in self.generators])

    def uniform(self) -> Tensor:
        """(B,) in [0, 1)."""
        return torch.stack([torch.rand((), generator=one) for one in self.generators])


def training_draws(seed: int, task: str, step: int, places: range, batch: int, law: str = "stratified") -> Draws:
    """The draws of one step for some `places` of its global batch, the same whoever computes them.

    Args:
        law: of diffusion times: `uniform`; `stratified`, one in each of `batch` equal ranges (Kingma et al. 2021, VDM, appendix I.1);
            `logit-normal` (Esser et al. 2024, section 3.1), stratified as well; `late`, stratified, half of them in the last eighth,
            where only the caption tells what is to be seen; `last`, the last one for all.
    """
    shared = generator(seed, task, "timesteps", step)
    share = torch.rand(batch, generator=shared)
    if law != "uniform":
        share = (torch.randperm(batch, generator=shared) + share) / batch
    if law == "logit-normal":
        share = torch.sigmoid(torch.special.ndtri(share.double().clamp(1e-6, 1 - 1e-6))).float()
    if law == "late":
        share = 1 - (1 - share) ** 3
    if law == "last":
        share = torch.ones(batch)
    times = (share * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
    return Draws(times[places.start : places.stop], tuple(generator(seed, task, "clip", step, place) for place in places))


def held_out_draws(seed: int, keys: Sequence[str], level: int) -> Draws:
    """The draws of a held-out loss: fixed by seed, clip and noise level, independent of the model."""
    return Draws(torch.full((len(keys),), level), tuple(generator(seed, "held-out", key, level) for key in keys), training=False)
