"""Ablation and Arm: which corpora are compared, at what equal cost, on what held-out footage; written in TOML."""

import difflib
import importlib.resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from schemas.document import Document, DocumentError, parse_document, read_toml
from schemas.run import Phase, Task

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
EVERYTHING = "everything"
"""The view of the held-out set that no recipe filtered."""

Metric = Literal["held_out_loss", "caption_gain", "region_loss"]
Harm = Literal["watermark", "wrong_captions", "frozen", "duplicated", "low_resolution"]
Setting = bool | int | float | str | tuple[int, int]


class Contamination(Document):
    """A known harm put into a share of an arm's clips. The rest are written again too, so that only the harm differs."""

    harm: Harm
    share: float = Field(ge=0, le=1, description="share of the clips that are harmed; a smaller share harms a subset of the same clips")


class Arm(Document):
    """One corpus to compare: a recipe, and what is done differently with what it keeps."""

    name: str = Field(pattern=NAME)
    recipe: str = Field(description="a recipe file or the name of a shipped one")
    share: float = Field(default=1.0, gt=0, le=1, description="share of the kept clips to train on, drawn anew for each seed")
    half: Literal["first", "second"] | None = Field(
        default=None, description="one half of the kept clips, split anew for each seed; two halves make a null arm"
    )
    captions: str | None = Field(default=None, description="whose captions to train with, such as `describe`; by default the corpus's choice")
    caption_mix: dict[str, float] = Field(default_factory=dict, description="captioner to its share of the clips; the shares add up to 1")
    image_share: float | None = Field(default=None, ge=0, lt=1, description="share of images among the pictures of a training sample")
    overrides: dict[str, Setting] = Field(default_factory=dict, description="settings of every phase that this arm changes")
    contamination: Contamination | None = None

    @field_validator("overrides")
    @classmethod
    def _settings_exist(cls, overrides: dict[str, Setting]) -> dict[str, Setting]:
        allowed = sorted(set(Phase.model_fields) - {"task"})
        for name in overrides:
            if name not in allowed:
                near = difflib.get_close_matches(name, allowed, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                raise ValueError(f"`{name}` is not a setting of a phase{hint} (allowed: {', '.join(allowed)})")
        return overrides

    @model_validator(mode="after")
    def _one_source_of_captions(self) -> "Arm":
        if self.captions and self.caption_mix:
            raise ValueError("give captions or caption_mix, not both")
        if any(share <= 0 for share in self.caption_mix.values()):
            raise ValueError("caption_mix: every share must be above 0")
        if self.caption_mix and abs(sum(self.caption_mix.values()) - 1) > 1e-6:
            raise ValueError(f"caption_mix: the shares add up to {sum(self.caption_mix.values()):g}, not 1")
        return self

    def phases(self, common: tuple[Phase, ...]) -> tuple[Phase, ...]:
        """The experiment's phases as this arm trains them."""
        try:
            return tuple(Phase.model_validate({**phase.model_dump(), **self._changes(phase)}) for phase in common)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"arm `{self.name}`: overrides: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def _changes(self, phase: Phase) -> dict[str, Any]:
        changes: dict[str, Any] = dict(self.overrides)
        if self.image_share is not None:
            changes["images"] = round(phase.frames * self.image_share / (1 - self.image_share))
        return changes


class HeldOut(Document):
    """Which footage no arm trains on, and how much of it is evaluated."""

    share: float = Field(default=0.2, gt=0, lt=1, description="share of duplicate clusters set aside")
    recipe: str | None = Field(default=None, description="hold out what this recipe keeps instead of a share; an arm that keeps any of it is refused")
    seed: int = 0
    clips: int = Field(default=64, gt=0, description="at most this many clips are evaluated, drawn by `seed`")


class Evaluation(Document):
    """How a trained arm is measured and shown: the same noise, levels, prompts and steps for every arm."""

    seed: int = 0
    levels: int = Field(default=8, gt=0, description="noise levels at which the held-out loss is taken")
    prompts: tuple[str, ...] = Field(default=(), description="what to sample; by default captions of held-out clips")
    samples: int = Field(default=3, ge=0, description="prompts sampled where none are given")
    steps: int = Field(default=12, gt=0, description="sampler steps")
    guidance: float = Field(default=3.0, ge=0)


class Question(Document):
    """Which arm against which, on which metric."""

    arm: str
    against: str
    metric: Metric = "held_out_loss"
    task: Task | None = Field(default=None, description="the phase it is asked of; by default the first but the autoencoder's")
    view: str = Field(default=EVERYTHING, description="`everything` held out, or the name of an arm: what its recipe keeps of it")
    effect: float | None = Field(default=None, gt=0, description="the smallest difference worth knowing; by default 1 % of the other arm's value")


class Sweep(Document):
    """Arms and questions made from one recipe: without each rule, with each rule alone, and thresholds moved."""

    recipe: str
    leave_one_out: bool = True
    one_rule_only: bool = True
    ladders: dict[str, tuple[float, ...]] = Field(default_factory=dict, description="column of the recipe to the thresholds to try")


class Controls(Document):
    """Questions whose answer is known, asked in small beside the real ones: does the method find harm, and find none where there is none?

    `harms = []` and `null = false` leave them out.
    """

    arm: str | None = Field(default=None, description="the arm taken as clean; by default the first")
    harms: tuple[Harm, ...] = ("watermark", "wrong_captions")
    shares: tuple[float, ...] = (0.25, 0.5)
    null: bool = Field(default=True, description="two halves of the clean arm's clips against each other")
    steps: int = Field(default=200, gt=0, description="steps of the first phase, at most the experiment's")
    seeds: int | None = Field(default=None, gt=0, description="how many; by default as many as the experiment has, but at least 4, since fewer find nothing")

    @field_validator("shares")
    @classmethod
    def _doses_above_zero(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share <= 1 for share in shares) or len(set(shares)) < len(shares):
            raise ValueError("doses lie above 0 and at most 1, each once; the dose 0 is always there")
        return tuple(sorted(shares))


class Ablation(Document):
    """An experiment: arms, one budget, seeds, a held-out set and a question."""

    name: str = Field(pattern=NAME)
    description: str = ""
    corpus: str
    arms: tuple[Arm, ...] = ()
    sweep: Sweep | None = None
    phases: tuple[Phase, ...] = Field(min_length=1)
    preset: Literal["tiny", "compact", "lavie"] = "tiny"
    init: str = "scratch"
    latent: Literal["embedded", "stable-diffusion"] = "embedded"
    text: Literal["embedded", "clip"] = "embedded"
    models: str | None = Field(default=None, description="folder with published encoders, where `latent` or `text` asks for them")
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, gt=0, description="CPU threads of one trial; a small network gains little from more, and loses much where cores are shared")
    budget: Literal["steps", "clips", "hours", "compute"] = Field(default="steps", description="what is made equal between arms, beside the steps")
    seeds: tuple[int, ...] = Field(min_length=1)
    held_out: HeldOut = HeldOut()
    evaluation: Evaluation = Evaluation()
    metrics: tuple[Metric, ...] = ("held_out_loss", "caption_gain")
    questions: tuple[Question, ...] = ()
    controls: Controls = Controls()
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    interval: Literal["paired-t", "hierarchical-bootstrap"] = "paired-t"
    on: Literal["auto", "here", "ray"] = "auto"
    price_per_hour: float | None = Field(default=None, gt=0, description="of one worker, in your currency; for the estimated cost")

    @property
    def main_task(self) -> Task:
        """The phase that questions are asked of unless they name another: the first that is not the autoencoder's."""
        return next((phase.task for phase in self.phases if phase.task != "autoencode"), self.phases[0].task)

    @model_validator(mode="after")
    def _names_agree(self) -> "Ablation":
        names = [arm.name for arm in self.arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"arms: two arms are called `{twice[0]}`")
        for arm in self.arms:
            arm.phases(self.phases)
        if self.sweep is None and (len(self.arms) < 2 or not self.questions):
            raise ValueError("give two arms or more and a question, or a sweep")
        for question in self.questions:
            _check_question(question, names, self)
        if self.controls.arm and names and self.controls.arm not in names:
            raise ValueError(f"controls: `{self.controls.arm}` is not an arm; the arms are {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _seeds_suffice(self) -> "Ablation":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: a seed comes twice; repeating a seed adds no evidence")
        if self.interval == "hierarchical-bootstrap" and len(self.seeds) < 8:
            raise ValueError(f"interval: a hierarchical bootstrap over {len(self.seeds)} seeds covers less than it says; use paired-t, or 8 seeds or more")
        return self


