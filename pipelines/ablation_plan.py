"""The plan of an ablation: its arms as decided, what is held out, what is equal between arms, and what it will take."""

from dataclasses import dataclass

from curate.funnel import Step
from pipelines.arms import Asked, Entrant
from pipelines.held_out import HeldOutSet
from schemas.experiment import Ablation
from schemas.run import Phase


@dataclass(frozen=True)
class PlannedArm:
    """One arm, decided.

    Attributes:
        entrant: the arm, with its phases made equal in compute where the budget says so.
        kept: the clips that its recipe keeps and that are long enough, without those held out.
        hours: of them.
        clips_drawn: how many of them a trial trains on.
        hours_drawn: hours a trial draws at most; None where clips are counted.
        funnel: what each rule of its recipe rejected.
    """

    entrant: Entrant
    kept: tuple[str, ...]
    hours: float
    clips_drawn: int
    hours_drawn: float | None
    funnel: tuple[Step, ...]

    @property
    def name(self) -> str:
        return self.entrant.name

    @property
    def passes(self) -> float:
        """How often a trial sees each of its clips in its first phase."""
        first = self.entrant.phases[0]
        return first.steps * first.batch / max(1, self.clips_drawn)

    @property
    def work(self) -> float:
        """Megapixels that one trial is shown."""
        return sum(work(phase) * phase.steps for phase in self.entrant.phases)


@dataclass(frozen=True)
class Plan:
    """An experiment, ready to run."""

    experiment: Ablation
    arms: tuple[PlannedArm, ...]
    asked: tuple[Asked, ...]
    held_out: HeldOutSet
    warnings: tuple[str, ...]

    @property
    def trials(self) -> int:
        return sum(len(arm.entrant.seeds) for arm in self.arms)

    @property
    def work(self) -> float:
        """Megapixels that all trials are shown."""
        return sum(arm.work * len(arm.entrant.seeds) for arm in self.arms)

    @property
    def budget(self) -> str:
        """What is equal between arms, in words."""
        steps = self.experiment.phases[0].steps
        equal = {"steps": "", "clips": "on equally many clips, ", "hours": "on equally many hours, ", "compute": "at equal compute, "}[self.experiment.budget]
        return f"{equal}{steps} steps" + (" of the reference arm" if self.experiment.budget == "compute" else " each")


def work(phase: Phase) -> float:
    """Megapixels shown in one step of a phase."""
    return phase.batch * (phase.frames + phase.images) * phase.height * phase.width / 1e6


def overlap(one: PlannedArm, other: PlannedArm) -> float:
    """Share of the first arm's clips that the other keeps too."""
    return len(set(one.kept) & set(other.kept)) / len(one.kept)
