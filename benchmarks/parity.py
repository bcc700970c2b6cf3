"""Is `from_recording` right at any configuration? Configurations and inputs drawn at random, against the network written plainly.

    python -m benchmarks.parity --networks 100        of each stage, some minutes; prints what differs and the largest difference
Configurations are in the published code's names, with every switch that it can run: widths, depths and heads of each level, kinds
of block, labels, activations, temporal modules; clips of one frame, of odd and of unequal sizes. Every weight is drawn, the silent too.
"""

import argparse
import random
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from benchmarks.plain_unet import PlainUNet
from train.lavie import from_recording
from train.lavie_config import translate_config
from train.presets import Stage
from train.unet import VideoUNet

STAGES: tuple[Stage, ...] = ("base", "interpolation", "vsr")
TOLERANCE = 1e-4
SIZES = ((8, 8), (8, 12), (9, 7), (13, 10), (5, 11), (16, 4), (1, 3))


def draw_config(stage: Stage, seed: int) -> dict[str, Any]:
    """A configuration that the published class of a stage accepts and can run."""
    chance = random.Random(f"{stage} {seed}")
    levels = chance.choice((1, 2, 2, 3))
    heads = [chance.choice((1, 2, 3)) for _ in range(levels)]
    groups = chance.choice((32, 16, 8))
    # Rotary positions need 32 channels a head, temporal norms 32 groups.
    unit = max(groups, 8 if stage == "interpolation" else 32)
    widths = [unit * head * chance.choice((1, 1, 2)) for head in heads]
    conditioned = stage == "vsr" and chance.random() < 0.4
    if conditioned:  # the condition has a quarter of a level's channels, in 32 groups
        widths = [128] * levels
        heads = [chance.choice((1, 2, 4)) for _ in range(levels)]
    config: dict[str, Any] = {
        "block_out_channels": widths,
        "attention_head_dim": heads if chance.random() < 0.7 else 1,
        "layers_per_block": chance.choice((1, 1, 2)),
        "norm_num_groups": groups,
        "cross_attention_dim": chance.choice((24, widths[0])),
        "down_block_types": [chance.choice(("DownBlock3D", "CrossAttnDownBlock3D")) for _ in widths],
        "up_block_types": [chance.choice(("UpBlock3D", "CrossAttnUpBlock3D")) for _ in widths],
    }
    config |= draw_switches(chance, stage)
    return config | (draw_temporal(chance, levels, conditioned) if stage == "vsr" else draw_attention(chance, stage, config))


def draw_switches(chance: random.Random, stage: Stage) -> dict[str, Any]:
    """What all three classes take, each left to its default now and then."""
    values: dict[str, tuple[Any, ...]] = {
        "in_channels": {"base": (4, 5), "interpolation": (8, 9), "vsr": (7,)}[stage],
        "out_channels": (3, 4),
        "use_linear_projection": (False, True),
        "flip_sin_to_cos": (False, True),
        "freq_shift": (0, 1),
        "center_input_sample": (False, True),
        "norm_eps": (1e-6, 1e-2),
        "act_fn": ("silu", "swish", "mish"),
        "resnet_time_scale_shift": ("default", "scale_shift"),
        "mid_block_scale_factor": (1, 1.5),
        "class_embed_type": (None, "timestep", "identity"),
        "num_class_embeds": (None, 20),
        "upcast_attention": (False, True),
        "sample_size": (None, 8),
        "downsample_padding": (1, 2),
    }
    return {name: chance.choice(choices) for name, choices in values.items() if chance.random() < 0.5 or name == "in_channels"}


def draw_temporal(chance: random.Random, levels: int, conditioned: bool) -> dict[str, Any]:
    """What only super-resolution takes."""

    def some() -> list[int]:
        return [level for level in range(levels) if chance.random() < 0.5]

    return {
        "only_cross_attention": chance.choice((True, False, [chance.random() < 0.5 for _ in range(levels)])),
        "use_first_frame": chance.random() < 0.3,
        "down_temporal_idx": some(),
        "up_temporal_idx": some(),
        "mid_temporal": chance.random() < 0.5,
        "video_condition": conditioned,
        "temporal_module_config": draw_module(chance),
    }


