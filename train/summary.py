"""What small networks are told beside the published inputs: a caption as a whole, and where in the picture a place is.

A caption's words reach the published network through attention alone, which takes long to find the one word that matters. Here
every word also passes a layer of its own, and their sum joins the time embedding, where it moves every place of every frame
(Zaheer et al. 2017, Deep Sets, theorem 2; as `class_embedding` does for a label).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WAVES = (0.25, 0.5, 1.0, 2.0)  # periods over the width of a picture


class TextSummary(nn.Module):
    """Token features (B, L, D) to one vector (B, E): a layer for every token, their sum, a layer for all. Padding (zeros) adds nothing."""

    def __init__(self, text_channels: int, time_channels: int) -> None:
        super().__init__()
        self.word = nn.Linear(text_channels, time_channels)
        self.whole = nn.Linear(time_channels, time_channels)

    def forward(self, text_BLD: Tensor) -> Tensor:
        there = text_BLD.abs().amax(dim=-1, keepdim=True) > 0
        words = F.silu(self.word(F.layer_norm(text_BLD, text_BLD.shape[-1:]))) * there
        # Tokens are many and alike: half of their sum keeps a word audible and the whole bounded.
        return self.whole(words.sum(dim=1) / 2)


class PlacePositions(nn.Module):
    """Waves over rows and columns, in shares of the picture whatever its size, added to the state (B, C, F, H, W) of every frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(4 * len(WAVES), channels, bias=False)

    def forward(self, x_BCFHW: Tensor) -> Tensor:
        height, width = x_BCFHW.shape[-2:]
        down, across = (2 * math.pi * ((torch.arange(size, device=x_BCFHW.device) + 0.5) / size - 0.5) for size in (height, width))
        grid = torch.stack(torch.meshgrid(down, across, indexing="ij"), dim=-1)
        angles = (grid[..., None] * torch.tensor(WAVES, device=grid.device)).flatten(-2)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1).to(x_BCFHW.dtype)
        return x_BCFHW + self.project(waves).permute(2, 0, 1)[:, None]
