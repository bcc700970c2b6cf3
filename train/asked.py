"""What one call of the cascade asks of each stage, and the plain answer that a stage may start from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from schemas.run import Phase
from train.draws import generator


@dataclass(frozen=True)
class Asked:
    """What a call asks of each stage; the arguments of `Cascade.__call__`."""

    prompt: str
    negative_prompt: str | None
    seed: int
    steps: int | Mapping[str, int]
    guidance: float | Mapping[str, float]
    sampler: str | None = None
    guidance_rescale: float = 0.0
    listener: Callable[[str, float, float], None] = lambda what, done, total: None
    equal_steps: bool = False

    def steps_of(self, stage: str) -> int:
        given = self.steps if isinstance(self.steps, Mapping) else {"base": self.steps}
        return given.get(stage) or (given["base"] if self.equal_steps else max(1, given["base"] // 4))

    def guidance_of(self, stage: str) -> float:
        return self.guidance.get(stage, 1.0) if isinstance(self.guidance, Mapping) else self.guidance if stage == "base" else 1.0

    def sampler_of(self, phase: Phase) -> str:
        """Flow is sampled by euler; `sampler`, or ddim, is for the other phases of the same cascade."""
        return "euler" if phase.prediction == "flow" else self.sampler or "ddim"

    def noise(self, purpose: str, shape: Any) -> Tensor:
        """(1, *shape) for one purpose, drawn on the CPU so that every device samples the same video."""
        return torch.randn((1, *shape), generator=generator(self.seed, "sample", purpose))


@dataclass(frozen=True)
class Plain:
    """The plain answer that a stage may start from, blending or bicubic: in pixels, and in the latents the stage works in."""

    clip: Tensor
    latents: Tensor
