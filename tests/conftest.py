"""What every test may ask for: the shared footage with truth labels (absent for most people), and quiet libraries."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parents[1]


def shared_folder() -> Path | None:
    """The folder with truth-labelled footage, beside the checkout or named by CLIPMILL_SHARED."""
    candidates = [os.environ.get("CLIPMILL_SHARED"), str(ROOT.parent / "shared")]
    return next((Path(path) for path in candidates if path and (Path(path) / "media").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder (media/, lavie/, weights/); skips with a reason where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("the shared footage with truth labels is not on this machine (set CLIPMILL_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def shared_media(shared: Path) -> Path:
    """The truth-labelled footage."""
    return shared / "media"
