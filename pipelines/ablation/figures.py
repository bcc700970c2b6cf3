"""Figures of an ablation, as SVG to put into a page: differences, curves, noise levels, doses, quality against quantity."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipelines.ablation.findings import Findings
from pipelines.ablation.outcomes import MEASURES, by_level, paired, scores
from pipelines.ablation.statistics import Interval, paired_t
from pipelines.ablation.verdict import Answer
from schemas.experiment import Harm, Metric

INK, SOFT, LINE = "#1c1e21", "#62666d", "#e3e4e8"
COLOURS = ("#33608f", "#c98b2b", "#2f7d5b", "#8a5a9e", "#b3423a", "#4d9aa8", "#7a7f87", "#a3785a")
STROKES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
"""Lines of arms beyond the colours, so that two arms never look alike before there are two dozen."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eeefee",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def look(place: int) -> dict[str, Any]:
    """How the arm at a place is drawn: its colour and its stroke."""
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": STROKES[place // len(COLOURS) % len(STROKES)]}


@contextmanager
def _axes(columns: int, width: float, height: float, made: list[str], salt: str) -> Iterator[Any]:
    """Yields `columns` axes side by side; their SVG is appended to `made`."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {**STYLE, "svg.hashsalt": salt}
    with matplotlib.rc_context(settings):
        drawing = Figure(figsize=(width, height), layout="constrained")
        yield np.atleast_1d(drawing.subplots(1, columns)).ravel()
        file = io.StringIO()
        drawing.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    made.append(text[text.index("<svg") :])


def differences(answers: Sequence[Answer]) -> list[str]:
    """One figure for each metric asked about: every question's difference with its interval, and no difference as a line."""
    made: list[str] = []
    for metric in dict.fromkeys(answer.asked.question.metric for answer in answers):
        rows = [answer for answer in answers if answer.asked.question.metric == metric]
        with _axes(1, 12, 0.62 + 0.42 * len(rows), made, f"differences-{metric}") as (axes,):
            for place, answer in enumerate(rows):
                _row(axes, place, answer)
            axes.axvline(0, color=SOFT, linewidth=1)
            axes.set_yticks(range(len(rows)), [f"{answer.asked.question.arm} − {answer.asked.question.against}" for answer in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.grid(axis="y", visible=False)
            better = "to the left is better" if MEASURES[metric].lower_is_better else "to the right is better"
            axes.set_xlabel(f"difference in {MEASURES[metric].title}; {better}")
    return made


def _row(axes: Any, place: int, answer: Answer) -> None:
    colour = {"better": COLOURS[2], "worse": COLOURS[4]}.get(answer.outcome, SOFT)
    interval = answer.interval
    if np.isfinite(interval.low):
        axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2.5, solid_capstyle="round")
    axes.plot([interval.estimate], [place], "o", color=colour, markersize=6.5)


def learning(findings: Findings) -> list[str]:
    """Held-out loss against steps, one panel for each phase: the mean over seeds with its interval. Empty without curves."""
    made: list[str] = []
    tasks = list(dict.fromkeys(findings.curves["task"].to_pylist()))
    if not tasks:
        return made
    arms = [arm.name for arm in findings.plan.arms if not arm.entrant.control]
    with _axes(len(tasks), 12, 3.4, made, "learning") as panels:
        for axes, task in zip(panels, tasks):
            for place, arm in enumerate(arms):
                _band(axes, *_grid(findings, arm, task), place, arm, findings)
            axes.set_xlabel("steps")
            axes.set_title(task.replace("_", " "), loc="left", fontsize=11, color=SOFT)
        panels[0].set_ylabel("held-out loss")
        panels[-1].legend(loc="upper right")
    return made


def _grid(findings: Findings, arm: str, task: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps that every seed of an arm was validated at, and losses of shape (seeds, steps)."""
    found: dict[int, dict[int, float]] = {}
    for row in findings.curves.to_pylist():
        if row["arm"] == arm and row["task"] == task:
            found.setdefault(row["seed"], {})[row["step"]] = row["loss"]
    steps = sorted(set.intersection(*(set(losses) for losses in found.values()))) if found else []
    return np.array(steps, dtype=float), np.array([[losses[step] for step in steps] for losses in found.values()]).reshape(len(found), len(steps))


def _band(axes: Any, across: np.ndarray, values: np.ndarray, place: int, label: str, findings: Findings) -> None:
    """The mean over seeds (rows) at each value of `across` (columns), with the band of its interval."""
    if not values.size:
        return
    found = [paired_t(column, findings.plan.experiment.confidence) for column in values.T]
    axes.plot(across, [interval.estimate for interval in found], marker="o", linewidth=2, markersize=4, label=label, **look(place))
    if len(values) > 1:
        axes.fill_between(across, [one.low for one in found], [one.high for one in found], color=look(place)["color"], alpha=0.13, linewidth=0)


def noise_levels(findings: Findings) -> list[str]:
    """At every noise level, with intervals: the loss of each arm, and the difference that each real question asks about."""
    made: list[str] = []
    asked = findings.questions
    if not asked:
        return made
    arms = [arm.name for arm in findings.plan.arms if not arm.entrant.control]
    with _axes(2, 12, 3.4, made, "levels") as (losses, differing):
        for place, arm in enumerate(arms):
            _, levels, values = by_level(findings.outcomes, arm, findings.plan.experiment.main_task, "held_out_loss")
            _band(losses, np.array(levels), values, place, arm, findings)
        for place, answer in enumerate(asked):
            _difference_by_level(differing, answer, place, findings)
        differing.axhline(0, color=SOFT, linewidth=1)
        for axes, title in ((losses, "held-out loss"), (differing, "difference")):
            axes.set_title(title, loc="left", fontsize=11, color=SOFT)
            axes.set_xlabel("noise level (timestep): fine detail left, layout right")
            axes.legend(loc="best", fontsize=9)
    return made


def _difference_by_level(axes: Any, answer: Answer, place: int, findings: Findings) -> None:
    question = answer.asked.question
    one_seeds, levels, one = by_level(findings.outcomes, question.arm, answer.task, question.metric)
    other_seeds, _, other = by_level(findings.outcomes, question.against, answer.task, question.metric)
    common = [seed for seed in one_seeds if seed in other_seeds]
    rows = np.array([one[one_seeds.index(seed)] - other[other_seeds.index(seed)] for seed in common]).reshape(len(common), len(levels))
    metric = "" if question.metric == "held_out_loss" else f", {answer.measure.title}"
    _band(axes, np.array(levels), rows, place, f"{question.arm} − {question.against}{metric}", findings)


def doses(findings: Findings) -> list[str]:
    """For each harm, what each dose does to its own metric and to the overall loss, against the clean control."""
    made: list[str] = []
    for answer in findings.controls:
        harm = answer.asked.harm
        if harm is None:
            continue
        metrics: list[Metric] = list(dict.fromkeys([answer.asked.question.metric, "held_out_loss"]))
        with _axes(2, 12, 2.7, made, f"doses-{harm}") as panels:
            for axes, metric in zip(panels, metrics):
                _dose_panel(axes, findings, answer, harm, metric)
            for axes in panels[len(metrics) :]:
                axes.set_axis_off()
    return made


def _dose_panel(axes: Any, findings: Findings, answer: Answer, harm: Harm, metric: Metric) -> None:
    measure, clean = MEASURES[metric], answer.asked.question.against
    places, intervals = [0.0], [Interval(0, 0, 0, 1, 0, 0, findings.plan.experiment.confidence, "paired-t")]
    for arm in findings.plan.arms:
        contamination = arm.entrant.arm.contamination
        if not arm.entrant.control or contamination is None or contamination.harm != harm or contamination.share == 0:
            continue
        seeds, values = paired(*(scores(findings.outcomes, name, answer.task, metric) for name in (arm.name, clean)))
        if len(seeds) > 1:
            places.append(100 * contamination.share)
            intervals.append(paired_t(values.mean(axis=1), findings.plan.experiment.confidence))
    middle = np.array([interval.estimate for interval in intervals])
    reach = np.array([[interval.estimate - interval.low, interval.high - interval.estimate] for interval in intervals]).T
    axes.errorbar(places, middle, yerr=reach, fmt="o-", color=COLOURS[4] if metric == answer.asked.question.metric else SOFT, linewidth=2, capsize=0)
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.set_xticks(places, [f"{place:g} %" for place in places])
    axes.set_title(f"{measure.title}; {'higher' if measure.lower_is_better else 'lower'} is harm", loc="left", fontsize=11, color=SOFT)
    axes.set_xlabel(f"clips with {harm.replace('_', ' ')}")


def quality_and_quantity(findings: Findings) -> list[str]:
    """Held-out loss of each arm against the hours its recipe keeps, with the Pareto front; empty where all keep the same."""
    compared = [arm for arm in findings.plan.arms if not arm.entrant.control]
    found = [(arm, findings.arm_interval(arm.name, "held_out_loss")) for arm in compared]
    points = [(60 * arm.hours * arm.clips_drawn / len(arm.kept), interval, arm.name) for arm, interval in found if interval is not None]
    made: list[str] = []
    amounts = sorted({round(minutes, 6) for minutes, _, _ in points})
    if len(amounts) < 2:
        return made
    with _axes(1, 12, 3.6, made, "pareto") as (axes,):
        aside = 0.006 * (amounts[-1] - amounts[0])
        for column, amount in enumerate(amounts):
            there = sorted((point for point in points if round(point[0], 6) == amount), key=lambda point: -point[1].estimate)
            for place, (minutes, interval, _) in enumerate(there):
                _point(axes, minutes + aside * (place - (len(there) - 1) / 2), interval, COLOURS[place % len(COLOURS)])
            middle = float(np.mean([interval.estimate for _, interval, _ in there]))
            _named(axes, [name for _, _, name in there], amount + aside * len(there) / 2, middle, 32 * (column % 2) if len(amounts) > 3 else 0)
        front = _front([(minutes, interval.estimate) for minutes, interval, _ in points])
        axes.plot([minutes for minutes, _ in front], [loss for _, loss in front], color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.set_xlabel("minutes of footage trained on; the dashed line joins arms that no other beats in both; names from high loss to low")
        axes.set_ylabel("held-out loss; lower is better")
        axes.margins(x=0.12)
    return made


def _point(axes: Any, x: float, interval: Interval, colour: str) -> None:
    reach = [[interval.estimate - interval.low], [interval.high - interval.estimate]] if np.isfinite(interval.low) else None
    axes.errorbar([x], [interval.estimate], yerr=reach, fmt="o", color=colour, capsize=0, linewidth=2)


def _named(axes: Any, names: Sequence[str], x: float, y: float, raised: float) -> None:
    """The names of points that lie above one another, on a ground that lines do not cross, `raised` where neighbours would run into them."""
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    axes.annotate("\n".join(names), (x, y), xytext=(7, raised), textcoords="offset points", va="center", fontsize=9, color=INK, bbox=ground)


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both quantity (more) and loss (less), by quantity."""
    kept = [point for point in points if not any(other != point and other[0] >= point[0] and other[1] <= point[1] for other in points)]
    return sorted(set(kept))
