"""Portraits of the arms, for the page: what each keeps, trains on and does differently, and what it scored."""

from collections.abc import Sequence
from typing import Any

from pipelines.ablation.findings import Findings
from pipelines.ablation.plan import PlannedArm, overlap
from pipelines.ablation.statistics import Interval
from pipelines.ablation.wording import figure

MOST_SHOWN = 12


def shown(arm: PlannedArm, findings: Findings) -> dict[str, Any]:
    cells = []
    for metric in findings.plan.experiment.metrics:
        interval = findings.arm_interval(arm.name, metric)
        cells.append({"value": figure(interval.estimate), "bounds": _bounds_of_mean(interval)} if interval else {"value": "failed", "bounds": ""})
    return {
        "name": arm.name,
        "recipe": arm.entrant.recipe.name,
        "differs": "; ".join(_differs(arm)),
        "kept": len(arm.kept),
        "drawn": arm.clips_drawn,
        "minutes": f"{arm.hours * 60 * arm.clips_drawn / len(arm.kept):.1f}",
        "passes": f"{arm.passes:.1f}",
        "cells": cells,
    }


def _differs(arm: PlannedArm) -> list[str]:
    """What an arm does differently with what its recipe keeps, in words."""
    asked, told = arm.entrant.arm, []
    if arm.entrant.rung:
        told.append(f"{arm.entrant.rung[0]} at {arm.entrant.rung[1]:g}")
    if asked.share < 1:
        told.append(f"{asked.share * 100:g} % of its clips, drawn anew for each seed")
    if asked.half:
        told.append(f"the {asked.half} half of its clips, split anew for each seed")
    if asked.captions:
        told.append(f"captions of {asked.captions}")
    if asked.caption_mix:
        told.append("captions " + ", ".join(f"{share * 100:g} % {name}" for name, share in asked.caption_mix.items()))
    if asked.image_share is not None:
        told.append(f"{asked.image_share * 100:g} % stills")
    if asked.contamination:
        told.append(f"{asked.contamination.share * 100:g} % of its clips with {asked.contamination.harm.replace('_', ' ')}")
    return told + [f"{name} {value}" for name, value in asked.overrides.items()]


def _bounds_of_mean(interval: Interval) -> str:
    return f"{figure(interval.low)} to {figure(interval.high)}" if interval.seeds > 1 else ""


def funnels(findings: Findings) -> list[dict[str, Any]]:
    """A funnel for each recipe, under the first arm that uses it."""
    first_arms = {(arm.entrant.recipe.name, arm.funnel): arm for arm in reversed(findings.plan.arms) if not arm.entrant.control}
    return [{"arm": arm.name, "recipe": arm.entrant.recipe.name, "steps": _steps(arm)} for arm in reversed(first_arms.values())]


def _steps(arm: PlannedArm) -> list[dict[str, Any]]:
    everything = max(1, arm.funnel[0].left_clips)
    return [
        {
            "rule": step.rule,
            "wants": step.wants,
            "rejected": step.rejected_clips,
            "left": step.left_clips,
            "share": round(100 * step.left_clips / everything, 2),
        }
        for step in arm.funnel
    ]


def overlaps(arms: Sequence[PlannedArm]) -> dict[str, Any]:
    shown = arms[:MOST_SHOWN]
    return {"arms": [arm.name for arm in shown], "rows": [{"arm": one.name, "cells": [f"{overlap(one, other):.0%}" for other in shown]} for one in shown]}
