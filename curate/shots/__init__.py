"""Shot detectors: each turns small pictures of a film into the boundaries between its shots. A new one is a file and a line here."""

from collections.abc import Callable
from functools import cache

from curate.shots.base import Boundary, ShotDetector
from curate.shots.cascade import Cascade
from curate.shots.dense import Dense
from curate.shots.pyscenedetect import adaptive, content
from curate.shots.transnet import TransNet


@cache
def network(models_dir: str | None) -> TransNet:
    """TransNetV2, loaded once per process."""
    return TransNet(models_dir=models_dir)


def cascade(models_dir: str | None = None) -> ShotDetector:
    """Rules, and TransNetV2 where they are in doubt; everywhere where there is a GPU."""
    return Cascade(network(models_dir), everywhere=network(models_dir).device.type == "cuda")


def rules(_: str | None = None) -> ShotDetector:
    """The cascade without the network, for machines that have seconds to spare for nothing else: doubts are not boundaries."""
    return Cascade(None)


def transnetv2(models_dir: str | None = None) -> ShotDetector:
    """TransNetV2 alone, as published."""
    return Dense(network(models_dir))


DETECTORS: dict[str, Callable[..., ShotDetector]] = {"cascade": cascade, "rules": rules, "transnetv2": transnetv2, "adaptive": adaptive, "content": content}
"""How each is made; it may be given the folder of models."""

__all__ = ["DETECTORS", "Boundary", "ShotDetector"]
