"""Low-rank updates start as nothing, train few weights, and merge into an ordinary network."""

from pathlib import Path

import torch

from schemas.run import Phase, TrainingRun
from train.checkpoint import load_component
from train.loop import train
from train.lora import add_lora, merge_lora
from train.presets import unet_config
from train.unet import VideoUNet, is_temporal
from train.weights import reset


def answer(network: VideoUNet) -> torch.Tensor:
    made = torch.Generator().manual_seed(0)
    sample, text = torch.randn(1, 8, 3, 4, 4, generator=made), torch.randn(1, 5, 384, generator=made)
    with torch.no_grad():
        return network(sample, torch.tensor([400]), text)


def test_fresh_updates_change_nothing_and_merged_ones_are_the_same_function():
    network = VideoUNet(**unet_config("tiny", "base", 8)).eval()
    reset(network, 0)
    before, names = answer(network), set(network.state_dict())
    add_lora(network, 2, torch.Generator().manual_seed(0))
    trainable = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert trainable and all(".up" in name or ".down" in name for name in trainable)
    assert torch.allclose(answer(network), before, atol=1e-6)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".up" in name:
                parameter.fill_(0.05)
    changed = answer(network)
    merge_lora(network)
    assert set(network.state_dict()) == names
    assert not torch.allclose(changed, before, atol=1e-3)
    assert torch.allclose(answer(network), changed, atol=1e-5)


def test_personalising_moves_spatial_attention_only(shards: Path, tmp_path: Path):
    phase = Phase(task="text_to_video", steps=1, batch=2, frames=4, height=16, width=16)
    first = train(TrainingRun(name="tiny", shards=str(shards), phases=(phase,)), tmp_path / "first")
    personal = phase.model_copy(update={"steps": 3, "lora_rank": 2, "init": f"run:{first / 'base'}", "warmup_steps": 0, "checkpoint_every": 1})
    second = train(TrainingRun(name="tiny", shards=str(shards), phases=(personal,)), tmp_path / "second")
    before, after = (load_component(folder, "base").state_dict() for folder in (first, second))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved and all((".attn1." in name or ".attn2." in name) and not is_temporal(name) for name in moved)
