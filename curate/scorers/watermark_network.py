"""WatermarkNetwork: a small U-Net that marks, cell by cell, what was laid over a film: marks that stay, captions, marks that move."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from curate.observers.overlay_maps import ROOT

WIDTHS = (16, 32, 64, 96)
PICTURE_WIDTH = 16
INPUTS = 19


def block(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """A convolution, normalised, with a rectifier."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def rarely(last: nn.Conv2d) -> nn.Conv2d:
    """The last layer of a head, set to find nothing at first: marks cover few cells."""
    if last.bias is not None:
        nn.init.constant_(last.bias, -3.0)
    return last


class Residual(nn.Module):
    """Two blocks with a way around them (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(block(width, width), block(width, width))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


class Join(nn.Module):
    """A step up of the U-Net: coarse features, enlarged, beside fine ones."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(block(coarse + fine, fine, size=1), block(fine, fine))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return self.mix(torch.cat([functional.interpolate(coarse, scale_factor=2.0, mode="nearest"), fine], 1))


class WatermarkNetwork(nn.Module):
    """Maps and pictures in, logits per 2x2 cells out (Ronneberger et al. 2015, with the pictures' features joined at half resolution).

    R and C are the canvas' rows and columns of cells, F pictures; the inputs are float, in the units they are stored in (0-255).
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = WIDTHS
        self.stem = block(INPUTS, first)
        self.pictures = nn.Sequential(block(32, PICTURE_WIDTH), block(PICTURE_WIDTH, PICTURE_WIDTH), block(PICTURE_WIDTH, PICTURE_WIDTH))
        self.down = block(first, second, 2)
        self.fuse = nn.Sequential(block(second + 2 * PICTURE_WIDTH, second, size=1), Residual(second))
        self.quarter = nn.Sequential(block(second, third, 2), Residual(third))
        self.eighth = nn.Sequential(block(third, fourth, 2), Residual(fourth))
        self.to_quarter, self.to_half = Join(fourth, third), Join(third, second)
        self.still_heads = nn.Sequential(block(second, second), rarely(nn.Conv2d(second, 2, 1)))
        self.moving_head = nn.Sequential(block(second + PICTURE_WIDTH, PICTURE_WIDTH), rarely(nn.Conv2d(PICTURE_WIDTH, 1, 1)))

    def forward(self, planes: Tensor, pictures: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of a mark that stays (B, R/2, C/2), of a caption (B, R/2, C/2), and of a moving mark in each picture (B, F, R/2, C/2).

        `planes` (B, 9, R, C), `pictures` (B, F, 2R, 2C), `valid` (B, R, C) 1 where the canvas is real.
        """
        batch, count = pictures.shape[:2]
        detail, middle = picture_detail(pictures)
        full = self.stem(torch.cat([cell_inputs(planes, valid), functional.pixel_unshuffle(middle, 2), _disagreement(detail)], 1))
        apart = torch.stack([detail, detail - middle], 2).flatten(0, 1)
        seen = self.pictures(functional.pixel_unshuffle(apart, 4))
        each = seen.unflatten(0, (batch, count))
        half = self.fuse(torch.cat([self.down(full), each.mean(1), each.amax(1)], 1))
        quarter = self.quarter(half)
        joined = self.to_half(self.to_quarter(self.eighth(quarter), quarter), half)
        still = self.still_heads(joined)
        moving = self.moving_head(torch.cat([joined.repeat_interleave(count, 0), seen], 1))
        return still[:, 0], still[:, 1], moving.unflatten(0, (batch, count)).squeeze(2)


def cell_inputs(planes: Tensor, valid: Tensor) -> Tensor:
    """Fourteen channels (B, 14, R, C) of the nine planes: as they are, relative to their surroundings, and where the frame's edges are."""
    stays, moves, least, level, spread, spread_least = planes[:, :4] / ROOT, planes[:, 4:5] / ROOT, planes[:, 5:6] / ROOT, *planes[:, 6:, None].unbind(1)
    strongest = stays.amax(1, keepdim=True)
    lasting = strongest.square() / (2 * moves.square() + 4)
    around = blurred(torch.cat([strongest, spread], 1))
    known = torch.cat(
        [
            stays / 4,
            moves / 4,
            least / 4,
            level / 128 - 1,
            torch.sqrt(spread + 1) / 4,
            torch.sqrt(spread_least + 1) / 4,
            lasting.clamp(max=2),
            (strongest - around[:, :1]) / 4,
            (torch.sqrt(spread + 1) - torch.sqrt(around[:, 1:] + 1)) / 2,
        ],
        1,
    )
    inside = valid[:, None]
    rows, columns = (inside.flip(axis).cumsum(axis).flip(axis).clamp(max=20) / 20 for axis in (2, 3))
    above, before = (inside.cumsum(axis).clamp(max=20) / 20 for axis in (2, 3))
    return torch.cat([known, torch.minimum(rows, above), torch.minimum(columns, before)], 1) * inside


def picture_detail(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures' fine detail (B, F, 2R, 2C), signed square root of what a 9-pixel blur takes away, and its middle value over pictures (B, 1, 2R, 2C)."""
    high = pictures - blurred(pictures)
    detail = torch.sign(high) * torch.sqrt(high.abs() + 1e-4) / 4
    middle = detail.sort(1).values
    count = detail.shape[1]
    return detail, (middle[:, (count - 1) // 2] + middle[:, count // 2]).unsqueeze(1) / 2


def blurred(maps: Tensor) -> Tensor:
    """The mean over 9x9 neighbours; at the border over those there are."""
    across = functional.avg_pool2d(maps, (1, 9), 1, (0, 4), count_include_pad=False)
    return functional.avg_pool2d(across, (9, 1), 1, (4, 0), count_include_pad=False)


def _disagreement(detail: Tensor) -> Tensor:
    return functional.avg_pool2d(detail.amax(1, keepdim=True) - detail.amin(1, keepdim=True), 2)
