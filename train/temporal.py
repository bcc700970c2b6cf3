"""Convolutions over time: what the super-resolution stage adds to the image model so that frames agree."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.resnet import FrameConv, Resnet

TEMPORAL_NORM_EPS = 1e-6


def over_video(layer: Callable[..., Tensor], x_BCFHW: Tensor, num_images: int, *arguments: Tensor) -> Tensor:
    """Apply a temporal layer to the video frames; the still images behind them pass by untouched."""
    if num_images == 0:
        return layer(x_BCFHW, *arguments)
    frames = x_BCFHW.shape[2] - num_images
    return torch.cat([layer(x_BCFHW[:, :, :frames], *arguments), x_BCFHW[:, :, frames:]], dim=2)


class TimeConv(nn.Conv3d):
    """A convolution over frames only, kernel (k, 1, 1), computed as a 2-D one over the (frame, place) plane.

    The 2-D kernels are faster than the 3-D ones on every device, and channels-last memory needs no copy.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, (kernel, 1, 1), padding=(kernel // 2, 0, 0))

    def forward(self, x_BCFHW: Tensor) -> Tensor:
        plane = F.conv2d(x_BCFHW.flatten(3), self.weight.squeeze(-1), self.bias, padding=self.padding[:2])
        return plane.view(x_BCFHW.shape)


class TemporalResnet(nn.Module):
    """GroupNorm over the clip, SiLU and a convolution over time, twice, with a residual.

    Args:
        kernel: frames seen by the first convolution; the second sees three.
        time_channels: width of the diffusion time embedding added between the two, or None for none.
    """

    def __init__(self, channels: int, groups: int, kernel: int, time_channels: int | None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, eps=TEMPORAL_NORM_EPS)
        self.conv1 = TimeConv(channels, kernel)
        self.time_emb_proj = nn.Linear(time_channels, channels) if time_channels else None
        self.norm2 = nn.GroupNorm(groups, channels, eps=TEMPORAL_NORM_EPS)
        self.conv2 = TimeConv(channels, 3)

    def forward(self, x_BCFHW: Tensor, time_BE: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x_BCFHW)))
        if self.time_emb_proj is not None and time_BE is not None:
            h = h + self.time_emb_proj(F.silu(time_BE))[:, :, None, None, None]
        return x_BCFHW + self.conv2(F.silu(self.norm2(h)))


class TemporalModule(nn.Module):
    """What follows a whole level: a resnet over time, a resnet over space and a 1x1 convolution, added to the input."""

    def __init__(self, channels: int, groups: int, time_channels: int) -> None:
        super().__init__()
        self.resblocks_3d_t = TemporalResnet(channels, groups, kernel=5, time_channels=time_channels)
        self.resblocks_3d_s = Resnet(channels, channels, time_channels, groups, TEMPORAL_NORM_EPS)
        self.shift_conv = FrameConv(channels, channels, 1)

    def forward(self, x_BCFHW: Tensor, time_BE: Tensor) -> Tensor:
        return x_BCFHW + self.shift_conv(self.resblocks_3d_s(self.resblocks_3d_t(x_BCFHW, time_BE), time_BE))
