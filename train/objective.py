"""What the network is asked to predict on noised latents, and how its errors are weighed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from schemas.run import Phase
from train.draws import TIMESTEPS
from train.schedules import signal

PLAIN_UNIT = 0.5


@dataclass(frozen=True)
class Objective:
    """A prediction target on a noise schedule.

    Attributes:
        prediction: `epsilon` the noise (Ho et al. 2020); `v` = a·noise - s·clean (Salimans and Ho 2022, section 4); `sample` the
            clean latents; `flow` noise - clean on a straight path (Liu et al. 2023; Esser et al. 2024), which has no schedule.
            In place of noise, a flow may begin at a plain answer (Delbracio and Milanfar 2023, InDI, section 3).
        kept: (1000,) cumulative alphas.
        unit: what an answer of one stands for. What is added to a plain answer is small beside a picture, and in the units of
            pictures each step of an optimizer would move the answer by more than there is to learn.
        min_snr_gamma: bound on the weight that high-SNR times have (Hang et al. 2023, section 3.4); None weighs all alike.
    """

    prediction: str
    kept: Tensor
    min_snr_gamma: float | None = None
    unit: float = 1.0

    @classmethod
    def of(cls, phase: Phase) -> "Objective":
        """The objective that a phase states."""
        return cls(phase.prediction, signal(phase.noise_schedule), phase.min_snr_gamma, PLAIN_UNIT if phase.start == "plain" else 1.0)

    def shares(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of clean latents and of noise at the times (B,), each (B, 1, 1, 1, 1)."""
        if self.prediction == "flow":
            noise = (timesteps.double().cpu() + 1) / TIMESTEPS
            pair = (1 - noise, noise)
        else:
            kept = self.kept[timesteps.cpu()]
            pair = (kept.sqrt(), (1 - kept).sqrt())
        clean, noise = (share.float().view(-1, 1, 1, 1, 1).to(timesteps.device) for share in pair)
        return clean, noise

    def noised(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """(B, C, F, h, w) latents at the times (B,)."""
        kept, added = self.shares(timesteps)
        return kept * latents + added * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the network should answer."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "flow":
            return (noise - latents) / self.unit
        if self.prediction == "v":
            kept, added = self.shares(timesteps)
            return kept * noise - added * latents
        return latents

    def clean(self, noised: Tensor, output: Tensor, timesteps: Tensor) -> Tensor:
        """The clean latents that an answer implies."""
        kept, added = self.shares(timesteps)
        if self.prediction == "epsilon":
            return (noised - added * output) / kept
        if self.prediction == "flow":
            return noised - added * output * self.unit
        if self.prediction == "v":
            return kept * noised - added * output
        return output

    def weights(self, timesteps: Tensor) -> Tensor:
        """(B,) weights of the squared error, by Hang et al. 2023, equation 5, restated for each prediction."""
        if self.min_snr_gamma is None:
            return torch.ones(len(timesteps), device=timesteps.device)
        kept, added = (share.flatten() for share in self.shares(timesteps))
        snr = (kept / added).square()
        bounded = snr.clamp(max=self.min_snr_gamma)
        divisors = {"epsilon": snr, "v": snr + 1, "flow": (1 + snr.sqrt()).square()}
        return bounded / divisors.get(self.prediction, torch.ones_like(snr)).clamp(min=1e-12)
