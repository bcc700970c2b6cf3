"""Transformers on clips: attention within a frame, to the text and over time, and a feed-forward."""

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from train.attention import Attention, RotaryEmbedding, SparseCausalAttention, SpatialAttention, TemporalAttention, TextAttention
from train.resnet import fold, unfold
from train.temporal import TemporalResnet, over_video

NORM_EPS = 1e-6


class TransformerBlock(nn.Module):
    """Attention within the frame, to the text and over time, and a feed-forward; each pre-normed, each with a residual.

    Args:
        temporal_suffix: what the published layout calls the temporal parts of this stage: `temp` or `temporal`.
        temporal_position: whether attention over time comes before or after the feed-forward.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        text_channels: int,
        rotary: RotaryEmbedding | None,
        only_cross_attention: bool,
        spatial_attention: Literal["full", "sparse_causal"],
        temporal_position: Literal["before_ff", "after_ff"],
        temporal_suffix: Literal["temp", "temporal"],
    ) -> None:
        super().__init__()
        self.temporal_first = temporal_position == "before_ff"
        self.temporal_suffix = temporal_suffix
        self.norm1 = nn.LayerNorm(channels)
        self.attn1: Attention
        if only_cross_attention:
            self.attn1 = TextAttention(channels, heads, text_channels)
        else:
            self.attn1 = (SparseCausalAttention if spatial_attention == "sparse_causal" else SpatialAttention)(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = TextAttention(channels, heads, text_channels)
        self.add_module(f"norm_{temporal_suffix}", nn.LayerNorm(channels))
        self.add_module(f"attn_{temporal_suffix}", TemporalAttention(channels, heads, rotary))
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn="geglu")

    def forward(self, x_BFNC: Tensor, text: Tensor, num_images: int = 0) -> Tensor:
        normed = self.norm1(x_BFNC)
        first = self.attn1(normed, text, num_images) if isinstance(self.attn1, TextAttention) else self.attn1(normed, num_images)
        x = first + x_BFNC
        x = self.attn2(self.norm2(x), text, num_images) + x
        if self.temporal_first:
            x = self._over_time(x, num_images)
        x = self.ff(self.norm3(x)) + x
        return x if self.temporal_first else self._over_time(x, num_images)

    def _over_time(self, x_BFNC: Tensor, num_images: int) -> Tensor:
        frames = x_BFNC.shape[1] - num_images
        video = x_BFNC[:, :frames]
        norm, attention = (self.get_submodule(f"{part}_{self.temporal_suffix}") for part in ("norm", "attn"))
        video = attention(norm(video)) + video
        return video if num_images == 0 else torch.cat([video, x_BFNC[:, frames:]], dim=1)


class Transformer(nn.Module):
    """Transformer blocks on the places of every frame, between two projections, with a residual.

    GroupNorm is per frame here, unlike in the resnets. With `temporal_groups`, a temporal resnet comes first and the
    residual is taken after it. The blocks may be narrower than what surrounds them.
    """

    def __init__(
        self, channels: int, groups: int, linear: bool, temporal_groups: int | None, blocks: Sequence[nn.Module], inner_channels: int | None = None
    ) -> None:
        super().__init__()
        inner = inner_channels or channels
        self.linear = linear
        self.resblock_temporal = TemporalResnet(channels, temporal_groups, kernel=3, time_channels=None) if temporal_groups else None
        self.norm = nn.GroupNorm(groups, channels, eps=NORM_EPS)
        self.proj_in = nn.Linear(channels, inner) if linear else nn.Conv2d(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList(blocks)
        self.proj_out = nn.Linear(inner, channels) if linear else nn.Conv2d(inner, channels, 1)

    def forward(self, x_BCFHW: Tensor, told: Tensor, num_images: int = 0) -> Tensor:
        """What the blocks are told is text, or for those within temporal modules the diffusion steps."""
        if self.resblock_temporal is not None:
            x_BCFHW = over_video(self.resblock_temporal, x_BCFHW, num_images)
        residual = fold(x_BCFHW)
        batch, height, width = x_BCFHW.shape[0], *x_BCFHW.shape[-2:]
        memory = torch.contiguous_format if residual.is_contiguous() else torch.channels_last
        h = self.norm(residual)
        tokens = self._tokens(h) if self.linear else self._tokens(self.proj_in(h))
        tokens = self.proj_in(tokens) if self.linear else tokens
        tokens = tokens.unflatten(0, (batch, -1))
        for block in self.transformer_blocks:
            tokens = block(tokens, told, num_images)
        tokens = tokens.flatten(0, 1)
        tokens = self.proj_out(tokens) if self.linear else tokens
        h = tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2).contiguous(memory_format=memory)
        h = h if self.linear else self.proj_out(h)
        return unfold(h + residual, batch)

    @staticmethod
    def _tokens(x_ECHW: Tensor) -> Tensor:
        return x_ECHW.permute(0, 2, 3, 1).flatten(1, 2)
