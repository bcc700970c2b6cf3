"""The video UNet written out plainly: the yardstick for `benchmarks/unet.py` and `benchmarks/parity.py`, never imported by the product.

The same function from the same weights, the way such networks are usually ported: scores and softmax as separate steps, text
repeated for every frame, contiguous copies around every fold, whole 3-D convolutions over time.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from benchmarks.plain_layout import batch_to_frames, batch_to_heads, first_and_former, frames_to_batch, heads_to_batch
from benchmarks.plain_modules import attend_in_module
from train.module_attention import ModuleAttention


class PlainUNet:
    """Configuration and weights of a VideoUNet; call it as one. Video only: no images beside it."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        self.config = config
        self.weights = {key: value.detach().clone().requires_grad_(not key.endswith("freqs")) for key, value in weights.items()}
        levels = len(config["block_out_channels"])
        self.heads, self.only_cross = (
            tuple(value) if isinstance(value, tuple | list) else (value,) * levels for value in (config["num_attention_heads"], config["only_cross_attention"])
        )

    def __call__(
        self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, low_res: Tensor | None = None, class_labels: Tensor | None = None
    ) -> Tensor:
        told = (low_res, timestep)
        sample = sample if low_res is None else torch.cat([sample, low_res], dim=1)
        sample = 2 * sample - 1 if self.config["center_input_sample"] else sample
        time = self.time(timestep, class_labels)
        text, levels = encoder_hidden_states, len(self.config["block_out_channels"])
        if self.config["text_summary"]:
            time = time + self.summary(text)
        x = self.conv("conv_in", sample)
        if "temporal_positions.weight" in self.weights:
            numbers = torch.arange(x.shape[2], device=x.device)
            waves = get_timestep_embedding(numbers, x.shape[1], self.config["flip_sin_to_cos"], self.config["freq_shift"])
            x = x + self.linear("temporal_positions", waves).T[None, :, :, None, None]
        if self.config["place_positions"]:
            x = x + self.places(*x.shape[3:])
        states = [x]
        for level in range(levels):
            block = f"down_blocks.{level}"
            for layer in range(self.config["layers_per_block"]):
                x = self.resnet(f"{block}.resnets.{layer}", x, time)
                x = self.transformer(f"{block}.attentions.{layer}", x, text, level, self.only_cross[level])
                states.append(x)
            if level < levels - 1:
                x = self.conv(f"{block}.downsamplers.0.conv", x, stride=2, padding=self.config["downsample_padding"])
                states.append(x)
            x = self.temporal_module(f"down_temporal_blocks.{level}", x, time, told)
        x = self.middle_resnet("mid_block.resnets.0", x, time)
        x = self.transformer("mid_block.attentions.0", x, text, levels - 1, self.config["middle_only_cross_attention"])
        x = self.temporal_module("mid_temporal_block", self.middle_resnet("mid_block.resnets.1", x, time), time, told)
        for step, level in enumerate(reversed(range(levels))):
            block = f"up_blocks.{step}"
            for layer in range(self.config["layers_per_block"] + 1):
                x = self.resnet(f"{block}.resnets.{layer}", torch.cat([x, states.pop()], dim=1), time)
                x = self.transformer(f"{block}.attentions.{layer}", x, text, level, self.only_cross[level])
            if level > 0:
                x = self.conv(f"{block}.upsamplers.0.conv", F.interpolate(x, size=states[-1].shape[2:], mode="nearest"))
            x = self.temporal_module(f"up_temporal_blocks.{step}", x, time, told)
        return self.conv("conv_out", F.silu(self.norm("conv_norm_out", x, self.config["norm_num_groups"], self.config["norm_eps"])))

    def time(self, timestep: Tensor, labels: Tensor | None) -> Tensor:
        time = self.embedded("time_embedding", timestep)
        if labels is None or (self.config["class_embed_type"] is None and self.config["num_class_embeds"] is None):
            return time
        if self.config["class_embed_type"] is None:
            return time + F.embedding(labels, self.weights["class_embedding.weight"])
        return time + (labels if self.config["class_embed_type"] == "identity" else self.embedded("class_embedding", labels))

    def embedded(self, name: str, numbers: Tensor) -> Tensor:
        waves = get_timestep_embedding(numbers, self.config["block_out_channels"][0], self.config["flip_sin_to_cos"], self.config["freq_shift"])
        return self.linear(f"{name}.linear_2", F.silu(self.linear(f"{name}.linear_1", waves)))

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def norm(self, name: str, x: Tensor, groups: int, eps: float) -> Tensor:
        return F.group_norm(x, groups, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], eps)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def conv(self, name: str, x: Tensor, stride: int = 1, padding: int | None = None) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        out = F.conv2d(frames_to_batch(x), weight, self.weights[f"{name}.bias"], stride, weight.shape[-1] // 2 if padding is None else padding)
        return batch_to_frames(out, x.shape[2])

    def time_conv(self, name: str, x: Tensor) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return F.conv3d(x, weight, self.weights[f"{name}.bias"], padding=(weight.shape[2] // 2, 0, 0))

    def resnet(self, name: str, x: Tensor, time: Tensor, temporal: bool = False, first_groups: int | None = None) -> Tensor:
        groups, eps = (self.config["temporal_norm_groups"], 1e-6) if temporal else (self.config["norm_num_groups"], self.config["norm_eps"])
        activate = F.mish if self.config["act_fn"] == "mish" and not temporal else F.silu
        h = self.conv(f"{name}.conv1", activate(self.norm(f"{name}.norm1", x, first_groups or groups, eps)))
        told = self.linear(f"{name}.time_emb_proj", activate(time))[:, :, None, None, None]
        if self.config["resnet_time_scale_shift"] == "scale_shift" and not temporal:
            scale, shift = told.chunk(2, dim=1)
            h = self.norm(f"{name}.norm2", h, groups, eps) * (1 + scale) + shift
        else:
            h = self.norm(f"{name}.norm2", h + told, groups, eps)
        h = self.conv(f"{name}.conv2", activate(h))
        return h + (self.conv(f"{name}.conv_shortcut", x) if f"{name}.conv_shortcut.weight" in self.weights else x)

    def summary(self, text: Tensor) -> Tensor:
        words = F.silu(self.linear("summary.word", F.layer_norm(text, text.shape[-1:])))
        words = torch.where((text == 0).all(dim=-1, keepdim=True), torch.zeros_like(words), words)
        return self.linear("summary.whole", words.sum(dim=1) / 2)

    def places(self, height: int, width: int) -> Tensor:
        rows = (torch.arange(height) + 0.5) / height - 0.5
        columns = (torch.arange(width) + 0.5) / width - 0.5
        periods = torch.tensor([0.25, 0.5, 1.0, 2.0])
        down = 2 * math.pi * rows[:, None, None].expand(height, width, 1) * periods
        across = 2 * math.pi * columns[None, :, None].expand(height, width, 1) * periods
        angles = torch.cat([down, across], dim=-1)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1).to(self.weights["places.project.weight"].device)
        return self.linear("places.project", waves).permute(2, 0, 1)[None, :, None]

    def middle_resnet(self, name: str, x: Tensor, time: Tensor) -> Tensor:
        out, divisor = self.resnet(name, x, time), self.config["mid_block_scale_factor"]
        return out if divisor == 1 else out / divisor

    def resnet_over_time(self, name: str, x: Tensor, time: Tensor | None) -> Tensor:
        groups = self.config["temporal_norm_groups"]
        h = self.time_conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", x, groups, 1e-6)))
        if time is not None:
            h = h + self.linear(f"{name}.time_emb_proj", F.silu(time))[:, :, None, None, None]
        x = self.time_conv(f"{name}.conv_shortcut", x) if f"{name}.conv_shortcut.weight" in self.weights else x
        return x + self.time_conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", h, groups, 1e-6)))

    def temporal_module(self, name: str, x: Tensor, time: Tensor, told: tuple[Tensor | None, Tensor]) -> Tensor:
        if f"{name}.resblocks_3d_s.conv1.weight" not in self.weights:
            return x
        (low_res, timestep), h = told, x
        if self.config["temporal_condition"] and low_res is not None:
            small = batch_to_frames(F.interpolate(frames_to_batch(low_res), size=x.shape[3:], mode="area"), x.shape[2])
            h = torch.cat([x, self.resnet(f"{name}.v_cond_conv", small, time, temporal=True, first_groups=3)], dim=1)
        h = self.resnet_over_time(f"{name}.resblocks_3d_t", h, time)
        h = self.resnet(f"{name}.resblocks_3d_s", h, time, temporal=True)
        if self.config["temporal_attention"]:
            h = attend_in_module(self, f"{name}.attentions.0", h, timestep, ModuleAttention(**self.config["temporal_attention"]))
        if self.config["temporal_scale"]:
            scale, shift = self.conv(f"{name}.scale_shift_conv", h).chunk(2, dim=1)
            return x * scale + x + shift
        return x + self.conv(f"{name}.shift_conv", h)

    def transformer(self, name: str, x: Tensor, text: Tensor, level: int, only_cross: bool) -> Tensor:
        if f"{name}.norm.weight" not in self.weights:
            return x
        if f"{name}.resblock_temporal.norm1.weight" in self.weights:
            x = self.resnet_over_time(f"{name}.resblock_temporal", x, None)
        frames, (height, width) = x.shape[2], x.shape[3:]
        folded = frames_to_batch(x)
        text = text.repeat_interleave(frames, dim=0)
        h = self.norm(f"{name}.norm", folded, self.config["norm_num_groups"], 1e-6)
        if self.config["use_linear_projection"]:
            h = self.linear(f"{name}.proj_in", h.flatten(2).transpose(1, 2).contiguous())
        else:
            h = F.conv2d(h, self.weights[f"{name}.proj_in.weight"], self.weights[f"{name}.proj_in.bias"]).flatten(2).transpose(1, 2).contiguous()
        h = self.block(f"{name}.transformer_blocks.0", h, text, frames, self.heads[level], only_cross)
        if self.config["use_linear_projection"]:
            h = self.linear(f"{name}.proj_out", h).transpose(1, 2).unflatten(2, (height, width)).contiguous()
        else:
            h = h.transpose(1, 2).unflatten(2, (height, width)).contiguous()
            h = F.conv2d(h, self.weights[f"{name}.proj_out.weight"], self.weights[f"{name}.proj_out.bias"])
        return batch_to_frames(h + folded, frames)

    def block(self, name: str, x: Tensor, text: Tensor, frames: int, heads: int, only_cross: bool) -> Tensor:
        sparse = self.config["spatial_attention"] == "sparse_causal" and not only_cross
        x = x + self.attention(f"{name}.attn1", self.layer_norm(f"{name}.norm1", x), text if only_cross else None, heads, frames if sparse else 0)
        x = x + self.attention(f"{name}.attn2", self.layer_norm(f"{name}.norm2", x), text, heads)
        if self.config["temporal_position"] == "before_ff":
            x = self.over_time(name, x, frames, heads)
        h, gate = self.linear(f"{name}.ff.net.0.proj", self.layer_norm(f"{name}.norm3", x)).chunk(2, dim=-1)
        x = x + self.linear(f"{name}.ff.net.2", h * F.gelu(gate))
        return x if self.config["temporal_position"] == "before_ff" else self.over_time(name, x, frames, heads)

    def attention(self, name: str, x: Tensor, context: Tensor | None, heads: int, sparse_frames: int = 0) -> Tensor:
        q = self.linear(f"{name}.to_q", x)
        k, v = (self.linear(f"{name}.to_{part}", x if context is None else context) for part in "kv")
        if sparse_frames:
            k, v = (first_and_former(part, sparse_frames) for part in (k, v))
        q, k, v = (heads_to_batch(part, heads) for part in (q, k, v))
        scores = torch.bmm(q, k.transpose(1, 2)) * q.shape[-1] ** -0.5
        return self.linear(f"{name}.to_out.0", batch_to_heads(torch.bmm(scores.softmax(dim=-1), v), heads))

    def over_time(self, name: str, x: Tensor, frames: int, heads: int) -> Tensor:
        suffix, places = self.config["temporal_suffix"], x.shape[1]
        rows = x.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1).contiguous()
        layer = f"{name}.attn_{suffix}"
        normed = self.layer_norm(f"{name}.norm_{suffix}", rows)
        q, k, v = (self.linear(f"{layer}.to_{part}", normed).unflatten(-1, (heads, -1)).transpose(1, 2).contiguous() for part in "qkv")
        q = q * q.shape[-1] ** -0.5
        if self.config["temporal_encoding"] == "none":
            scores = q @ k.transpose(-1, -2)
        else:
            table = self.weights[f"{layer}.time_rel_pos_bias.relative_attention_bias.weight"]
            scores = rotate(q) @ rotate(k).transpose(-1, -2) + F.embedding(buckets(frames, table.device), table).permute(2, 0, 1)
        out = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        rows = rows + self.linear(f"{layer}.to_out.0", out)
        return rows.unflatten(0, (-1, places)).transpose(1, 2).flatten(0, 1).contiguous()


def rotate(x: Tensor) -> Tensor:
    channels = min(32, x.shape[-1] // 2 * 2)
    frequencies = 10_000 ** (-torch.arange(0, channels, 2, device=x.device) / 32)
    angles = torch.outer(torch.arange(x.shape[-2], dtype=torch.float32, device=x.device), frequencies)
    even, odd = x[..., 0:channels:2], x[..., 1:channels:2]
    turned = torch.stack([even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()], dim=-1).flatten(-2)
    return torch.cat([turned, x[..., channels:]], dim=-1)


def buckets(frames: int, device: torch.device) -> Tensor:
    position = torch.arange(frames, device=device)
    distance = position[None, :] - position[:, None]
    size = distance.abs()
    far = (8 + (torch.log(size.clamp(min=1) / 8) / math.log(4) * 8).long()).clamp(max=15)
    return (distance > 0) * 16 + torch.where(size < 8, size, far)