def draw_module(chance: random.Random) -> dict[str, Any]:
    """What temporal modules are made of; what was released has no attention there."""
    first, second = (chance.choice(("Spatial", "Temporal", "CrossFrame", "SpatialTemporalShift", None)) for _ in range(2))
    with_attention = chance.random() < 0.5
    return {
        "attention_block_types": [chance.choice(("", first)), second] if with_attention else ["", ""],
        "num_attention_layers": chance.choice((1, 2)),
        "num_attention_head": chance.choice((1, 2)),
        "attention_dim_div": chance.choice((1, 2)),
        "attention_bias": chance.random() < 0.3,
        "activation_fn": chance.choice(("geglu", "gelu")),
        "use_linear_projection": chance.random() < 0.7,
        "cross_frame_attention_mode": chance.choice(("0_i-1", "i-1_i", "0_i-1_i", "i-1_i_i+1")),
        "temporal_shift_fold_div": chance.choice((2, 3)),
        "temporal_shift_direction": "right",
        "use_scale_shift": chance.random() < 0.3,
        "use_dcn_warpping": chance.random() < 0.3,
        "use_deformable_conv": True,
    }


def draw_attention(chance: random.Random, stage: Stage, config: dict[str, Any]) -> dict[str, Any]:
    """Attention of the other two, whose first attention can look at text only where that is as wide as the level."""
    if chance.random() < 0.5:
        return {"use_first_frame": True}
    fits = [width == config["cross_attention_dim"] and chance.random() < 0.7 for width in config["block_out_channels"]]
    return {"only_cross_attention": fits, "use_relative_position": stage == "base" and chance.random() < 0.5}


def draw_inputs(stage: Stage, config: dict[str, Any], seed: int) -> dict[str, Tensor]:
    """A clip for a network of that configuration."""
    chance, noise = random.Random(f"inputs {stage} {seed}"), torch.Generator().manual_seed(seed)
    squares = config.get("temporal_module_config", {}).get("use_dcn_warpping")
    sizes = SIZES[:1] if squares else SIZES
    batch, frames, (height, width) = chance.choice((1, 2)), chance.choice((1, 2, 3, 7, 16, 33)), chance.choice(sizes)
    shown = 3 if stage == "vsr" else 0
    inputs = {
        "sample": torch.randn(batch, config["in_channels"] - shown, frames, height, width, generator=noise),
        "timestep": torch.randint(1000, (batch,), generator=noise),
        "encoder_hidden_states": torch.randn(batch, chance.choice((1, 7)), config["cross_attention_dim"], generator=noise),
    }
    if shown:
        inputs["low_res"] = torch.randn(batch, shown, frames, height, width, generator=noise)
    if config.get("class_embed_type") == "identity":
        inputs["class_labels"] = torch.randn(batch, 4 * config["block_out_channels"][0], generator=noise)
    elif config.get("class_embed_type") or config.get("num_class_embeds", 1000 if stage == "vsr" else None):
        inputs["class_labels"] = torch.randint(20, (batch,), generator=noise)
    return inputs


def draw_weights(stage: Stage, config: dict[str, Any], seed: int) -> dict[str, Tensor]:
    """Weights that keep activations near one, in the published layout."""
    noise = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in VideoUNet(**translate_config(config, stage)).state_dict().items() if not name.endswith("freqs")}
    drawn = {name: torch.randn(shape, generator=noise) for name, shape in shapes.items()}
    return {
        name: value / value[0].numel() ** 0.5 if value.ndim > 1 else 1 + 0.2 * value if name.endswith("weight") else 0.3 * value
        for name, value in drawn.items()
    }


def largest_difference(stage: Stage, seed: int) -> float:
    """Between `from_recording`'s network and the plain one, in units of the output's spread where that is above one."""
    config = draw_config(stage, seed)
    weights = draw_weights(stage, config, seed)
    model, inputs = from_recording(config, weights), draw_inputs(stage, config, seed)
    with torch.no_grad():
        out, expected = model(**inputs), PlainUNet(model.config, weights)(**inputs)
    return ((out - expected).abs().max() / expected.std().clamp(min=1)).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100, help="configurations of each stage")
    torch.set_num_threads(1)
    found: Counter[str] = Counter()
    largest = 0.0
    for seed in range(parser.parse_args().networks):
        for stage in STAGES:
            off = largest_difference(stage, seed)
            largest = max(largest, off)
            found[f"{stage}: {'equal' if off < TOLERANCE else 'DIFFERENT'}"] += 1
            if off >= TOLERANCE:
                print(f"{stage}, seed {seed}: off by {off:.2g}: {draw_config(stage, seed)}")
    print(f"{dict(found)}; largest difference {largest:.2g}")


if __name__ == "__main__":
    main()
