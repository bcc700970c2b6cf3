"""TrainingRun and Phase: what is trained, on which shards, for how long; written in TOML."""

from typing import Literal

from pydantic import Field, model_validator

from schemas.document import Document

Task = Literal["autoencode", "text_to_video", "interpolate", "upscale"]


class Phase(Document):
    """One phase of the cascade: a task, its data and its size. A phase is data; one loop runs them all."""

    task: Task
    steps: int = Field(gt=0)
    batch: int = Field(default=4, gt=0, description="clips per step over all workers")
    frames: int = Field(default=16, gt=0, description="frames per clip")
    height: int = Field(default=32, gt=0, description="pixels")
    width: int = Field(default=32, gt=0, description="pixels")
    images: int = Field(default=0, ge=0, description="images joined to each clip (LaVie's M)")
    image_weight: float = Field(default=1.0, ge=0, description="alpha in L_video + alpha * L_image")
    stride: tuple[int, int] = Field(default=(1, 1), description="smallest and largest step between frames of a clip")
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    prediction: Literal["epsilon", "v", "flow", "sample"] = "v"
    noise_schedule: Literal["lavie", "stable-diffusion", "shifted-cosine", "zero-terminal-snr"] = "shifted-cosine"
    min_snr_gamma: float | None = Field(default=None, gt=0)
    text_dropout: float = Field(default=0.1, ge=0, le=1)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    trainable: Literal["all", "temporal"] = "all"
    scale: int = Field(default=4, gt=1, description="for `interpolate` the frame-rate factor, for `upscale` the size factor")
    validate_every: int = Field(default=0, ge=0, description="steps between validations; 0 validates at the end only")


class TrainingRun(Document):
    """A training run: phases in order, each starting where the one before it left the cascade."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    seed: int = 0
    shards: str = Field(description="folder of a packed selection (with its MANIFEST), or a brace-expanded tar URL")
    held_out: str | None = Field(default=None, description="folder of shards to validate on")
    preset: Literal["tiny", "compact", "lavie"] = "tiny"
    init: str = "scratch"
    latent: Literal["embedded", "stable-diffusion"] = "embedded"
    text: Literal["embedded", "clip"] = "embedded"
    precision: Literal["float32", "bfloat16"] = "float32"
    phases: tuple[Phase, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_task_once(self) -> "TrainingRun":
        tasks = [phase.task for phase in self.phases]
        twice = {task for task in tasks if tasks.count(task) > 1}
        if twice:
            raise ValueError(f"phases: {', '.join(sorted(twice))} comes twice; each task is trained by one phase")
        return self
