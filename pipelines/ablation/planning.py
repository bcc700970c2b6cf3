"""Planning an ablation: what every arm keeps and trains on, what is refused before any work, and what deserves a warning."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from curate.corpus import source_of
from curate.deciding.decide import Decision
from curate.deciding.makers import check_scorers
from pipelines.ablation.arms import Entrant, entrants
from pipelines.ablation.held_out import HeldOutSet, Holdings, hold_out
from pipelines.ablation.plan import Plan, PlannedArm, work
from schemas.document import DocumentError
from schemas.experiment import Ablation

MANY_PASSES = 100
FEW_SEEDS, FEW_CLIPS = 5, 8
UNSTATED = "unstated"


def make_plan(experiment: Ablation, holdings: Holdings) -> Plan:
    """Decide what every arm keeps. Nothing is written, and no video is touched.

    Raises:
        DocumentError: an arm keeps nothing or keeps held-out footage, a recipe was tuned for other scorers, rights forbid training, captions are
            missing, or nothing can be held out.
    """
    arms, asked = entrants(experiment)
    for arm in arms:
        check_scorers(arm.recipe, holdings.makers)
    frames, fps = max(phase.frames for arm in arms for phase in arm.phases), arms[0].recipe.encoding.fps
    usable = holdings.long_enough(frames, fps)
    held_out = hold_out(experiment.held_out, holdings, arms, usable)
    decisions = {arm.name: holdings.decide(arm.recipe, held_out.clusters) for arm in arms}
    for arm in arms:
        _refuse_empty(arm, decisions[arm.name])
    planned = [_planned(arm, decisions[arm.name], usable, holdings) for arm in arms]
    for one in planned:
        _refuse_short(one, decisions[one.name], frames)
        _refuse_forbidden(one, holdings)
        _refuse_uncaptioned(one, holdings)
    budgeted = _budgeted(experiment, planned)
    return Plan(experiment, budgeted, tuple(asked), held_out, tuple(_warnings(experiment, budgeted, held_out, holdings)))


def _refuse_empty(arm: Entrant, decision: Decision) -> None:
    if decision.selection.num_rows:
        return
    rejected = Counter((row["rule"], row["detail"]) for row in decision.ledger.to_pylist() if row["clip_id"])
    most = rejected.most_common(1)
    why = f"; most often by `{most[0][0][0]}` ({most[0][0][1]})" if most else ": the corpus has no clips"
    raise DocumentError(
        f"arm `{arm.name}` is empty: its recipe `{arm.recipe.name}` keeps none of the {sum(rejected.values())} clips{why}; loosen the rule, or measure it first"
    )


def _refuse_short(arm: PlannedArm, decision: Decision, frames: int) -> None:
    if not arm.kept:
        raise DocumentError(
            f"arm `{arm.name}` is empty: none of the {decision.selection.num_rows} clips that its recipe `{arm.entrant.recipe.name}` keeps "
            f"has {frames} frames; lower `frames` in the phases, or keep longer clips"
        )


def _refuse_forbidden(arm: PlannedArm, holdings: Holdings) -> None:
    """Refuse to train on footage whose stated rights do not permit training."""
    used = {source_of(clip) for clip in arm.kept}
    rows = holdings.sources.select(["source_id", "uri", "license", "rights_holder", "rights_uses"]).to_pylist()
    stated = [row for row in rows if row["source_id"] in used and row["license"] not in (None, UNSTATED) and row["rights_uses"] is not None]
    forbidden = [row for row in stated if "train" not in row["rights_uses"]]
    if forbidden:
        first = forbidden[0]
        raise DocumentError(
            f"arm `{arm.name}`: the rights of {len(forbidden)} sources that it keeps do not permit training, such as {first['uri']} "
            f"({first['license']}, {first['rights_holder'] or 'holder unknown'}, uses: {', '.join(first['rights_uses']) or 'none'}); "
            f'ask its holder, or put `uses = ["train"]` under [rights] of recipe `{arm.entrant.recipe.name}`'
        )


def _refuse_uncaptioned(arm: PlannedArm, holdings: Holdings) -> None:
    """Refuse an arm whose captions somebody has yet to write."""
    asked = [arm.entrant.arm.captions] if arm.entrant.arm.captions else list(arm.entrant.arm.caption_mix)
    for captioner in asked:
        missing = [clip for clip in arm.kept if clip not in holdings.captioned.get(captioner, frozenset())]
        if missing:
            there = ", ".join(sorted(holdings.captioned)) or "none"
            raise DocumentError(
                f"arm `{arm.name}`: `{captioner}` wrote no usable caption for {len(missing)} of its {len(arm.kept)} clips, such as {missing[0]} "
                f"(captions there are by: {there}); write them with `clipmill caption`, or use another captioner"
            )


def _planned(arm: Entrant, decision: Decision, usable: frozenset[str], holdings: Holdings) -> PlannedArm:
    """The arm with the clips it can train on: videos long enough for every phase, and images where a phase joins them."""
    images = any(phase.images for phase in arm.phases)
    rows = holdings.clips.select(["clip_id", "media_type", "start_s", "end_s"]).to_pylist()
    known = {row["clip_id"]: row for row in rows}
    chosen = decision.selection["clip_id"].to_pylist()
    kept = tuple(clip for clip in chosen if clip in usable or (images and known[clip]["media_type"] == "image"))
    share = (0.5 if arm.arm.half else 1.0) * arm.arm.share
    hours = sum(known[clip]["end_s"] - known[clip]["start_s"] for clip in kept) / 3600
    return PlannedArm(arm, kept, hours, max(1, round(len(kept) * share)), None, decision.funnel)


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
        if view is not None and len(view) < FEW_CLIPS and len(view) < len(held_out.clips):
            told.append(f"arm `{arm.name}`: its recipe keeps {len(view)} of {len(held_out.clips)} held-out clips, so its filtered view says little")
    if len(held_out.clips) < FEW_CLIPS:
        told.append(f"{len(held_out.clips)} held-out clips are few: the answer is about them, and hardly about others")
    told += [f"arms {_listed(names)} train on the very same clips in the same way: they are one training, and cannot differ" for names in _same_training(arms)]
    encodings = {arm.entrant.recipe.encoding for arm in arms}
    if len(encodings) > 1:
        told.append(f"recipes encode differently; all clips are encoded as `{arms[0].entrant.recipe.name}` says, so that only the choice of clips differs")
    if len(experiment.seeds) < FEW_SEEDS:
        told.append(f"{len(experiment.seeds)} seeds show only large differences; {FEW_SEEDS} or more are advised")
    used = {source_of(clip) for arm in arms for clip in arm.kept}
    licenses = dict(zip(holdings.sources["source_id"].to_pylist(), holdings.sources["license"].to_pylist()))
    if any(licenses[source] in (None, UNSTATED) for source in used):
        told.append("the rights of some sources are unstated; state them before the trained models leave your hands")
    return told


def _same_training(arms: Sequence[PlannedArm]) -> list[list[str]]:
    """The names of compared arms that differ in nothing but their names, where there are two or more."""
    alike: dict[str, list[str]] = {}
    for arm in arms:
        if not arm.entrant.control:
            treatment = arm.entrant.arm.model_copy(update={"name": "", "recipe": ""}).model_dump_json()
            alike.setdefault(repr((sorted(arm.kept), arm.entrant.phases, treatment)), []).append(arm.name)
    return [names for names in alike.values() if len(names) > 1]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(f'`{name}`' for name in names[:-1])} and `{names[-1]}`"