def _check_question(question: Question, names: list[str], ablation: Ablation) -> None:
    for side in (question.arm, question.against):
        if side not in names:
            raise ValueError(f"questions: `{side}` is not an arm; the arms are {', '.join(names) or 'made by the sweep, with their questions'}")
    if question.arm == question.against:
        raise ValueError(f"questions: `{question.arm}` is compared with itself")
    if question.metric not in ablation.metrics:
        raise ValueError(f"questions: `{question.metric}` is not among the metrics measured ({', '.join(ablation.metrics)})")
    if question.view != EVERYTHING and question.view not in names:
        raise ValueError(f"questions: `{question.view}` is not a view; use `{EVERYTHING}` or the name of an arm")
    tasks = [phase.task for phase in ablation.phases]
    if question.task is not None and question.task not in tasks:
        raise ValueError(f"questions: `{question.task}` is not among the phases ({', '.join(tasks)})")


def read_experiment(file_or_name: str | Path, corpus: str | None = None, sweep: str | None = None) -> Ablation:
    """An experiment from a TOML file, or by the name of one that ships with clipmill (`pipelines/experiments`).

    Args:
        corpus: instead of the one the experiment names.
        sweep: a recipe from which arms and questions are made, instead of those of the experiment.

    Raises:
        DocumentError: there is no such experiment, or it is wrong; the message says where and what is allowed.
    """
    path = Path(file_or_name)
    if path.suffix != ".toml" and not path.is_file():
        shipped = Path(str(importlib.resources.files("pipelines"))) / "experiments"
        names = sorted(entry.stem for entry in shipped.glob("*.toml"))
        if str(file_or_name) not in names:
            raise DocumentError(f"no experiment `{file_or_name}`: give a .toml file, or one of the shipped names: {', '.join(names)}")
        path = shipped / f"{file_or_name}.toml"
    data, text = read_toml(path)
    if corpus is not None:
        data["corpus"] = corpus
    if sweep is not None:
        kept = {key: value for key, value in data.get("sweep", {}).items() if key != "ladders"}
        data |= {"arms": [], "questions": [], "sweep": {**kept, "recipe": sweep}}
    return _beside(parse_document(data, Ablation, str(path), text), path.parent)


def _beside(experiment: Ablation, folder: Path) -> Ablation:
    """The experiment with recipes found beside its file, as people name them there."""

    def found(recipe: str) -> str:
        return str(folder / recipe) if recipe.endswith(".toml") and not Path(recipe).exists() and (folder / recipe).exists() else recipe

    arms = tuple(arm.model_copy(update={"recipe": found(arm.recipe)}) for arm in experiment.arms)
    sweep = experiment.sweep.model_copy(update={"recipe": found(experiment.sweep.recipe)}) if experiment.sweep else None
    held_out = experiment.held_out.model_copy(update={"recipe": found(experiment.held_out.recipe)}) if experiment.held_out.recipe else experiment.held_out
    return experiment.model_copy(update={"arms": arms, "sweep": sweep, "held_out": held_out})
