"""What the later stages are given beside text: repeated key frames, and noised low-resolution pictures. Used in training and in sampling."""

import torch
import torch.nn.functional as F
from torch import Tensor

from train.draws import TIMESTEPS

# LaVie's super-resolution, like the x4 upscaler, noises its low-resolution input on this schedule whatever its latents follow.
_LOW_RES_KEPT = torch.cumprod(1 - torch.linspace(1e-4**0.5, 0.02**0.5, TIMESTEPS, dtype=torch.float64) ** 2, 0)


def nearest_keys(frames: int, scale: int) -> Tensor:
    """(F,) index of the key frame nearest to each of F = 1 + scale·(K-1) frames, ties to the earlier (LaVie's interpolation, F = 61, scale 4)."""
    place = torch.arange(frames)
    before, beyond = place // scale, place % scale
    return before + (2 * beyond > scale).long()


def repeat_keys(keys: Tensor, scale: int) -> Tensor:
    """(B, C, K, h, w) key latents to (B, C, 1 + scale·(K-1), h, w): each frame has its nearest key."""
    frames = 1 + scale * (keys.shape[2] - 1)
    return keys[:, :, nearest_keys(frames, scale).to(keys.device)]


def both_keys(keys: Tensor, scale: int) -> Tensor:
    """(B, C, K, h, w) key latents to (B, 2·C, 1 + scale·(K-1), h, w): each frame has the key before it (or at it) and the next one."""
    before = torch.arange(1 + scale * (keys.shape[2] - 1), device=keys.device) // scale
    return torch.cat([keys[:, :, before], keys[:, :, (before + 1).clamp(max=keys.shape[2] - 1)]], dim=1)


def blend_keys(keys: Tensor, scale: int) -> Tensor:
    """The same shape by linear blending of the two keys around each frame: the plain answer to interpolation."""
    frames = 1 + scale * (keys.shape[2] - 1)
    place = torch.arange(frames, device=keys.device) / scale
    before = place.floor().long().clamp(max=max(0, keys.shape[2] - 2))
    share = (place - before).view(1, 1, -1, 1, 1).to(keys.dtype)
    after = (before + 1).clamp(max=keys.shape[2] - 1)
    return keys[:, :, before] * (1 - share) + keys[:, :, after] * share


def noise_low_resolution(low: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """(B, 3, F, h, w) pictures noised to the levels (B,), 0 to 999 (Ho et al. 2022, Cascaded Diffusion Models, section 4.2)."""
    kept = _LOW_RES_KEPT[levels.cpu()].float().view(-1, 1, 1, 1, 1).to(low.device)
    return kept.sqrt() * low + (1 - kept).sqrt() * noise


def resize_clip(clip: Tensor, height: int, width: int) -> Tensor:
    """(B, C, F, H, W) at another size by bicubic interpolation, averaging when it shrinks."""
    if clip.shape[-2:] == (height, width):
        return clip
    pictures = clip.transpose(1, 2).flatten(0, 1)
    changed = F.interpolate(pictures, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return changed.unflatten(0, (clip.shape[0], clip.shape[2])).transpose(1, 2)
