"""Attention over a clip: each frame over itself, over the text, over earlier frames, and each place over time.

Everything goes through scaled_dot_product_attention. Tensors are named after their axes: B sample, F frame (T video frames,
then M still images), N place in the frame, C channel, L text token, D text channel, S heads, K channel within a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RELATIVE_BUCKETS = 32
RELATIVE_MAX_DISTANCE = 32
ROTARY_CHANNELS = 32
ROTARY_THETA = 10_000.0
# The fused CUDA kernels put the batch on a grid axis of this size; temporal attention has a batch of B x N.
MAX_FUSED_BATCH = 65_535


def attend(q_BNC: Tensor, k_BLC: Tensor, v_BLC: Tensor, heads: int, bias_SNL: Tensor | None = None) -> Tensor:
    """Multi-head attention of N queries over L keys; the bias is added to the scaled scores of every sample. (B, N, C)."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q_BNC, k_BLC, v_BLC))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias_SNL).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head attention with diffusers' parameter names: no bias on q, k, v; a bias on the output.

    Args:
        channels: C, divisible by `heads`.
        heads: how many heads (the published configurations call this number `attention_head_dim`).
        context_channels: the channels of what is attended to, when it is not the input itself.
        bias: whether q, k and v have one after all.
    """

    def __init__(self, channels: int, heads: int, context_channels: int | None = None, bias: bool = False) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be split into {heads} attention heads: choose widths that are multiples of the heads")
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=bias)
        self.to_k = nn.Linear(context_channels or channels, channels, bias=bias)
        self.to_v = nn.Linear(context_channels or channels, channels, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def project_out(self, x: Tensor) -> Tensor:
        return self.to_out[0](x)


class SpatialAttention(Attention):
    """Each frame attends to itself, frame by frame, as in the image model."""

    def forward(self, x_BFNC: Tensor, num_images: int = 0) -> Tensor:
        x = x_BFNC.flatten(0, 1)
        out = attend(self.to_q(x), self.to_k(x), self.to_v(x), self.heads)
        return self.project_out(out).view_as(x_BFNC)


class SparseCausalAttention(Attention):
    """Each frame attends to the first frame and to the one before it (Wu et al. 2023, Tune-A-Video, section 4.1).

    The first two frames see the first one only: there the two references coincide, and repeating a key changes nothing.
    Still images, which follow the video frames, see themselves.
    """

    def forward(self, x_BFNC: Tensor, num_images: int = 0) -> Tensor:
        q, k, v = self.to_q(x_BFNC), self.to_k(x_BFNC), self.to_v(x_BFNC)
        frames = x_BFNC.shape[1] - num_images
        head = min(frames, 2)
        parts = [self._over(q[:, :head], *(x[:, :1].expand(-1, head, -1, -1) for x in (k, v)))]
        if frames > 2:
            parts.append(self._over(q[:, 2:frames], *(self._first_and_former(x[:, :frames]) for x in (k, v))))
        if num_images:
            parts.append(self._over(q[:, frames:], k[:, frames:], v[:, frames:]))
        return self.project_out(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])

    def _over(self, q_BFNC: Tensor, k_BFLC: Tensor, v_BFLC: Tensor) -> Tensor:
        out = attend(q_BFNC.flatten(0, 1), k_BFLC.flatten(0, 1), v_BFLC.flatten(0, 1), self.heads)
        return out.view(q_BFNC.shape)

    @staticmethod
    def _first_and_former(x_BTNC: Tensor) -> Tensor:
        former = x_BTNC[:, 1:-1]
        return torch.cat([x_BTNC[:, :1].expand_as(former), former], dim=2)


class TextAttention(Attention):
    """Frames attend to text. Keys and values are made once per caption, never once per frame.

    Text is (B, L, D), one caption for the whole sample, or (B, 1+M, L, D), one for the video and one for each still image.
    """

    def forward(self, x_BFNC: Tensor, text: Tensor, num_images: int = 0) -> Tensor:
        q, k, v = self.to_q(x_BFNC), self.to_k(text), self.to_v(text)
        if text.ndim == 3:
            out = attend(q.flatten(1, 2), k, v, self.heads).view_as(x_BFNC)
        elif num_images == 0:
            out = attend(q.flatten(1, 2), k[:, 0], v[:, 0], self.heads).view_as(x_BFNC)
        else:
            frames = x_BFNC.shape[1] - num_images
            video = attend(q[:, :frames].flatten(1, 2), k[:, 0], v[:, 0], self.heads)
            images = attend(q[:, frames:].flatten(0, 1), k[:, 1:].flatten(0, 1), v[:, 1:].flatten(0, 1), self.heads)
            out = torch.cat([video.view_as(q[:, :frames]), images.view_as(q[:, frames:])], dim=1)
        return self.project_out(out)


class RotaryEmbedding(nn.Module):
    """Rotary position (Su et al. 2021, RoFormer) on adjacent channel pairs of the first 32 channels of each head.

    Angles are position x theta^(-2i/32), always in float32 and always recomputed: `freqs` exists because the published
    layout lists it under every layer that shares this module, and is neither read nor required when loading. Heads
    narrower than 32 channels rotate what they have, with the fastest frequencies.
    """

    def __init__(self) -> None:
        super().__init__()
        self.freqs = nn.Parameter(self.frequencies(), requires_grad=False)

    @staticmethod
    def frequencies(device: torch.device | None = None) -> Tensor:
        """(16,) radians per frame."""
        exponents = torch.arange(0, ROTARY_CHANNELS, 2, dtype=torch.float32, device=device) / ROTARY_CHANNELS
        return ROTARY_THETA**-exponents

    def forward(self, x: Tensor) -> Tensor:
        """Rotate x (..., F, K) by its frame index; the dtype is kept, the arithmetic is float32."""
        rotated = min(ROTARY_CHANNELS, x.shape[-1] // 2 * 2)
        positions = torch.arange(x.shape[-2], dtype=torch.float32, device=x.device)
        angles = torch.outer(positions, self.frequencies(x.device)[: rotated // 2]).repeat_interleave(2, dim=-1)
        sign = torch.tensor([-1.0, 1.0], device=x.device).repeat(rotated // 2)
        part = x[..., :rotated].float()
        partner = part.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        turned = torch.addcmul(part * angles.cos(), partner, angles.sin() * sign).to(x.dtype)
        return turned if rotated == x.shape[-1] else torch.cat([turned, x[..., rotated:]], dim=-1)

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        # Shared by many layers: each key gets its own copy, since safetensors refuses tensors that share memory.
        destination[prefix + "freqs"] = self.freqs.detach().clone()

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs) -> None:
        """Nothing to load: the frequencies are constants, and checkpoints without them are whole."""


def bucket_starts(num_buckets: int = RELATIVE_BUCKETS, max_distance: int = RELATIVE_MAX_DISTANCE) -> tuple[int, ...]:
    """The distance at which each bucket after the first begins, in one direction (T5, Raffel et al. 2020, section 2.1).

    The first half of a direction's buckets hold one distance each; the others grow logarithmically up to `max_distance`.
    """
    per_direction = num_buckets // 2
    exact = per_direction // 2
    # Exact in double precision but for the tie at the geometric middle, which the slack keeps on the side of the integer.
    growing = (math.ceil(exact * (max_distance / exact) ** (step / (per_direction - exact)) - 1e-9) for step in range(1, per_direction - exact))
    return (*range(1, exact + 1), *growing)


BUCKET_STARTS = bucket_starts()


def relative_buckets(frames: int, device: torch.device | str = "cpu") -> Tensor:
    """(F, F) bucket of key frame j as seen from query frame i: 0..15 for now and the past, 16..31 for the future."""
    position = torch.arange(frames, device=device)
    key_minus_query = position[None, :] - position[:, None]
    starts = torch.tensor(BUCKET_STARTS, device=device)
    bucket = torch.bucketize(key_minus_query.abs(), starts, right=True)
    return bucket + (key_minus_query > 0) * (RELATIVE_BUCKETS // 2)


class RelativePositionBias(nn.Module):
    """A learned score per head for each bucket of distance between two frames."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(RELATIVE_BUCKETS, heads)

    def forward(self, frames: int) -> Tensor:
        """(S, F, F): added to the attention scores of query frame i, key frame j."""
        weight = self.relative_attention_bias.weight
        return F.embedding(relative_buckets(frames, weight.device), weight).permute(2, 0, 1)


