"""The levels of the UNet: runs of resnets and transformers at one size, on the way down, at the bottom and on the way up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from train.attention import RotaryEmbedding
from train.module_attention import ModuleAttention
from train.resnet import Downsample, Resnet, Upsample
from train.temporal import TemporalModule
from train.transformer import Transformer, TransformerBlock


class Level(nn.Module):
    """A run of resnets, some followed by a transformer: what diffusers calls a block. Can trade memory for a second forward."""

    def __init__(self, resnets: list[Resnet], attentions: list[Transformer]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions)
        # Both are set by ModelMixin.enable_gradient_checkpointing.
        self.gradient_checkpointing = False
        self._gradient_checkpointing_func: Callable[..., Tensor] = checkpoint

    def apply_layer(self, layer: nn.Module, *inputs: Any) -> Tensor:
        """Run a layer, keeping only its inputs for the backward pass when checkpointing is on."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(layer, *inputs)
        return layer(*inputs)


class DownLevel(Level):
    """Resnets (and transformers), then half the size; yields every intermediate state for the way up."""

    def __init__(self, resnets: list[Resnet], attentions: list[Transformer], downsample: Downsample | None) -> None:
        super().__init__(resnets, attentions)
        self.downsamplers = nn.ModuleList([] if downsample is None else [downsample])

    def forward(self, x: Tensor, time: Tensor, text: Tensor, num_images: int) -> tuple[Tensor, list[Tensor]]:
        states = []
        for index, resnet in enumerate(self.resnets):
            x = self.apply_layer(resnet, x, time)
            if self.attentions:
                x = self.apply_layer(self.attentions[index], x, text, num_images)
            states.append(x)
        for downsample in self.downsamplers:
            x = downsample(x)
            states.append(x)
        return x, states


class MiddleLevel(Level):
    """Resnet, transformer, resnet at the smallest size."""

    def forward(self, x: Tensor, time: Tensor, text: Tensor, num_images: int) -> Tensor:
        x = self.apply_layer(self.resnets[0], x, time)
        for attention, resnet in zip(self.attentions, self.resnets[1:]):
            x = self.apply_layer(attention, x, text, num_images)
            x = self.apply_layer(resnet, x, time)
        return x


class UpLevel(Level):
    """Resnets on the state joined with those of the way down, then the size of the next ones."""

    def __init__(self, resnets: list[Resnet], attentions: list[Transformer], upsample: Upsample | None) -> None:
        super().__init__(resnets, attentions)
        self.upsamplers = nn.ModuleList([] if upsample is None else [upsample])

    def forward(self, x: Tensor, states: list[Tensor], time: Tensor, text: Tensor, num_images: int) -> Tensor:
        """Takes its states off the end of the list."""
        for index, resnet in enumerate(self.resnets):
            x = self.apply_layer(resnet, torch.cat([x, states.pop()], dim=1), time)
            if self.attentions:
                x = self.apply_layer(self.attentions[index], x, text, num_images)
        for upsample in self.upsamplers:
            x = upsample(x, *states[-1].shape[-2:])
        return x


@dataclass(frozen=True)
class LevelDesign:
    """What levels are built from: the widths and switches of one network. Sequences have one value per level, largest size first."""

    widths: tuple[int, ...]
    heads: tuple[int, ...]
    only_cross_attention: tuple[bool, ...]
    layers: int
    time_channels: int
    text_channels: int
    norm_groups: int
    norm_eps: float
    activation: str
    scale_shift: bool
    middle_divisor: float
    linear_projection: bool
    rotary: RotaryEmbedding | None
    spatial_attention: Literal["full", "sparse_causal"]
    temporal_position: Literal["before_ff", "after_ff"]
    temporal_suffix: Literal["temp", "temporal"]
    temporal_resblocks: bool
    temporal_norm_groups: int
    downsample_padding: int
    temporal_condition: bool
    temporal_scale: bool
    temporal_attention: ModuleAttention | None

    def resnet(self, channels_in: int, channels_out: int, divisor: float = 1.0) -> Resnet:
        return Resnet(channels_in, channels_out, self.time_channels, self.norm_groups, self.norm_eps, self.activation, self.scale_shift, divisor)

    def transformer(self, level: int, only_cross_attention: bool) -> Transformer:
        block = TransformerBlock(
            self.widths[level],
            self.heads[level],
            self.text_channels,
            self.rotary,
            only_cross_attention,
            self.spatial_attention,
            self.temporal_position,
            self.temporal_suffix,
        )
        temporal_groups = self.temporal_norm_groups if self.temporal_resblocks else None
        return Transformer(self.widths[level], self.norm_groups, self.linear_projection, temporal_groups, [block])

    def down(self, level: int, attention: bool) -> DownLevel:
        width, above = self.widths[level], self.widths[max(level - 1, 0)]
        resnets = [self.resnet(above if layer == 0 else width, width) for layer in range(self.layers)]
        attentions = [self.transformer(level, self.only_cross_attention[level]) for _ in resnets] if attention else []
        return DownLevel(resnets, attentions, Downsample(width, self.downsample_padding) if level < len(self.widths) - 1 else None)

    def middle(self, only_cross_attention: bool) -> MiddleLevel:
        width = self.widths[-1]
        resnets = [self.resnet(width, width, self.middle_divisor) for _ in range(2)]
        return MiddleLevel(resnets, [self.transformer(len(self.widths) - 1, only_cross_attention)])

    def up(self, level: int, attention: bool) -> UpLevel:
        """Joined are the states of this level on the way down, last first, and then the one it began with."""
        width, above = self.widths[level], self.widths[max(level - 1, 0)]
        below = self.widths[min(level + 1, len(self.widths) - 1)]
        states = [*[width] * self.layers, above]
        resnets = [self.resnet((below if layer == 0 else width) + state, width) for layer, state in enumerate(states)]
        attentions = [self.transformer(level, self.only_cross_attention[level]) for _ in resnets] if attention else []
        return UpLevel(resnets, attentions, Upsample(width) if level > 0 else None)

    def temporal_module(self, level: int, wanted: bool) -> nn.Module:
        if not wanted:
            return nn.Identity()
        attention = self.temporal_attention.transformer(self.widths[level]) if self.temporal_attention else None
        return TemporalModule(self.widths[level], self.temporal_norm_groups, self.time_channels, self.temporal_condition, attention, self.temporal_scale)


def per_level(value: Any, levels: int, name: str) -> tuple[Any, ...]:
    """One value for each level, from one for all or from a sequence."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * levels
    if len(values) != levels:
        raise ValueError(f"{name} has {len(values)} values for {levels} levels of block_out_channels; give one for all or one for each")
    return values
