"""The plan of an ablation: what each arm keeps and trains on, what is held out, what it will take, and what to refuse before any work."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from curate.corpus import source_of
from curate.decide import Decision
from curate.funnel import Step
from pipelines.arms import Asked, Entrant, entrants
from pipelines.held_out import HeldOutSet, Holdings, hold_out
from schemas.document import DocumentError
from schemas.experiment import Ablation
from schemas.run import Phase

MANY_PASSES = 100
FEW_SEEDS = 5
UNSTATED = "unstated"


@dataclass(frozen=True)
class PlannedArm:
    """One arm, decided.

    Attributes:
        entrant: the arm, with its phases made equal in compute where the budget says so.
        kept: the clips that its recipe keeps, without those held out.
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


def make_plan(experiment: Ablation, holdings: Holdings) -> Plan:
    """Decide what every arm keeps. Nothing is written, and no video is touched.

    Raises:
        DocumentError: an arm keeps nothing or keeps held-out footage, rights forbid training, or nothing can be held out.
    """
    arms, asked = entrants(experiment)
    held_out = hold_out(experiment.held_out, holdings, arms)
    decisions = {arm.name: holdings.decide(arm.recipe, held_out.clusters) for arm in arms}
    for arm in arms:
        _refuse_empty(arm, decisions[arm.name])
    _refuse_forbidden(arms, decisions, holdings)
    planned = _budgeted(experiment, [_planned(arm, decisions[arm.name]) for arm in arms])
    return Plan(experiment, planned, tuple(asked), held_out, tuple(_warnings(experiment, planned, held_out, holdings)))


def _refuse_empty(arm: Entrant, decision: Decision) -> None:
    if decision.selection.num_rows:
        return
    rejected = Counter((row["rule"], row["detail"]) for row in decision.ledger.to_pylist() if row["clip_id"])
    most = rejected.most_common(1)
    why = f"; most often by `{most[0][0][0]}` ({most[0][0][1]})" if most else ": the corpus has no clips"
    raise DocumentError(
        f"arm `{arm.name}` is empty: its recipe `{arm.recipe.name}` keeps none of the {sum(rejected.values())} clips{why}; loosen the rule, or measure it first"
    )


def _refuse_forbidden(arms: Sequence[Entrant], decisions: dict[str, Decision], holdings: Holdings) -> None:
    """Refuse to train on footage whose stated rights do not permit training."""
    forbidden = {
        row["source_id"]: row
        for row in holdings.sources.select(["source_id", "uri", "license", "rights_holder", "rights_uses"]).to_pylist()
        if row["license"] not in (None, UNSTATED) and row["rights_uses"] is not None and "train" not in row["rights_uses"]
    }
    for arm in arms:
        used = sorted({source_of(clip) for clip in decisions[arm.name].selection["clip_id"].to_pylist()} & set(forbidden))
        if used:
            first = forbidden[used[0]]
            raise DocumentError(
                f"arm `{arm.name}`: the rights of {len(used)} sources that it keeps do not permit training, such as {first['uri']} "
                f"({first['license']}, {first['rights_holder'] or 'holder unknown'}, uses: {', '.join(first['rights_uses']) or 'none'}); "
                f'ask its holder, or put `uses = ["train"]` under [rights] of recipe `{arm.recipe.name}`'
            )


def _planned(arm: Entrant, decision: Decision) -> PlannedArm:
    kept = tuple(decision.selection["clip_id"].to_pylist())
    share = (0.5 if arm.arm.half else 1.0) * arm.arm.share
    return PlannedArm(arm, kept, decision.funnel[-1].left_hours, max(1, round(len(kept) * share)), None, decision.funnel)


def _budgeted(experiment: Ablation, arms: list[PlannedArm]) -> tuple[PlannedArm, ...]:
    """Make equal what the budget names, among the arms that are compared; controls follow the arm they take as clean."""
    compared = [arm for arm in arms if not arm.entrant.control]
    if experiment.budget == "clips":
        fewest = min(arm.clips_drawn for arm in compared)
        return tuple(replace(arm, clips_drawn=min(arm.clips_drawn, fewest)) for arm in arms)
    if experiment.budget == "hours":
        hours = min(arm.hours * arm.clips_drawn / len(arm.kept) for arm in compared)
        drawn = {arm.name: max(1, round(len(arm.kept) * hours / arm.hours)) if arm.hours else 1 for arm in arms}
        return tuple(replace(arm, clips_drawn=min(arm.clips_drawn, drawn[arm.name]), hours_drawn=hours) for arm in arms)
    if experiment.budget == "compute":
        return tuple(arm if arm.entrant.control else replace(arm, entrant=_equal_work(arm.entrant, compared[0].entrant)) for arm in arms)
    return tuple(arms)


def _equal_work(arm: Entrant, reference: Entrant) -> Entrant:
    """The arm with as many steps as cost what the reference arm's cost, phase by phase, counted in pixels shown."""
    pairs = zip(arm.phases, reference.phases)
    steps = [max(1, round(other.steps * work(other) / work(phase))) for phase, other in pairs]
    return replace(arm, phases=tuple(phase.model_copy(update={"steps": count}) for phase, count in zip(arm.phases, steps)))


def _warnings(experiment: Ablation, arms: Sequence[PlannedArm], held_out: HeldOutSet, holdings: Holdings) -> list[str]:
    told = []
    for arm in arms:
        if arm.passes > MANY_PASSES:
            told.append(f"arm `{arm.name}` is too small for its budget: {arm.clips_drawn} clips, each seen {arm.passes:.0f} times in the first phase")
        view = held_out.views.get(arm.name)
        if view is not None and len(view) < 5:
            told.append(f"arm `{arm.name}`: its recipe keeps {len(view)} of {len(held_out.clips)} held-out clips, so its filtered view says little")
    compared = [arm for arm in arms if not arm.entrant.control]
    for place, one in enumerate(compared):
        same = [other.name for other in compared[place + 1 :] if set(other.kept) == set(one.kept) and _same_treatment(one.entrant, other.entrant)]
        told += [f"arms `{one.name}` and `{other}` train on the very same clips in the same way; they can only differ by chance" for other in same]
    if len(experiment.seeds) < FEW_SEEDS:
        told.append(f"{len(experiment.seeds)} seeds show only large differences; {FEW_SEEDS} or more are advised")
    used = {source_of(clip) for arm in arms for clip in arm.kept}
    licenses = dict(zip(holdings.sources["source_id"].to_pylist(), holdings.sources["license"].to_pylist()))
    if any(licenses[source] in (None, UNSTATED) for source in used):
        told.append("the rights of some sources are unstated; state them before the trained models leave your hands")
    return told


def _same_treatment(one: Entrant, other: Entrant) -> bool:
    return one.phases == other.phases and one.arm.model_copy(update={"name": "", "recipe": ""}) == other.arm.model_copy(update={"name": "", "recipe": ""})


def overlap(one: PlannedArm, other: PlannedArm) -> float:
    """Share of the first arm's clips that the other keeps too."""
    return len(set(one.kept) & set(other.kept)) / len(one.kept)
