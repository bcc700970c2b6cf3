"""Noise schedules: how much of the clean latents is left at each of the 1000 diffusion times."""

import torch
from torch import Tensor

from train.draws import TIMESTEPS

# The last share of signal that samplers dividing by it can bear; it differs from zero by less than a rounding of float16.
ALMOST_NOTHING = 2.0**-24


def signal(schedule: str) -> Tensor:
    """(1000,) float64 cumulative alphas, the squared share of the clean latents.

    Args:
        schedule: `lavie`, linear betas from 1e-4 to 0.02 (Ho et al. 2020); `stable-diffusion`, scaled-linear from 0.00085 to 0.012
            (Rombach et al. 2022); `zero-terminal-snr`, the latter rescaled to end in pure noise (Lin et al. 2024, algorithm 1);
            `shifted-cosine`, Nichol and Dhariwal's cosine (2021), with log-SNR lowered by 2 log 2 as Hoogeboom et al. (2023,
            section 3.2) do for pictures of twice the side: a clip's frames repeat each other, so noise hides less of it.
    """
    if schedule == "shifted-cosine":
        times = (torch.arange(TIMESTEPS, dtype=torch.float64) + 0.5) / TIMESTEPS
        log_snr = -2 * torch.log(torch.tan(torch.pi * times / 2)) - 2 * torch.log(torch.tensor(2.0))
        return torch.sigmoid(log_snr)
    if schedule == "lavie":
        return torch.cumprod(1 - torch.linspace(1e-4, 2e-2, TIMESTEPS, dtype=torch.float64), 0)
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64)
    kept = torch.cumprod(1 - roots**2, 0)
    if schedule == "stable-diffusion":
        return kept
    root = kept.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])).square().clamp(min=ALMOST_NOTHING)


def betas(schedule: str) -> Tensor:
    """(1000,) float32: the same schedule as diffusers' schedulers take it (`trained_betas`)."""
    kept = signal(schedule)
    return (1 - kept / torch.cat([kept.new_ones(1), kept[:-1]])).float()