class TemporalAttention(Attention):
    """Each place attends over time, with rotary positions and a relative bias, or with neither.

    Args:
        rotary: shared by all layers, or None for attention that does not know the order of frames.
    """

    def __init__(self, channels: int, heads: int, rotary: RotaryEmbedding | None) -> None:
        super().__init__(channels, heads)
        if rotary is not None:
            self.time_rel_pos_bias = RelativePositionBias(heads)
        self.rotary_emb = rotary

    def forward(self, x: Tensor) -> Tensor:
        """x is (B, F, N, C), or (rows, F, C) with one row per place. The same shape comes back."""
        if x.ndim == 3:
            return self.forward(x.unsqueeze(2)).squeeze(2)
        q, k, v = (projection(x).unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1, 4) for projection in (self.to_q, self.to_k, self.to_v))
        bias = None
        if self.rotary_emb is not None:
            q, k = self.rotary_emb(q), self.rotary_emb(k)
            bias = self.time_rel_pos_bias(x.shape[1]).to(q.dtype)
        q, k, v = (part.flatten(0, 1) for part in (q, k, v))
        places = q.shape[0]
        parts = zip(q.split(MAX_FUSED_BATCH), k.split(MAX_FUSED_BATCH), v.split(MAX_FUSED_BATCH))
        chunks = (F.scaled_dot_product_attention(*part, attn_mask=bias) for part in parts)
        out = torch.cat(list(chunks)) if places > MAX_FUSED_BATCH else next(chunks)
        return self.project_out(out.unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2, 4).flatten(3))
