"""Convolutions over time: what the super-resolution stage adds to the image model so that frames agree."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.resnet import FrameConv, Resnet, fold, unfold

TEMPORAL_NORM_EPS = 1e-6


def over_video(layer: Callable[..., Tensor], x_BCFHW: Tensor, num_images: int, *arguments: Tensor | None) -> Tensor:
    """Apply a temporal layer to the video frames; the still images behind them pass by untouched."""
    if num_images == 0:
        return layer(x_BCFHW, *arguments)
    frames = x_BCFHW.shape[2] - num_images
    return torch.cat([layer(x_BCFHW[:, :, :frames], *arguments), x_BCFHW[:, :, frames:]], dim=2)


class TimeConv(nn.Conv3d):
    """A convolution over frames only, kernel (k, 1, 1), computed as a 2-D one over the (frame, place) plane.

    The 2-D kernels are faster than the 3-D ones on every device, and channels-last memory needs no copy.
    """

    def __init__(self, channels: int, kernel: int, channels_in: int | None = None) -> None:
        super().__init__(channels_in or channels, channels, (kernel, 1, 1), padding=(kernel // 2, 0, 0))

    def forward(self, x_BCFHW: Tensor) -> Tensor:
        plane = F.conv2d(x_BCFHW.flatten(3), self.weight.squeeze(-1), self.bias, padding=self.padding[:2])
        return plane.unflatten(3, x_BCFHW.shape[3:])


class TemporalResnet(nn.Module):
    """GroupNorm over the clip, SiLU and a convolution over time, twice, with a residual.

    Args:
        kernel: frames seen by the first convolution; the second sees three.
        time_channels: width of the diffusion time embedding added between the two, or None for none.
        channels_in: of the input, where it is wider than the output.
    """

    def __init__(self, channels: int, groups: int, kernel: int, time_channels: int | None, channels_in: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in or channels, eps=TEMPORAL_NORM_EPS)
        self.conv1 = TimeConv(channels, kernel, channels_in)
        self.time_emb_proj = nn.Linear(time_channels, channels) if time_channels else None
        self.norm2 = nn.GroupNorm(groups, channels, eps=TEMPORAL_NORM_EPS)
        self.conv2 = TimeConv(channels, 3)
        self.conv_shortcut = TimeConv(channels, 1, channels_in) if channels_in else None

    def forward(self, x_BCFHW: Tensor, time_BE: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x_BCFHW)))
        if self.time_emb_proj is not None and time_BE is not None:
            h = h + self.time_emb_proj(F.silu(time_BE))[:, :, None, None, None]
        short = x_BCFHW if self.conv_shortcut is None else self.conv_shortcut(x_BCFHW)
        return short + self.conv2(F.silu(self.norm2(h)))


class TemporalModule(nn.Module):
    """What follows a whole level: a resnet over time, a resnet over space and a 1x1 convolution, added to the input.

    Args:
        condition: whether the low-resolution frames, made as small as the level, join what the resnet over time sees.
        attention: between the resnet over space and the convolution, where there is one; it is told the diffusion steps.
        scale: whether the convolution also scales the input.
    """

    def __init__(
        self, channels: int, groups: int, time_channels: int, condition: bool = False, attention: nn.Module | None = None, scale: bool = False
    ) -> None:
        super().__init__()
        shown = channels // 4
        self.v_cond_conv = Resnet(3, shown, time_channels, 3, TEMPORAL_NORM_EPS, groups_out=groups) if condition else None
        self.resblocks_3d_t = TemporalResnet(channels, groups, 5, time_channels, channels + shown if condition else None)
        self.resblocks_3d_s = Resnet(channels, channels, time_channels, groups, TEMPORAL_NORM_EPS)
        self.attentions = nn.ModuleList([] if attention is None else [attention])
        self.scale = scale
        self.add_module("scale_shift_conv" if scale else "shift_conv", FrameConv(channels, 2 * channels if scale else channels, 1))

    @property
    def output(self) -> nn.Module:
        """Silent while it is zero."""
        return self.get_submodule("scale_shift_conv" if self.scale else "shift_conv")

    def forward(self, x_BCFHW: Tensor, time_BE: Tensor, low_res_BCFHW: Tensor | None = None, steps_B: Tensor | None = None) -> Tensor:
        h = x_BCFHW
        if self.v_cond_conv is not None and low_res_BCFHW is not None:
            small = unfold(F.adaptive_avg_pool2d(fold(low_res_BCFHW), (h.shape[3], h.shape[4])), h.shape[0])
            h = torch.cat([h, self.v_cond_conv(small, time_BE)], dim=1)
        h = self.resblocks_3d_s(self.resblocks_3d_t(h, time_BE), time_BE)
        for attention in self.attentions:
            h = attention(h, steps_B)
        h = self.output(h)
        if not self.scale:
            return x_BCFHW + h
        scale, shift = h.chunk(2, dim=1)
        return (1 + scale) * x_BCFHW + shift
