"""Frames and heads in and out of the batch, each with a copy, as the plain network does it."""

import torch
from torch import Tensor


def frames_to_batch(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(0, 1).contiguous()


def batch_to_frames(x: Tensor, frames: int) -> Tensor:
    return x.unflatten(0, (-1, frames)).transpose(1, 2).contiguous()


def heads_to_batch(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1).contiguous()


def batch_to_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(0, (-1, heads)).transpose(1, 2).flatten(2).contiguous()


def first_and_former(x: Tensor, frames: int) -> Tensor:
    by_frame = x.unflatten(0, (-1, frames))
    former = [max(frame - 1, 0) for frame in range(frames)]
    return torch.cat([by_frame[:, [0] * frames], by_frame[:, former]], dim=2).flatten(0, 1)
