"""Convolutions frame by frame, and resnets normalised over the whole clip.

Tensors are (B, C, F, H, W) everywhere; frames are folded into the batch only around what works on single images. Kept in
frame-major or channels-last memory, folding and turning places into tokens are views.
"""

import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = {"silu": F.silu, "swish": F.silu, "mish": F.mish}


def fold(x_BCFHW: Tensor) -> Tensor:
    """Frames into the batch: (B x F, C, H, W)."""
    return x_BCFHW.transpose(1, 2).flatten(0, 1)


def unfold(x_ECHW: Tensor, batch: int) -> Tensor:
    """Frames out of the batch again: (B, C, F, H, W), a view."""
    return x_ECHW.unflatten(0, (batch, -1)).transpose(1, 2)


class FrameConv(nn.Conv2d):
    """A 2-D convolution of every frame by itself, with the weights (and the exact results) of the image model's."""

    def forward(self, x_BCFHW: Tensor) -> Tensor:
        return unfold(super().forward(fold(x_BCFHW)), x_BCFHW.shape[0])


class Resnet(nn.Module):
    """diffusers' ResnetBlock2D on clips: GroupNorm takes its statistics over all frames of a sample together.

    Args:
        activation: `silu` (also called `swish`) or `mish`.
        scale_shift: whether the time embedding scales and shifts what the second norm gives, instead of being added before it.
        divisor: of the output.
        groups_out: of the second norm, where they are not those of the first.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        time_channels: int,
        groups: int,
        eps: float,
        activation: str = "silu",
        scale_shift: bool = False,
        divisor: float = 1.0,
        groups_out: int | None = None,
    ) -> None:
        super().__init__()
        self.activate = ACTIVATIONS[activation]
        self.scale_shift, self.divisor = scale_shift, divisor
        self.norm1 = nn.GroupNorm(groups, channels_in, eps=eps)
        self.conv1 = FrameConv(channels_in, channels_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_channels, channels_out * (2 if scale_shift else 1))
        self.norm2 = nn.GroupNorm(groups_out or groups, channels_out, eps=eps)
        self.conv2 = FrameConv(channels_out, channels_out, 3, padding=1)
        self.conv_shortcut = FrameConv(channels_in, channels_out, 1) if channels_in != channels_out else None

    def forward(self, x_BCFHW: Tensor, time_BE: Tensor) -> Tensor:
        h = self.conv1(self.activate(self.norm1(x_BCFHW)))
        time = self.time_emb_proj(self.activate(time_BE))[:, :, None, None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + time)
        h = self.conv2(self.activate(h))
        out = (x_BCFHW if self.conv_shortcut is None else self.conv_shortcut(x_BCFHW)) + h
        return out if self.divisor == 1 else out / self.divisor


class Downsample(nn.Module):
    """Halves height and width of every frame; padding beyond one leaves some pixels more."""

    def __init__(self, channels: int, padding: int = 1) -> None:
        super().__init__()
        self.conv = FrameConv(channels, channels, 3, stride=2, padding=padding)

    def forward(self, x_BCFHW: Tensor) -> Tensor:
        return self.conv(x_BCFHW)


class Upsample(nn.Module):
    """Repeats pixels up to the given height and width, then convolves; sizes that do not halve evenly come back exactly."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = FrameConv(channels, channels, 3, padding=1)

    def forward(self, x_BCFHW: Tensor, height: int, width: int) -> Tensor:
        larger = F.interpolate(fold(x_BCFHW), size=(height, width), mode="nearest")
        return self.conv(unfold(larger, x_BCFHW.shape[0]))
