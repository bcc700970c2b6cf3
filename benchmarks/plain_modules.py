"""Attention within temporal modules, written plainly: a part of the network of benchmarks/plain_unet.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from benchmarks.plain_layout import batch_to_frames, batch_to_heads, frames_to_batch, heads_to_batch
from train.module_attention import ModuleAttention

if TYPE_CHECKING:
    from benchmarks.plain_unet import PlainUNet


def attend_in_module(net: PlainUNet, name: str, x: Tensor, timestep: Tensor, design: ModuleAttention) -> Tensor:
    """The transformer of a module on (B, C, F, H, W)."""
    frames, (height, width) = x.shape[2], x.shape[3:]
    folded = frames_to_batch(x)
    h = net.norm(f"{name}.norm", folded, design.norm_groups, 1e-6)
    tokens = net.linear(f"{name}.proj_in", h.flatten(2).transpose(1, 2)) if design.linear else one_by_one(net, f"{name}.proj_in", h).flatten(2).transpose(1, 2)
    steps = timestep.expand(x.shape[0]).repeat_interleave(frames)
    for layer in range(design.layers):
        tokens = block(net, f"{name}.transformer_blocks.{layer}", tokens, steps, frames, design)
    if design.linear:
        out = net.linear(f"{name}.proj_out", tokens).transpose(1, 2).unflatten(2, (height, width))
    else:
        out = one_by_one(net, f"{name}.proj_out", tokens.transpose(1, 2).unflatten(2, (height, width)))
    return batch_to_frames(out + folded, frames)


def one_by_one(net: PlainUNet, name: str, x: Tensor) -> Tensor:
    return F.conv2d(x, net.weights[f"{name}.weight"], net.weights[f"{name}.bias"])


def block(net: PlainUNet, name: str, x: Tensor, steps: Tensor, frames: int, design: ModuleAttention) -> Tensor:
    first, second = design.kinds
    if first is not None:
        x = x + attention(net, f"{name}.attn_spatial", step_norm(net, f"{name}.norm1", x, steps), frames, first, design)
    attended = attention(net, f"{name}.attn_temporal", step_norm(net, f"{name}.norm2", x, steps), frames, second, design)
    x = deformed(net, f"{name}.dcn_module", x, attended) if design.deform else x + attended
    h = net.layer_norm(f"{name}.norm3", x)
    h = net.linear(f"{name}.ff.net.0.proj", h)
    if design.activation == "geglu":
        value, gate = h.chunk(2, dim=-1)
        h = value * F.gelu(gate)
    else:
        h = F.gelu(h)
    return x + net.linear(f"{name}.ff.net.2", h)


def step_norm(net: PlainUNet, name: str, x: Tensor, steps: Tensor) -> Tensor:
    scale, shift = net.linear(f"{name}.linear", F.silu(net.weights[f"{name}.emb.weight"][steps])).chunk(2, dim=-1)
    centred = x - x.mean(dim=-1, keepdim=True)
    normed = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return normed * (1 + scale[:, None]) + shift[:, None]


def attention(net: PlainUNet, name: str, x: Tensor, frames: int, kind: str, design: ModuleAttention) -> Tensor:
    places = x.shape[1]
    if kind == "time":
        x = x.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1).contiguous()
    q, k, v = (net.linear(f"{name}.to_{part}", x) for part in "qkv")
    if kind == "frames":
        k, v = (beside(part.unflatten(0, (-1, frames)), design.seen).flatten(0, 1) for part in (k, v))
    elif kind == "shifted":
        k, v = (shifted(part.unflatten(0, (-1, frames)), part.shape[-1] // design.shifted_share).flatten(0, 1) for part in (k, v))
    q, k, v = (heads_to_batch(part, design.heads) for part in (q, k, v))
    scores = torch.bmm(q, k.transpose(1, 2)) * q.shape[-1] ** -0.5
    out = net.linear(f"{name}.to_out.0", batch_to_heads(torch.bmm(scores.softmax(dim=-1), v), design.heads))
    return out.unflatten(0, (-1, places)).transpose(1, 2).flatten(0, 1) if kind == "time" else out


def beside(x: Tensor, seen: tuple[str, ...]) -> Tensor:
    last = x.shape[1] - 1
    numbers = {"0": lambda frame: 0, "i-1": lambda frame: max(frame - 1, 0), "i": lambda frame: frame, "i+1": lambda frame: min(frame + 1, last)}
    return torch.stack([torch.cat([x[:, numbers[name](frame)] for name in seen], dim=1) for frame in range(last + 1)], dim=1)


def shifted(x: Tensor, channels: int) -> Tensor:
    out = x.clone()
    out[:, 0, :, :channels] = 0
    out[:, 1:, :, :channels] = x[:, :-1, :, :channels]
    return out


def deformed(net: PlainUNet, name: str, x: Tensor, attended: Tensor) -> Tensor:
    side = int(x.shape[1] ** 0.5)
    picture, other = (part.transpose(1, 2).unflatten(2, (side, side)).contiguous() for part in (x, attended))
    told = F.conv2d(torch.cat([picture, other], dim=1), net.weights[f"{name}.conv.weight"], net.weights[f"{name}.conv.bias"], padding=1)
    moved = deform_conv2d(picture, told[:, :18].contiguous(), net.weights[f"{name}.dcn_weight"], padding=1, mask=(2 * told[:, 18:].sigmoid()).contiguous())
    return (picture + net.weights[f"{name}.alpha"] * moved).flatten(2).transpose(1, 2)
