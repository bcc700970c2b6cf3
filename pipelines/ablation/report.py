"""report.html of an ablation: the verdict first, then whether to believe it, then everything behind it, on one self-contained page."""

import base64
import importlib.resources
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from pipelines.ablation import figures, portraits
from pipelines.ablation.findings import Findings, Sampled, trust
from pipelines.ablation.outcomes import MEASURES, paired, scores
from pipelines.ablation.statistics import Interval, paired_t
from pipelines.ablation.verdict import Answer
from pipelines.ablation.wording import duration, figure, headline, probability, sentence, signed
from schemas.experiment import EVERYTHING


def write_report(findings: Findings, out: Path) -> Path:
    """Write `report.html` into a folder and return its path."""
    templates = importlib.resources.files("pipelines") / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["named"] = _named
    template = environment.from_string((templates / "ablation.html.j2").read_text("utf-8"))
    css = Markup((templates / "page.css").read_text("utf-8"))
    path = out / "report.html"
    path.write_text(template.render(page=_page(findings), css=css), encoding="utf-8")
    return path


def _page(findings: Findings) -> dict[str, Any]:
    plan = findings.plan
    return {
        "name": plan.experiment.name,
        "description": plan.experiment.description,
        "verdicts": [{"text": sentence(answer, plan.budget), "outcome": answer.outcome} for answer in findings.questions],
        "headline": headline(findings.questions, plan.budget) if len(findings.questions) > 1 else "",
        "trust": trust(findings.controls) if findings.controls else "",
        "warnings": [*plan.warnings, *findings.unasked, *(f"arm `{row['arm']}`, seed {row['seed']} failed: {row['reason']}" for row in findings.failures)],
        "facts": _facts(findings),
        "answers": [_answer(answer) for answer in findings.questions],
        "controls": [_control(answer) for answer in findings.controls],
        "sensitivity": _sensitivity(findings),
        "metrics": [MEASURES[metric] for metric in plan.experiment.metrics],
        "arms": [portraits.shown(arm, findings) for arm in plan.arms if not arm.entrant.control],
        "views": _views(findings),
        "drawn": _drawn(findings),
        "samples": _samples(findings.samples),
        "funnels": portraits.funnels(findings),
        "overlaps": portraits.overlaps([arm for arm in plan.arms if not arm.entrant.control]),
        "held_out": {"clips": len(plan.held_out.clips), "clusters": len(plan.held_out.clusters), "sources": plan.held_out.composition[: portraits.MOST_SHOWN]},
        "trials": [_trial(row) for row in findings.trials.to_pylist()],
        "coverage": [{"method": method, "nominal": plan.experiment.confidence, "held": held} for method, held in findings.coverage.items()],
        "lineage": list(findings.lineage.items()),
        "versions": sorted(findings.versions.items()),
        "reproduce": findings.reproduce,
    }


def _named(text: str) -> Markup:
    """A sentence with its `names` in bold and its numbers kept with their signs; everything else stays text."""
    unbroken = text.replace(" p = ", " p\u00a0=\u00a0").replace(" p < ", " p\u00a0<\u00a0").replace(" % ", "\u00a0% ")
    return Markup(re.sub(r"`([^`]*)`", r"<b>\1</b>", str(escape(unbroken))))


def _facts(findings: Findings) -> list[dict[str, str]]:
    plan = findings.plan
    compared = [arm for arm in plan.arms if not arm.entrant.control]
    price = plan.experiment.price_per_hour
    trained_s = sum(row["seconds"] or 0 for row in findings.trials.to_pylist())
    told = [
        {"value": str(len(compared)), "label": "arms compared"},
        {"value": str(len(plan.experiment.seeds)), "label": "seeds each"},
        {"value": str(len(plan.held_out.clips)), "label": "held-out clips"},
        {"value": duration(trained_s), "label": f"of training in {plan.trials} trials"},
    ]
    return told + ([{"value": f"{trained_s / 3600 * price:.2f}", "label": "cost, in your currency"}] if price else [])


def _answer(answer: Answer) -> dict[str, Any]:
    question, interval = answer.asked.question, answer.interval
    return {
        "arm": question.arm,
        "against": question.against,
        "metric": answer.measure.title,
        "view": question.view,
        "value": figure(answer.value),
        "other": figure(answer.other),
        "difference": signed(interval.estimate),
        "bounds": _bounds(interval),
        "size": signed(interval.estimate / interval.spread) if interval.spread and interval.seeds > 1 else "",
        "p": probability(answer.p).removeprefix("= "),
        "detectable": figure(answer.detectable),
        "needed": str(answer.seeds_needed) if answer.seeds_needed else "",
        "outcome": answer.outcome,
    }


def _bounds(interval: Interval) -> str:
    return f"{signed(interval.low)} to {signed(interval.high)}"


