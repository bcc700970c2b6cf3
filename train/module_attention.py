"""Attention within temporal modules: the published super-resolution class offers it, the released network leaves it out.

Two attentions a block, each of a kind of its own: over the places of a frame, over time, over several frames, or over a frame
some of whose channels come from the frame before (Zhang et al. 2021, Token Shift Transformer, section 3.2). Tensors are named
as in train/attention.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from train.attention import Attention, attend
from train.transformer import Transformer

Kind = Literal["frame", "time", "frames", "shifted"]
DIFFUSION_STEPS = 1000
BESIDE = {"i-1": -1, "i": 0, "i+1": 1}
"""Frames that a frame may look at, by their distance; besides these the first, called 0."""


@dataclass(frozen=True)
class ModuleAttention:
    """What transformers within temporal modules are built from.

    Attributes:
        kinds: of the two attentions of a block; the first may be None, for none.
        layers: blocks.
        heads, head_channels: of each; without `head_channels` the blocks are `divisor` times narrower than the level.
        seen: for the kind `frames`, which frames each looks at.
        shifted_share: for the kind `shifted`, one channel in how many comes from the frame before.
        deform: whether the second attention only says where a deformable convolution looks (Zhu et al. 2019), square pictures only.
    """

    kinds: tuple[Kind | None, Kind]
    layers: int = 1
    heads: int = 8
    head_channels: int | None = None
    divisor: int = 1
    seen: tuple[str, ...] = ("0", "i-1")
    shifted_share: int = 2
    bias: bool = False
    activation: str = "geglu"
    norm_groups: int = 8
    linear: bool = True
    deform: bool = False

    def transformer(self, channels: int) -> Transformer:
        """For a level of some width."""
        inner = self.heads * (self.head_channels or channels // self.heads // self.divisor)
        return Transformer(channels, self.norm_groups, self.linear, None, [ModuleBlock(inner, self) for _ in range(self.layers)], inner)


class ModuleBlock(nn.Module):
    """Two attentions, each after a norm that the diffusion step scales and shifts, and a feed-forward; all with residuals."""

    def __init__(self, channels: int, design: ModuleAttention) -> None:
        super().__init__()
        first, second = design.kinds
        self.norm1 = StepNorm(channels) if first else None
        self.attn_spatial = VideoAttention(channels, first, design) if first else None
        self.norm2 = StepNorm(channels)
        self.attn_temporal = VideoAttention(channels, second, design)
        self.dcn_module = Deformation(channels) if design.deform else None
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn=design.activation)

    def forward(self, x_BFNC: Tensor, steps_B: Tensor, num_images: int = 0) -> Tensor:
        x = x_BFNC
        if self.attn_spatial is not None and self.norm1 is not None:
            x = self.attn_spatial(self.norm1(x, steps_B)) + x
        second = self.attn_temporal(self.norm2(x, steps_B))
        x = second + x if self.dcn_module is None else self.dcn_module(x, second)
        return self.ff(self.norm3(x)) + x


class StepNorm(nn.Module):
    """A layer norm whose scale and shift are looked up by the diffusion step."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(DIFFUSION_STEPS, channels)
        self.linear = nn.Linear(channels, 2 * channels)

    def forward(self, x_BFNC: Tensor, steps_B: Tensor) -> Tensor:
        scale, shift = self.linear(F.silu(self.emb(steps_B.long())))[:, None, None].chunk(2, dim=-1)
        return F.layer_norm(x_BFNC, x_BFNC.shape[-1:]) * (1 + scale) + shift


class VideoAttention(Attention):
    """Attention of one kind on a clip (B, F, N, C)."""

    def __init__(self, channels: int, kind: Kind, design: ModuleAttention) -> None:
        super().__init__(channels, design.heads, bias=design.bias)
        self.kind, self.seen, self.shifted = kind, design.seen, channels // design.shifted_share

    def forward(self, x_BFNC: Tensor) -> Tensor:
        q, k, v = (project(x_BFNC) for project in (self.to_q, self.to_k, self.to_v))
        if self.kind == "time":
            q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        elif self.kind == "frames":
            k, v = (frames_beside(part, self.seen) for part in (k, v))
        elif self.kind == "shifted":
            k, v = (self._shift(part) for part in (k, v))
        out = attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), self.heads).view(q.shape)
        return self.project_out(out.transpose(1, 2) if self.kind == "time" else out)

    def _shift(self, x_BFNC: Tensor) -> Tensor:
        """The first channels from the frame before, of which the first frame has none."""
        former, own = x_BFNC.tensor_split([self.shifted], dim=-1)
        return torch.cat([F.pad(former[:, :-1], (0, 0, 0, 0, 1, 0)), own], dim=-1)


def frames_beside(x_BFNC: Tensor, seen: Sequence[str]) -> Tensor:
    """The places of several frames for each frame, (B, F, N x frames seen, C); beyond an end of the clip its last frame there."""
    own = torch.arange(x_BFNC.shape[1], device=x_BFNC.device)
    chosen = [own * 0 if name == "0" else (own + BESIDE[name]).clamp(0, len(own) - 1) for name in seen]
    return torch.cat([x_BFNC[:, frames] for frames in chosen], dim=2)


class Deformation(nn.Module):
    """A deformable convolution of each frame, whose offsets follow from it and from what attention made of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 27, 3, padding=1)
        self.dcn_weight = nn.Parameter(torch.randn(channels, channels, 3, 3) / (3 * channels**0.5))
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x_BFNC: Tensor, attended_BFNC: Tensor) -> Tensor:
        from torchvision.ops import deform_conv2d

        side = round(x_BFNC.shape[2] ** 0.5)
        if side**2 != x_BFNC.shape[2]:
            raise ValueError(f"deformable convolutions within temporal modules work on square pictures, not on {x_BFNC.shape[2]} places")
        x, attended = (part.flatten(0, 1).transpose(1, 2).unflatten(2, (side, side)) for part in (x_BFNC, attended_BFNC))
        offsets, weights = self.conv(torch.cat([x, attended], dim=1)).tensor_split([18], dim=1)
        moved = deform_conv2d(x.contiguous(), offsets.contiguous(), self.dcn_weight, padding=1, mask=2 * weights.sigmoid())
        return (self.alpha * moved + x).flatten(2).transpose(1, 2).view(x_BFNC.shape)
