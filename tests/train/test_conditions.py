"""What the later stages are shown: the reference's key frames, blends, and noised small pictures."""

from pathlib import Path

import pytest
import torch

from schemas.run import Phase
from train.conditions import blend_keys, both_keys, nearest_keys, noise_low_resolution, repeat_keys
from train.degradations import degrade
from train.draws import held_out_draws, training_draws


def test_sixty_one_frames_see_the_key_frames_of_the_reference(shared: Path):
    recording = torch.load(shared / "lavie" / "parity" / "interpolation.pt", weights_only=True)
    assert (4 * nearest_keys(61, 4)).tolist() == torch.as_tensor(recording["cond_source_index"]).flatten().tolist()


def test_the_nearest_key_is_taken_and_ties_go_to_the_earlier():
    assert nearest_keys(9, 4).tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert nearest_keys(61, 4).tolist() == [(frame + 1) // 4 for frame in range(61)]


def test_blending_meets_every_key_and_moves_evenly_between():
    keys = torch.tensor([0.0, 4.0, 2.0]).view(1, 1, 3, 1, 1)
    assert blend_keys(keys, 4).flatten().tolist() == [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2]
    assert repeat_keys(keys, 4).flatten().tolist() == [0, 0, 0, 4, 4, 4, 4, 2, 2]


def test_both_keys_are_the_one_before_and_the_next():
    keys = torch.tensor([0.0, 4.0, 2.0]).view(1, 1, 3, 1, 1)
    before, after = both_keys(keys, 4)[0, :, :, 0, 0].tolist()
    assert before == [0, 0, 0, 0, 4, 4, 4, 4, 2]
    assert after == [4, 4, 4, 4, 2, 2, 2, 2, 2]


def test_a_single_key_is_its_own_blend():
    keys = torch.ones(1, 2, 1, 3, 3)
    assert torch.equal(blend_keys(keys, 4), keys)


def test_more_noise_leaves_less_of_the_small_picture():
    made = torch.Generator().manual_seed(0)
    low, noise = torch.randn(1, 3, 4, 16, 16, generator=made), torch.randn(1, 3, 4, 16, 16, generator=made)
    kept = [torch.corrcoef(torch.stack([low.flatten(), noise_low_resolution(low, noise, torch.tensor([level])).flatten()]))[0, 1] for level in (0, 200, 900)]
    assert kept[0] > 0.99 > kept[1] > kept[2]


@pytest.mark.parametrize("degradations", [False, True])
def test_small_pictures_are_equal_for_equal_draws_and_damage_is_only_for_training(degradations: bool):
    phase = Phase(task="upscale", steps=1, batch=2, frames=2, height=32, width=32, degradations=degradations)
    large = torch.rand(2, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    once, again = (degrade(large, phase, training_draws(0, "upscale", 0, range(2), 2)) for _ in range(2))
    plain = degrade(large, phase, held_out_draws(0, ["a", "b"], 1))
    assert once.shape == (2, 3, 2, 8, 8)
    assert torch.equal(once, again)
    assert torch.equal(once, plain) != degradations
    assert (once - plain).abs().mean() < 0.4
