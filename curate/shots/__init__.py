"""Shot detectors: each turns small pictures of a film into the boundaries between its shots. A new one is a file and a line here."""

from collections.abc import Callable

from curate.shots.base import Boundary, ShotDetector
from curate.shots.pyscenedetect import adaptive, content

DETECTORS: dict[str, Callable[[], ShotDetector]] = {"adaptive": adaptive, "content": content}

__all__ = ["DETECTORS", "Boundary", "ShotDetector"]
