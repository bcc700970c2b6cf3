"""The video UNet: Stable Diffusion's image UNet with temporal parts added; one class, configured into LaVie's three stages.

Source: Wang et al. 2023, LaVie (arXiv 2309.15103), and its public implementation, which this reproduces number for number.
Keys and shapes are diffusers' UNet2DConditionModel plus the published temporal ones, so image and video weights load as they are.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn

from train.attention import RotaryEmbedding, TemporalAttention
from train.levels import LevelDesign, per_level
from train.module_attention import ModuleAttention
from train.resnet import FrameConv
from train.summary import PlacePositions, TextSummary
from train.temporal import TemporalModule, over_video
from train.transformer import Transformer


def is_temporal(name: str) -> bool:
    """Whether a parameter (by its dotted name) is one of those added to the image model; the rest are spatial."""
    return "_temp" in name or name.startswith("temporal_")


class VideoUNet(ModelMixin, ConfigMixin):
    """Predicts noise (or velocity, or flow) on a clip of latents, from text and a diffusion time.

    Args:
        in_channels: 4 for base; 8 for interpolation (noisy, condition); 7 for super-resolution (noisy, low-resolution RGB).
        block_out_channels: width of each level, largest size first; any number of levels.
        layers_per_block: resnets per level on the way down; one more on the way up.
        down_attention, up_attention: which levels have transformers, in order of execution. `up_attention` mirrors by default.
        num_attention_heads: for all levels, or for each (`attention_head_dim` in diffusers' and LaVie's files).
        only_cross_attention: whether the first attention of a level's transformers also looks at the text, for all or for each.
        use_linear_projection: linear, not 1x1-convolution, projections around transformers.
        num_class_embeds: size of the noise-level table added to the time embedding, or None.
        class_embed_type: in place of a table, `timestep` treats labels as times, and `identity` adds them as they are, (B, E).
        act_fn: of the resnets: `silu` (`swish`) or `mish`.
        resnet_time_scale_shift: whether the time is added within resnets (`default`) or scales and shifts (`scale_shift`).
        mid_block_scale_factor: divisor of the output of the resnets at the smallest size.
        temporal_position: attention over time before or after the feed-forward.
        temporal_encoding: rotary positions and relative bias, or neither.
        spatial_attention: each frame over itself, or over the first and the former frame.
        temporal_suffix: the published name of the temporal parts: `temp` (base, interpolation) or `temporal` (super-resolution).
        temporal_resblocks: a temporal resnet at the head of every transformer.
        temporal_down, temporal_middle, temporal_up: after which levels a temporal module follows.
        temporal_norm_groups: groups of the norms inside temporal resnets and modules.
        downsample_padding: of the convolutions that halve the size; more than one where sizes do not halve evenly.
        temporal_condition: whether temporal modules see `low_res` too, made as small as their level.
        temporal_scale: whether temporal modules also scale what they add to.
        temporal_attention: attention within temporal modules, as `ModuleAttention` says it; None for none.
        frame_positions: whether every frame is told its number, before anything else. The published network is not: identical frames
            stay identical through attention over time, so which way time runs must be read from their noise.
        place_positions: whether every place is told where in the picture it is; for networks of one size of picture.
        text_summary: whether a summary of the caption joins the time embedding, besides attention to its words.
        temporal_init: `identity` zeroes all temporal outputs, so that the network starts as the image model, frame by frame.
            `reference` leaves, as the published code does, the output bias of temporal attention and the temporal resnets random.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("Transformer", "Resnet")

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        down_attention: tuple[bool, ...] = (True, True, True, False),
        up_attention: tuple[bool, ...] | None = None,
        num_attention_heads: int | tuple[int, ...] = 8,
        cross_attention_dim: int = 768,
        only_cross_attention: bool | tuple[bool, ...] = False,
        middle_only_cross_attention: bool = False,
        use_linear_projection: bool = False,
        num_class_embeds: int | None = None,
        class_embed_type: Literal["timestep", "identity"] | None = None,
        act_fn: Literal["silu", "swish", "mish"] = "silu",
        resnet_time_scale_shift: Literal["default", "scale_shift"] = "default",
        mid_block_scale_factor: float = 1.0,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        center_input_sample: bool = False,
        flip_sin_to_cos: bool = True,
        freq_shift: float = 0,
        temporal_position: Literal["before_ff", "after_ff"] = "before_ff",
        temporal_encoding: Literal["rotary_and_relative", "none"] = "rotary_and_relative",
        spatial_attention: Literal["full", "sparse_causal"] = "full",
        temporal_suffix: Literal["temp", "temporal"] = "temp",
        temporal_resblocks: bool = False,
        temporal_down: tuple[int, ...] = (),
        temporal_middle: bool = False,
        temporal_up: tuple[int, ...] = (),
        temporal_norm_groups: int = 32,
        downsample_padding: int = 1,
        temporal_condition: bool = False,
        temporal_scale: bool = False,
        temporal_attention: dict[str, Any] | None = None,
        frame_positions: bool = False,
        place_positions: bool = False,
        text_summary: bool = False,
        temporal_init: Literal["identity", "reference"] = "identity",
    ) -> None:
        super().__init__()
        levels = len(block_out_channels)
        time_channels = 4 * block_out_channels[0]
        with_down = per_level(down_attention, levels, "down_attention")
        with_up = with_down[::-1] if up_attention is None else per_level(up_attention, levels, "up_attention")
        rotary = RotaryEmbedding() if temporal_encoding == "rotary_and_relative" else None
        design = LevelDesign(
            widths=tuple(block_out_channels),
            heads=per_level(num_attention_heads, levels, "num_attention_heads"),
            only_cross_attention=per_level(only_cross_attention, levels, "only_cross_attention"),
            layers=layers_per_block,
            time_channels=time_channels,
            text_channels=cross_attention_dim,
            norm_groups=norm_num_groups,
            norm_eps=norm_eps,
            activation=act_fn,
            scale_shift=resnet_time_scale_shift == "scale_shift",
            middle_divisor=mid_block_scale_factor,
            linear_projection=use_linear_projection,
            rotary=rotary,
            spatial_attention=spatial_attention,
            temporal_position=temporal_position,
            temporal_suffix=temporal_suffix,
            temporal_resblocks=temporal_resblocks,
            temporal_norm_groups=temporal_norm_groups,
            downsample_padding=downsample_padding,
            temporal_condition=temporal_condition,
            temporal_scale=temporal_scale,
            temporal_attention=ModuleAttention(**temporal_attention) if temporal_attention else None,
        )
        downward, upward = range(levels), range(levels - 1, -1, -1)
        self.conv_in = FrameConv(in_channels, block_out_channels[0], 3, padding=1)
        self.time_proj = Timesteps(block_out_channels[0], flip_sin_to_cos, freq_shift)
        self.time_embedding = TimestepEmbedding(block_out_channels[0], time_channels)
        self.class_embedding = self._label_embedding(class_embed_type, num_class_embeds, block_out_channels[0])
        self.down_blocks = nn.ModuleList(design.down(level, with_down[level]) for level in downward)
        self.down_temporal_blocks = nn.ModuleList(design.temporal_module(level, level in temporal_down) for level in downward)
        self.mid_block = design.middle(middle_only_cross_attention)
        self.mid_temporal_block = design.temporal_module(levels - 1, temporal_middle)
        self.up_blocks = nn.ModuleList(design.up(level, with_up[step]) for step, level in enumerate(upward))
        self.up_temporal_blocks = nn.ModuleList(design.temporal_module(level, step in temporal_up) for step, level in enumerate(upward))
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, block_out_channels[0], eps=norm_eps)
        self.conv_out = FrameConv(block_out_channels[0], out_channels, 3, padding=1)
        if rotary is not None and temporal_suffix == "temporal":
            self.temporal_rotary_emb = rotary  # listed once more at the top in the published layout
        self.temporal_positions = nn.Linear(block_out_channels[0], block_out_channels[0], bias=False) if frame_positions else None
        self.places = PlacePositions(block_out_channels[0]) if place_positions else None
        self.summary = TextSummary(cross_attention_dim, time_channels) if text_summary else None
        self.reset_temporal_outputs()

    @staticmethod
    def _label_embedding(kind: str | None, count: int | None, channels: int) -> nn.Module | None:
        """What turns labels into something of the time embedding's size; None where the network takes no labels."""
        if kind == "timestep":
            return TimestepEmbedding(channels, 4 * channels)
        if kind == "identity":
            return nn.Identity()
        return None if count is None else nn.Embedding(count, 4 * channels)

    def reset_temporal_outputs(self) -> None:
        """Zero what temporal parts add to the image model, as far as `temporal_init` says."""
        whole = self.config["temporal_init"] == "identity"
        for module in self.modules():
            outputs: list[nn.Module] = []
            if isinstance(module, TemporalAttention):
                outputs = [module.to_out]
            elif isinstance(module, TemporalModule):
                outputs = [module.output]
            elif isinstance(module, Transformer) and module.resblock_temporal is not None and whole:
                outputs = [module.resblock_temporal.conv2]
            elif self.temporal_positions is not None and module is self.temporal_positions:
                outputs = [self.temporal_positions]
            for name, parameter in (named for output in outputs for named in output.named_parameters()):
                if whole or name != "0.bias":  # the bias of temporal attention
                    nn.init.zeros_(parameter)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        low_res: Tensor | None = None,
        class_labels: Tensor | None = None,
        num_images: int = 0,
    ) -> Tensor:
        """Predict on latents.

        Args:
            sample: (B, C, T+M, H, W); the M = `num_images` still images follow the T frames of the video. They share its time and its
                resnet statistics, and temporal layers do not see them.
            timestep: one for all samples, or (B,).
            encoder_hidden_states: (B, L, D), or (B, 1+M, L, D) with a caption for the video and one for each image.
            low_res: (B, C', T+M, H, W), joined to the channels of `sample`.
            class_labels: (B,) noise levels, needed if the model has a table of them; (B, E) if it adds them as they are.

        Returns:
            (B, out_channels, T+M, H, W)
        """
        sample = sample if low_res is None else torch.cat([sample, low_res], dim=1)
        self._check(sample, encoder_hidden_states, class_labels, num_images, low_res)
        if self.config["center_input_sample"]:
            sample = 2 * sample - 1
        steps = torch.as_tensor(timestep, device=sample.device).expand(sample.shape[0])
        time = self._embed_time(sample, steps, class_labels)
        if self.summary is not None:
            time = time + self.summary(encoder_hidden_states if encoder_hidden_states.ndim == 3 else encoder_hidden_states[:, 0])

        x = self._numbered(self.conv_in(sample), num_images)
        if self.places is not None:
            x = self.places(x)
        shown = None if low_res is None else low_res[:, :, : sample.shape[2] - num_images]
        states = [x]
        for level, temporal in zip(self.down_blocks, self.down_temporal_blocks):
            x, new_states = level(x, time, encoder_hidden_states, num_images)
            states += new_states
            x = self._after_level(temporal, x, num_images, time, shown, steps)
        x = self.mid_block(x, time, encoder_hidden_states, num_images)
        x = self._after_level(self.mid_temporal_block, x, num_images, time, shown, steps)
        for level, temporal in zip(self.up_blocks, self.up_temporal_blocks):
            x = level(x, states, time, encoder_hidden_states, num_images)
            x = self._after_level(temporal, x, num_images, time, shown, steps)
        return self.conv_out(F.silu(self.conv_norm_out(x)))

    def _numbered(self, x: Tensor, num_images: int) -> Tensor:
        """The state (B, C, T+M, H, W) with the number of each of the T frames added to it, as waves; images have none."""
        if self.temporal_positions is None:
            return x
        numbers = torch.arange(x.shape[2] - num_images, device=x.device)
        waves = self.temporal_positions(self.time_proj(numbers).to(x.dtype)).T
        return x + F.pad(waves, (0, num_images))[:, :, None, None]

    @staticmethod
    def _after_level(module: nn.Module, x: Tensor, num_images: int, *told: Tensor | None) -> Tensor:
        return over_video(module, x, num_images, *told) if isinstance(module, TemporalModule) else x

    def _embed_time(self, sample: Tensor, steps: Tensor, class_labels: Tensor | None) -> Tensor:
        """(B, E): the diffusion time, plus the noise level where there is one."""
        time = self.time_embedding(self.time_proj(steps).to(sample.dtype))
        if self.class_embedding is not None and class_labels is not None:
            labels = self.time_proj(class_labels).to(time.dtype) if self.config["class_embed_type"] == "timestep" else class_labels
            time = time + self.class_embedding(labels).to(time.dtype)
        return time

    def _check(self, sample: Tensor, text: Tensor, class_labels: Tensor | None, num_images: int, low_res: Tensor | None) -> None:
        if sample.ndim != 5 or sample.shape[1] != self.config["in_channels"]:
            raise ValueError(f"sample (with low_res) must be (B, {self.config['in_channels']}, F, H, W), not {tuple(sample.shape)}")
        if not 0 <= num_images < sample.shape[2]:
            raise ValueError(f"num_images is {num_images}, of {sample.shape[2]} frames: at least one frame of video must come before the images")
        if text.ndim == 4 and text.shape[1] != 1 + num_images:
            raise ValueError(f"joint text must be (B, {1 + num_images}, L, D), the video's caption and one for each image, not {tuple(text.shape)}")
        if self.class_embedding is not None and class_labels is None:
            raise ValueError("this model needs class_labels, such as the (B,) noise levels of a low-resolution input")
        if self.config["temporal_condition"] and low_res is None:
            raise ValueError("this model needs low_res by itself: its temporal modules see the low-resolution frames too")

    def use_channels_last(self) -> "VideoUNet":
        """Keep 2-D convolution weights, and with them all activations, in channels-last memory: faster, equal up to rounding."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
        return self
