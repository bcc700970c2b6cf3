"""How weights change: optimizer, learning rate over steps, and the running average of weights that is kept."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from schemas.document import DocumentError
from schemas.run import Phase
from train.unet import is_temporal

BETAS = (0.9, 0.99)


def learning_rate(phase: Phase, step: int) -> float:
    """The rate at a step: a linear warm-up, then as the phase's schedule says.

    The schedules are named as diffusers' `get_scheduler` names them; restarts are those of Loshchilov and Hutter 2017 (SGDR, equation 5).
    """
    warmed = min(1.0, (step + 1) / (phase.warmup_steps + 1))
    after = max(0, step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
    falls = {"constant": 1.0, "linear": 1 - after, "cosine": _half_wave(after), "cosine_with_restarts": _half_wave(after * phase.cycles % 1)}
    return phase.learning_rate * warmed * falls[phase.learning_rate_schedule]


def _half_wave(share: float) -> float:
    """From one to nothing over a share from 0 to 1."""
    return (1 + math.cos(math.pi * share)) / 2


def choose_trainable(network: nn.Module, phase: Phase) -> None:
    """Freeze what the phase does not train."""
    for name, parameter in network.named_parameters():
        if phase.trainable == ("spatial" if is_temporal(name) else "temporal"):
            parameter.requires_grad_(False)


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen, in the order in which the optimizer numbers them."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def make_optimizer(parameters: Iterable[nn.Parameter], phase: Phase) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) in the form the phase asks for."""
    if phase.optimizer == "adamw-8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError:
            raise DocumentError("optimizer = 'adamw-8bit' needs the package bitsandbytes: pip install bitsandbytes, or choose adamw") from None
        return AdamW8bit(parameters, lr=phase.learning_rate, betas=BETAS, weight_decay=phase.weight_decay)
    fused = True if phase.optimizer == "adamw-fused" else None
    return torch.optim.AdamW(parameters, lr=phase.learning_rate, betas=BETAS, weight_decay=phase.weight_decay, fused=fused)


class WeightAverage:
    """An exponential moving average of weights, with a warm-up so that the random start is soon forgotten.

    At step t the decay is the smaller of `decay` and (1 + t) / (10 + t), as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor.detach(), 1 - decay)
            else:
                self.weights[name].copy_(tensor)
