"""Held-out losses are by clip and level, with noise that does not depend on the model."""

from pathlib import Path

import pytest
import torch

from train.metrics import held_out_losses, mean_inside


def test_there_is_a_row_for_every_clip_and_level_and_repeating_gives_the_same(trained: Path, held_out_shards: Path):
    first, again = (held_out_losses(trained, str(held_out_shards), "text_to_video", 0, [200, 800], (0.0, 0.0, 0.5, 0.5)) for _ in range(2))
    assert list(zip(first["key"].to_pylist(), first["level"].to_pylist())) == [(f"clip{number}", level) for number in (6, 7, 8) for level in (200, 800)]
    assert first.equals(again)
    assert all(loss > 0 for name in ("loss", "loss_wrong_caption", "loss_in_region") for loss in first[name].to_pylist())
    assert first["loss"].to_pylist() != first["loss_wrong_caption"].to_pylist()


@pytest.mark.parametrize("task", ["autoencode", "interpolate", "upscale"])
def test_every_phase_can_be_asked(trained: Path, held_out_shards: Path, task: str):
    table = held_out_losses(trained, str(held_out_shards), task, 0, [500])
    assert table.num_rows == 3
    assert table["loss_in_region"].null_count == 3
    assert table["loss_wrong_caption"].null_count == (3 if task == "autoencode" else 0)


def test_a_phase_that_was_not_trained_is_named(trained: Path, held_out_shards: Path):
    with pytest.raises(ValueError, match="no phase `dance`"):
        held_out_losses(trained, str(held_out_shards), "dance", 0, [500])


def test_a_region_is_found_inside_what_was_cut_out():
    errors = torch.zeros(1, 4, 4)
    errors[:, :2, :2] = 1.0
    assert mean_inside(errors, (0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 1.0, 1.0)) == 1.0
    assert mean_inside(errors, (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)) == 0.0
    assert mean_inside(errors, (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)) is None
    assert mean_inside(errors, (0.25, 0.0, 0.75, 0.5), (0.25, 0.0, 0.75, 1.0)) == 0.5
