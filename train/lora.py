"""Low-rank updates of the spatial attention layers: a subject or a style learned with few weights, everything else frozen.

Source: Hu et al. 2021 (LoRA). LaVie (section 3.5) personalises its base this way, with the temporal layers left as they are.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

SPATIAL_PROJECTION = re.compile(r"\.attn[12]\.(to_q|to_k|to_v|to_out\.0)$")


class LowRank(nn.Module):
    """A weight plus the product of two thin matrices; `up` starts at zero, so nothing changes at first.

    Args:
        weight: (O, I).
        rank: of the update.
        chance: of `down`.
    """

    def __init__(self, weight: Tensor, rank: int, chance: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.down = nn.Parameter(torch.randn(rank, inputs, generator=chance) / inputs**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_lora(network: nn.Module, rank: int, chance: torch.Generator) -> None:
    """Freeze a network and give its spatial attention projections low-rank updates, in place."""
    network.requires_grad_(False)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear) and SPATIAL_PROJECTION.search(name):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank, chance))


def merge_lora(network: nn.Module) -> None:
    """Make the updates part of the weights, in place: the network is an ordinary one again."""
    for module in list(network.modules()):
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
