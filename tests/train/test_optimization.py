"""Learning rates follow the schedules that diffusers has under the same names."""

import pytest
import torch
from diffusers.optimization import get_scheduler

from schemas.run import Phase
from train.optimization import learning_rate

WARM_UP, STEPS = 4, 34


@pytest.mark.parametrize("cycles", [1, 3])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "cosine_with_restarts"])
def test_after_its_warm_up_a_schedule_is_that_of_diffusers(schedule: str, cycles: int) -> None:
    phase = Phase(task="text_to_video", steps=STEPS, warmup_steps=WARM_UP, learning_rate=0.5, learning_rate_schedule=schedule, cycles=cycles)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, num_warmup_steps=WARM_UP, num_training_steps=STEPS, num_cycles=cycles if "restarts" in schedule else 0.5)
    expected = []
    for _ in range(STEPS):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert [learning_rate(phase, step) for step in range(WARM_UP, STEPS)] == pytest.approx(expected[WARM_UP:])


def test_a_warm_up_rises_evenly_from_the_first_step_to_the_whole_rate() -> None:
    phase = Phase(task="text_to_video", steps=STEPS, warmup_steps=WARM_UP, learning_rate=0.5)
    assert [learning_rate(phase, step) for step in range(WARM_UP + 1)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
