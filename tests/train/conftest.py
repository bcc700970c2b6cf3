"""Recordings of LaVie's reference network, for the tests that need them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def recording_of(shared: Path) -> Callable[[str], dict[str, Any]]:
    """A stage's recording: config, state_dict, cases and isolated modules. Skips with a reason where there is none."""

    def load(stage: str) -> dict[str, Any]:
        return torch.load(shared / "lavie" / "parity" / f"{stage}.pt", weights_only=True)

    return load
