"""Objectives: every prediction implies the same clean latents, and schedules are the published ones."""

import pytest
import torch

from schemas.run import Phase
from train.objective import Objective
from train.schedules import betas, signal

SCHEDULES = ("lavie", "stable-diffusion", "shifted-cosine", "zero-terminal-snr")
PREDICTIONS = ("epsilon", "v", "sample", "flow")


def example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 2, 4, 5, 5, generator=made) for _ in range(2))
    return latents, noise, torch.tensor([10, 400, 800])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_right_answer_gives_back_the_clean_latents(prediction):
    latents, noise, times = example()
    objective = Objective(prediction, signal("shifted-cosine"))
    noised = objective.noised(latents, noise, times)
    back = objective.clean(noised, objective.target(latents, noise, times), times)
    assert torch.allclose(back, latents, atol=2e-5)


def test_the_published_schedules_end_where_they_were_measured():
    assert signal("lavie")[-1].sqrt().item() == pytest.approx(0.00635, abs=1e-5)
    assert signal("stable-diffusion")[-1].sqrt().item() == pytest.approx(0.0683, abs=1e-4)
    assert signal("zero-terminal-snr")[-1] < 1e-7
    assert signal("zero-terminal-snr")[0] == pytest.approx(signal("stable-diffusion")[0])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_betas_rebuild_the_schedule(schedule):
    kept = signal(schedule)
    assert (kept.diff() < 0).all()
    assert torch.allclose(torch.cumprod(1 - betas(schedule).double(), 0), kept, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "flow", "sample"])
def test_min_snr_weighs_the_error_of_the_clean_latents_alike_for_every_prediction(prediction):
    latents, noise, times = example()
    objective = Objective(prediction, signal("shifted-cosine"), min_snr_gamma=5.0)
    noised = objective.noised(latents, noise, times)
    target = objective.target(latents, noise, times)
    answer = target + 0.01
    clean_error = (objective.clean(noised, answer, times) - latents).square().mean(dim=(1, 2, 3, 4))
    kept, added = (share.flatten() for share in objective.shares(times))
    expected = (kept / added).square().clamp(max=5.0) * clean_error
    assert torch.allclose(objective.weights(times) * 0.01**2, expected, rtol=0.05)


def test_without_min_snr_all_times_weigh_alike():
    phase = Phase(task="text_to_video", steps=1)
    assert torch.equal(Objective.of(phase).weights(torch.tensor([1, 999])), torch.ones(2))
