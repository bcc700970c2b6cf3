"""Two workers compute what one computes."""

import json
from pathlib import Path

import pytest
import torch

from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from train.checkpoint import load_component
from train.loop import World, train
from train.workers import train_on_ray


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line]


def test_two_ray_workers_have_the_losses_of_one(shards: Path, tmp_path: Path):
    phase = Phase(task="text_to_video", steps=3, batch=4, frames=4, height=16, width=16, images=1)
    run = TrainingRun(name="tiny", shards=str(shards), phases=(phase,))
    alone, divided = train(run, tmp_path / "alone"), train_on_ray(run, tmp_path / "divided", 2)
    assert losses(tmp_path / "divided") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)
    one, other = (load_component(folder, "base").state_dict() for folder in (alone, divided))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_a_batch_that_does_not_divide_is_refused():
    class Three(World):
        size = 3

    with pytest.raises(DocumentError, match="divided equally among 3"):
        Three().places(4)