def _control(answer: Answer) -> dict[str, Any]:
    harm, dose = answer.asked.harm, answer.asked.question.arm.rsplit("-", 1)[-1].replace("_", ".")
    return {
        "what": f"{dose} % of the clips with {harm.replace('_', ' ')}" if harm else "two halves of the same clips",
        "metric": answer.measure.title,
        "expected": "harm" if answer.asked.expected == "worse" else "no difference",
        "found": {"worse": "harm", "better": "an improvement"}.get(answer.outcome, "no difference") if harm else _found(answer),
        "difference": signed(answer.interval.estimate),
        "bounds": _bounds(answer.interval),
        "p": probability(answer.p).removeprefix("= "),
        "right": bool(answer.as_expected),
    }


def _found(answer: Answer) -> str:
    return "a difference" if answer.outcome in ("better", "worse") else "no difference"


def _sensitivity(findings: Findings) -> list[str]:
    """What training itself changed, against what these seeds could have seen: a line for each arm that others are compared with."""
    asked = [one for one in findings.questions if one.asked.question.metric == "held_out_loss" and one.interval.seeds > 1]
    told = []
    for reference in dict.fromkeys(one.asked.question.against for one in asked):
        first, last, gained = _lowered(findings, reference)
        if gained <= 0:
            continue
        found = sorted(one.detectable for one in asked if one.asked.question.against == reference)
        span, share = (f"{low}{f' to {high}' if high != low else ''}" for low, high in _ends(found, gained))
        told.append(
            f"Between steps {first} and {last} training `{reference}` lowered the held-out loss by {figure(gained)}; the smallest difference from it that "
            f"these seeds find four times in five is {span}, {share} % of that."
        )
    return told


def _ends(found: Sequence[float], whole: float) -> list[tuple[str, str]]:
    """The smallest and the largest of some numbers, as they are and in percent of a whole."""
    ends = (found[0], found[-1])
    return [(figure(ends[0]), figure(ends[1])), (f"{100 * ends[0] / whole:.0f}", f"{100 * ends[1] / whole:.0f}")]


def _lowered(findings: Findings, arm: str) -> tuple[int, int, float]:
    """The steps of an arm's first and last validation, and by how much its curve fell between them; 0 where there are not two."""
    rows = [row for row in findings.curves.to_pylist() if row["task"] == findings.plan.experiment.main_task and row["arm"] == arm]
    if not rows:
        return 0, 0, 0.0
    first, last = min(row["step"] for row in rows), max(row["step"] for row in rows)
    start, end = (_mean([row["loss"] for row in rows if row["step"] == step]) for step in (first, last))
    return first, last, start - end


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _views(findings: Findings) -> dict[str, Any]:
    """Each question's difference on everything held out, and on what either arm's recipe keeps of it."""
    held = findings.plan.held_out
    rows = []
    for answer in findings.questions:
        question, cells = answer.asked.question, []
        for view in (EVERYTHING, question.arm, question.against):
            keys = frozenset(held.clips) if view == EVERYTHING else held.views[view]
            cells.append({"clips": len(keys), **_view_cell(findings, answer, keys)})
        rows.append({"arm": question.arm, "against": question.against, "metric": answer.measure.title, "cells": cells})
    return {"rows": rows}


def _view_cell(findings: Findings, answer: Answer, keys: frozenset[str]) -> dict[str, str]:
    if not keys:
        return {"difference": "no clip", "bounds": ""}
    question = answer.asked.question
    _, values = paired(*(scores(findings.outcomes, arm, answer.task, question.metric, keys) for arm in (question.arm, question.against)))
    interval = paired_t(values.mean(axis=1), findings.plan.experiment.confidence)
    return {"difference": signed(interval.estimate), "bounds": _bounds(interval)}


def _drawn(findings: Findings) -> dict[str, list[Markup]]:
    """Figures by section. They are made here from checked names and numbers, so they are safe as they are."""
    made = {
        "differences": figures.differences(findings.questions),
        "learning": figures.learning(findings),
        "levels": figures.noise_levels(findings),
        "doses": figures.doses(findings),
        "pareto": figures.quality_and_quantity(findings),
    }
    return {name: [Markup(drawing) for drawing in drawings] for name, drawings in made.items()}


def _samples(samples: Sequence[Sampled]) -> dict[str, Any]:
    """A row for each prompt and seed, a column for each arm."""
    arms = list(dict.fromkeys(sample.arm for sample in samples))
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for sample in samples:
        rows.setdefault((sample.prompt, sample.seed), {})[sample.arm] = "data:video/mp4;base64," + base64.b64encode(sample.path.read_bytes()).decode()
    return {"arms": arms, "rows": [{"prompt": prompt, "seed": seed, "videos": [found.get(arm) for arm in arms]} for (prompt, seed), found in rows.items()]}


def _trial(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "seconds": duration(row["seconds"]) if row["seconds"] is not None else "", "minutes": f"{(row['hours'] or 0) * 60:.1f}"}
