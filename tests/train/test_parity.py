"""Networks of configurations drawn at random compute what the plain implementation computes."""

import pytest

from benchmarks.parity import STAGES, TOLERANCE, draw_config, largest_difference
from train.presets import Stage


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("seed", range(6))
def test_a_network_of_any_configuration_equals_the_plain_one(stage: Stage, seed: int) -> None:
    assert largest_difference(stage, seed) < TOLERANCE, draw_config(stage, seed)
