"""The plan of an ablation: its arms as decided, what is held out, what is equal between arms, and what it will take."""

from collections.abc import Sequence
from dataclasses import dataclass

from curate.deciding.funnel import Step
from pipelines.ablation.arms import Asked, Entrant
from pipelines.ablation.held_out import HeldOutSet
from pipelines.ablation.wording import duration
from schemas.experiment import Ablation
from schemas.run import Phase

GUESSED_PACE_S = {"tiny": (0.1, 2.5)}
"""Seconds a step and seconds a megapixel trained, by preset, on an idle core: what is said before any trial was timed."""


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
        """How often a trial sees each of its clips in its main phase."""
        main = self.entrant.main_phase
        return main.steps * main.batch / max(1, self.clips_drawn)

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
    def steps(self) -> int:
        """Steps of all trials."""
        return sum(sum(phase.steps for phase in arm.entrant.phases) * len(arm.entrant.seeds) for arm in self.arms)

    @property
    def budget(self) -> str:
        """What is equal between arms, in words."""
        steps = next(phase.steps for phase in self.experiment.phases if phase.task == self.experiment.main_task)
        equal = {"steps": "", "clips": "on equally many clips, ", "hours": "on equally many hours, ", "compute": "at equal compute, "}[self.experiment.budget]
        return f"{equal}{steps} steps" + (" of the reference arm" if self.experiment.budget == "compute" else " each")

    def told(self, pace_s: float | None) -> list[str]:
        """The plan in sentences; `pace_s` is the seconds a megapixel takes to train, as measured before."""
        compared = [arm for arm in self.arms if not arm.entrant.control]
        controls = len(self.arms) - len(compared)
        seeds = len(self.experiment.seeds)
        lines = [f"Experiment `{self.experiment.name}`: {len(compared)} arms and {controls} controls, {seeds} seeds, {self.trials} trials, {self.budget}."]
        lines += [_told_of(arm, compared) for arm in compared]
        lines.append(f"Held out: {len(self.held_out.clips)} clips evaluated, {len(self.held_out.clusters)} clusters of duplicates that no arm trains on.")
        lines.append(_time(self, pace_s))
        return lines + [f"Warning: {warning}." for warning in self.warnings]


def _told_of(arm: PlannedArm, compared: Sequence[PlannedArm]) -> str:
    shared = ", ".join(f"{overlap(arm, other):.0%} of them also in `{other.name}`" for other in compared if other.name != arm.name)
    return (
        f"Arm `{arm.name}`: recipe `{arm.entrant.recipe.name}` keeps {len(arm.kept)} clips ({arm.hours:.3g} h), {shared}; "
        f"a trial trains on {arm.clips_drawn}, each seen {arm.passes:.1f} times."
    )


def _time(plan: Plan, pace_s: float | None) -> str:
    megapixels, experiment = plan.work, plan.experiment
    a_step, a_megapixel = (0.0, pace_s) if pace_s is not None else GUESSED_PACE_S.get(experiment.preset, (0.0, None))
    if a_megapixel is None:
        return f"Training shows {megapixels:.0f} megapixels; how long that takes here is known once the first trial is done."
    hours = (plan.steps * a_step + megapixels * a_megapixel) / 3600
    cost = f", about {hours * experiment.price_per_hour:.2f} in your currency" if experiment.price_per_hour else ""
    basis = "at the pace of earlier trials" if pace_s is not None else "if this machine is like a core of a laptop"
    return f"Training takes about {duration(hours * 3600)} on one worker, {basis}{cost}; packing and evaluation come on top."


def work(phase: Phase) -> float:
    """Megapixels shown in one step of a phase."""
    return phase.batch * (phase.frames + phase.images) * phase.height * phase.width / 1e6


def overlap(one: PlannedArm, other: PlannedArm) -> float:
    """Share of the first arm's clips that the other keeps too."""
    return len(set(one.kept) & set(other.kept)) / len(one.kept)
