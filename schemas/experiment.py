"""Ablation and Arm: which corpora are compared, at what equal cost, on what held-out footage; written in TOML."""

from typing import Literal

from pydantic import Field, model_validator

from schemas.document import Document
from schemas.run import Phase


class Arm(Document):
    """One corpus to compare: a recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    recipe: str = Field(description="a recipe file or the name of a shipped one")


class HeldOut(Document):
    """Which footage no arm trains on."""

    share: float = Field(default=0.2, gt=0, lt=1, description="share of duplicate clusters set aside")
    seed: int = 0


class Question(Document):
    """Which arm against which, on which metric."""

    arm: str
    against: str
    metric: str = "held_out_loss"


class Ablation(Document):
    """An experiment: arms, one budget, seeds, a held-out set and a question."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    corpus: str
    arms: tuple[Arm, ...] = Field(min_length=2)
    phases: tuple[Phase, ...] = Field(min_length=1)
    preset: Literal["tiny", "compact", "lavie"] = "tiny"
    budget: Literal["steps", "clips", "hours", "compute"] = "steps"
    seeds: tuple[int, ...] = Field(min_length=1)
    held_out: HeldOut = HeldOut()
    metrics: tuple[str, ...] = ("held_out_loss",)
    questions: tuple[Question, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_agree(self) -> "Ablation":
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError("arms: two arms have the same name")
        for question in self.questions:
            for side in (question.arm, question.against):
                if side not in names:
                    raise ValueError(f"questions: `{side}` is not an arm; the arms are {', '.join(names)}")
        return self
