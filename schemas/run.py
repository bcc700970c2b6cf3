"""TrainingRun and Phase: what is trained, on which shards, for how long; written in TOML."""

from typing import Literal

from pydantic import Field, model_validator

from schemas.document import Document

Task = Literal["autoencode", "text_to_video", "interpolate", "upscale"]
Prediction = Literal["epsilon", "v", "flow", "sample"]
Latent = Literal["embedded", "exact", "stable-diffusion"]
NoiseSchedule = Literal["lavie", "stable-diffusion", "shifted-cosine", "zero-terminal-snr"]


class Phase(Document):
    """One phase of the cascade: a task, its data and its size. A phase is data; one loop runs them all."""

    task: Task
    steps: int = Field(gt=0)
    batch: int = Field(default=4, gt=0, description="clips per step over all workers")
    accumulate: int = Field(default=1, gt=0, description="parts a step's batch is computed in, to save memory")
    frames: int = Field(default=16, gt=0, description="frames per clip; for `interpolate` those it produces, one more than a multiple of `scale`")
    height: int = Field(default=32, gt=0, description="pixels; for `upscale` those it produces")
    width: int = Field(default=32, gt=0, description="pixels; for `upscale` those it produces")
    images: int = Field(default=0, ge=0, description="images joined to each clip (LaVie's M)")
    image_weight: float = Field(default=1.0, ge=0, description="alpha in L_video + alpha * L_image")
    stride: tuple[int, int] = Field(default=(1, 1), description="smallest and largest step between frames of a clip")
    crop: Literal["random", "centre"] = Field(default="random", description="which part of a clip of another shape is seen")
    init: str | None = Field(default=None, description="first weights: as the run's `init`, or `base` for what this run's base phase learned")
    learning_rate: float = Field(default=2e-3, gt=0)
    learning_rate_schedule: Literal["constant", "cosine", "cosine_with_restarts", "linear"] = Field(
        default="constant", description="how the rate falls after its warm-up"
    )
    cycles: int = Field(default=1, gt=0, description="for `cosine_with_restarts`, how often the rate falls from its height to nothing")
    warmup_steps: int = Field(default=20, ge=0)
    optimizer: Literal["adamw", "adamw-fused", "adamw-8bit"] = "adamw"
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float | None = Field(default=1.0, gt=0, description="largest norm of the gradient; None does not clip")
    prediction: Prediction = Field(default="v", description="what the network answers with: noise, velocity, or clean latents")
    start: Literal["noise", "plain"] = Field(
        default="noise",
        description="where the path to the clean latents begins; `plain`, with `flow` for `interpolate` and `upscale`, is blending or bicubic enlargement",
    )
    latent: Latent | None = Field(default=None, description="the latent space of this phase, where it is not the run's")
    keys: Literal["nearest", "both"] = Field(default="nearest", description="for `interpolate`, which key frames each frame is shown; LaVie's is the nearest")
    noise_schedule: NoiseSchedule = "shifted-cosine"
    timesteps: Literal["stratified", "uniform", "logit-normal", "late", "last"] = Field(
        default="stratified", description="which diffusion times are drawn; `late` prefers high noise, `last` is for one-step answers from `start`"
    )
    min_snr_gamma: float | None = Field(default=None, gt=0)
    condition_noise: int = Field(default=0, ge=0, lt=1000, description="for `interpolate`, the largest diffusion time of noise on its key frames")
    noise_level: int = Field(default=350, ge=0, lt=1000, description="for `upscale`, the largest noise level of its low-resolution input")
    degradations: bool = Field(default=False, description="for `upscale`, blur, noise and JPEG on the low-resolution input, besides downscaling")
    first_frame: float = Field(default=0.0, ge=0, le=1, description="for `text_to_video`, how often the first frame is given, so that videos can be continued")
    text_dropout: float = Field(default=0.1, ge=0, le=1)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    trainable: Literal["all", "temporal", "spatial"] = Field(
        default="all", description="`temporal` keeps the image model as it is (LaVie, section 3.4); `spatial` keeps what sees time, which at first is silent"
    )
    lora_rank: int = Field(default=0, ge=0, description="rank of low-rank updates of the spatial layers, all else frozen; 0 trains the weights themselves")
    gradient_checkpointing: bool = False
    scale: int = Field(default=4, gt=1, description="for `interpolate` the frame-rate factor, for `upscale` the size factor")
    validate_every: int = Field(default=0, ge=0, description="steps between validations; 0 validates at the end only")
    checkpoint_every: int = Field(default=100, gt=0, description="steps between checkpoints; a crash costs at most as many")

    @model_validator(mode="after")
    def _sizes_fit(self) -> "Phase":
        if self.task == "interpolate" and self.frames % self.scale != 1:
            raise ValueError(f"frames: interpolating by {self.scale} makes one more than a multiple of {self.scale} frames, such as 61; not {self.frames}")
        if self.task == "upscale" and (self.height % self.scale or self.width % self.scale):
            raise ValueError(f"height, width: {self.height}x{self.width} is not a multiple of the scale, {self.scale}")
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate: a batch of {self.batch} cannot be computed in {self.accumulate} equal parts")
        if self.stride[0] < 1 or self.stride[1] < self.stride[0]:
            raise ValueError(f"stride: give the smallest and the largest step between frames, such as [1, 4]; not {list(self.stride)}")
        if self.start == "plain" and (self.task not in ("interpolate", "upscale") or self.prediction != "flow"):
            raise ValueError("start: `plain` needs a plain answer to begin at, which only interpolate and upscale have, and prediction = 'flow'")
        return self


class TrainingRun(Document):
    """A training run: phases in order, each starting where the one before it left the cascade."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    seed: int = 0
    shards: str = Field(default="", description="folder of a packed selection (with its MANIFEST), or a brace-expanded tar URL")
    held_out: str | None = Field(default=None, description="folder of shards to validate on")
    preset: Literal["tiny", "compact", "lavie"] = "tiny"
    init: str = Field(
        default="scratch",
        description="first weights: `lavie:` a published .pt or a folder of all three, `sd:` and `x4:` image models in diffusers' layout (`sd:DIR,x4:DIR`), "
        "`run:` an earlier run, or `scratch`",
    )
    latent: Latent = Field(default="embedded", description="the latent space; `exact` is 2x2 patches of pixels and loses nothing")
    text: Literal["embedded", "clip"] = "embedded"
    models: str | None = Field(default=None, description="folder with the published autoencoder and text encoder, where `latent` or `text` asks for them")
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = Field(default=False, description="compile the networks with torch.compile")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    parallel: Literal["replicate", "fsdp"] = Field(
        default="replicate", description="among several workers, whether each keeps whole weights, or with `fsdp` a share of weights, gradients and optimizer"
    )
    threads: int = Field(default=1, gt=0, description="CPU threads; part of the run, since the last bits of a sum depend on it")
    loader_workers: int = Field(default=0, ge=0, description="processes that decode ahead; 0 decodes in this one. The batches are the same")
    cache: bool = Field(default=False, description="keep latents and text features beside the shards; for base and interpolation with crop = 'centre'")
    grids: bool = Field(default=True, description="draw samples beside the truth at each validation")
    wandb: bool = Field(default=False, description="log to Weights & Biases too, which must be installed and logged in")
    phases: tuple[Phase, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_task_once(self) -> "TrainingRun":
        tasks = [phase.task for phase in self.phases]
        twice = {task for task in tasks if tasks.count(task) > 1}
        if twice:
            raise ValueError(f"phases: {', '.join(sorted(twice))} comes twice; each task is trained by one phase")
        return self
