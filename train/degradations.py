"""How a low-resolution input came to be: shrunk at least, and in training also blurred, noisy and compressed, as real footage is."""

import cv2
import numpy as np
import torch
from torch import Tensor

from schemas.run import Phase
from train.conditions import resize_clip
from train.draws import Draws

MOST_BLUR, MOST_NOISE, QUALITIES = 1.5, 0.06, (40, 95)


def degrade(large: Tensor, phase: Phase, draws: Draws) -> Tensor:
    """(B, 3, F, H, W) in [-1, 1] to (B, 3, F, H/scale, W/scale): shrunk, and where the phase asks for it damaged in a random order.

    The damages are the first-order ones of Wang et al. 2021 (Real-ESRGAN, section 3.1): Gaussian blur before shrinking,
    Gaussian noise and JPEG after, each with a strength drawn for the clip and equal in all its frames.
    """
    height, width = large.shape[-2] // phase.scale, large.shape[-1] // phase.scale
    if not (phase.degradations and draws.training):
        return resize_clip(large, height, width).clamp(-1, 1)
    strengths = torch.stack([draws.uniform() for _ in range(4)], dim=1)
    clips = [_damaged(clip, height, width, drawn.tolist(), chance) for clip, drawn, chance in zip(large, strengths, draws.generators)]
    return torch.stack(clips).to(large.device)


def _damaged(clip: Tensor, height: int, width: int, drawn: list[float], chance: torch.Generator) -> Tensor:
    """One clip (3, F, H, W): blur, shrink, then noise and JPEG in the drawn order."""
    frames = clip.permute(1, 2, 3, 0).cpu().numpy()
    sigma = drawn[0] * MOST_BLUR
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) if sigma > 0.1 else frame for frame in frames])
    small = resize_clip(torch.from_numpy(blurred).permute(3, 0, 1, 2)[None], height, width)[0]
    noise = torch.randn(small.shape, generator=chance) * drawn[1] * MOST_NOISE
    quality = round(QUALITIES[0] + drawn[2] * (QUALITIES[1] - QUALITIES[0]))
    if drawn[3] < 0.5:
        return _compressed(small + noise, quality)
    return (_compressed(small, quality) + noise).clamp(-1, 1)


def _compressed(clip: Tensor, quality: int) -> Tensor:
    """(3, F, h, w) through JPEG, frame by frame."""
    frames = ((clip.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 3, 0).contiguous().numpy()
    coded = (cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for frame in frames)
    back = np.stack([np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR)) for code in coded])
    return torch.from_numpy(back).permute(3, 0, 1, 2).float() / 127.5 - 1
