"""Arms: what an experiment compares, with those that a sweep makes from one recipe and the controls whose answer is known."""

import re
from dataclasses import dataclass
from typing import Literal

from schemas.document import DocumentError
from schemas.experiment import Ablation, Arm, Contamination, Harm, Metric, Question, Sweep
from schemas.recipe import Range, Recipe, read_recipe
from schemas.run import Phase

OUTCOME_METRICS: dict[Harm, Metric] = {
    "watermark": "region_loss",
    "wrong_captions": "caption_gain",
    "frozen": "held_out_loss",
    "duplicated": "held_out_loss",
    "low_resolution": "held_out_loss",
}
"""The metric on which each harm must show. The overall loss hides most of them."""

CLEAN, FIRST_HALF, SECOND_HALF = "control-clean", "control-null-first", "control-null-second"
FEWEST_SEEDS = 4
NO_RULE, WHOLE = "no-rule", "whole"


@dataclass(frozen=True)
class Entrant:
    """An arm that takes part.

    Attributes:
        arm: as written, or as a sweep or a control made it.
        recipe: what its clips are chosen by.
        phases: what it trains, with its own overrides.
        seeds: the seeds it is trained with.
        control: whether it belongs to the controls.
        rung: the column and threshold that a ladder moved; None off the ladder.
    """

    arm: Arm
    recipe: Recipe
    phases: tuple[Phase, ...]
    seeds: tuple[int, ...]
    control: bool = False
    rung: tuple[str, float] | None = None

    @property
    def name(self) -> str:
        return self.arm.name

    @property
    def main_phase(self) -> Phase:
        """The first phase that is not the autoencoder's."""
        return next((phase for phase in self.phases if phase.task != "autoencode"), self.phases[0])


@dataclass(frozen=True)
class Asked:
    """A question that will be answered; of a control, with the answer that is right."""

    question: Question
    expected: Literal["unknown", "worse", "no difference"] = "unknown"
    harm: Harm | None = None


def entrants(experiment: Ablation) -> tuple[list[Entrant], list[Asked]]:
    """Every arm with its recipe, and every question: written, swept, and controls last.

    Raises:
        DocumentError: a recipe is missing or wrong, or a swept name is taken.
    """
    arms = [_entrant(arm, read_recipe(arm.recipe), experiment) for arm in experiment.arms]
    asked = [Asked(question) for question in experiment.questions]
    if experiment.sweep is not None:
        swept, questions = _swept(experiment.sweep, experiment)
        arms, asked = [*arms, *swept], [*asked, *questions]
    names = [entrant.name for entrant in arms]
    if len(set(names)) < len(names):
        taken = sorted({name for name in names if names.count(name) > 1})
        raise DocumentError(f"experiment `{experiment.name}`: the sweep makes an arm `{taken[0]}`, which is also written; rename the written one")
    controls, known = _controls(experiment, arms)
    return [*arms, *controls], [*asked, *known]


def _entrant(arm: Arm, recipe: Recipe, experiment: Ablation, rung: tuple[str, float] | None = None) -> Entrant:
    return Entrant(arm, recipe, arm.phases(experiment.phases), experiment.seeds, rung=rung)


def _swept(sweep: Sweep, experiment: Ablation) -> tuple[list[Entrant], list[Asked]]:
    recipe = read_recipe(sweep.recipe)
    if not recipe.keep:
        raise DocumentError(f"sweep: recipe `{recipe.name}` has no rule in [keep], so there is nothing to leave out")
    made = {WHOLE: recipe, NO_RULE: _ruled(recipe, {})}
    if sweep.leave_one_out:
        made |= {f"without-{column}": _ruled(recipe, {name: rule for name, rule in recipe.keep.items() if name != column}) for column in recipe.keep}
    if sweep.one_rule_only and len(recipe.keep) > 1:
        made |= {f"only-{column}": _ruled(recipe, {column: rule}) for column, rule in recipe.keep.items()}
    rungs = _rungs(sweep, recipe)
    arms = [_entrant(Arm(name=name, recipe=sweep.recipe), made_recipe, experiment) for name, made_recipe in made.items()]
    arms += [_entrant(Arm(name=name, recipe=sweep.recipe), rung_recipe, experiment, rung) for name, (rung_recipe, rung) in rungs.items()]
    against = {name: NO_RULE if name.startswith("only-") else WHOLE for name in [*made, *rungs] if name != WHOLE}
    return arms, [Asked(Question(arm=name, against=other)) for name, other in against.items()]


def _rungs(sweep: Sweep, recipe: Recipe) -> dict[str, tuple[Recipe, tuple[str, float]]]:
    """An arm for each threshold of each ladder, moving the bound that the recipe sets."""
    made = {}
    for column, thresholds in sweep.ladders.items():
        rule = recipe.keep.get(column)
        if rule is None or (rule.min is None) == (rule.max is None):
            allowed = [name for name, found in recipe.keep.items() if (found.min is None) != (found.max is None)]
            raise DocumentError(f"sweep: ladders: recipe `{recipe.name}` sets no single min or max on `{column}` (it does on: {', '.join(allowed) or 'none'})")
        for threshold in thresholds:
            moved = Range(min=threshold) if rule.min is not None else Range(max=threshold)
            made[slug(f"{column}-{threshold:g}")] = (_ruled(recipe, {**recipe.keep, column: moved}), (column, threshold))
    return made


def _ruled(recipe: Recipe, keep: dict[str, Range]) -> Recipe:
    """The recipe with other rules; what it was tuned for still holds for the rules that stay."""
    return recipe.model_copy(update={"keep": keep, "scorers": {column: maker for column, maker in recipe.scorers.items() if column in keep}})


def _controls(experiment: Ablation, arms: list[Entrant]) -> tuple[list[Entrant], list[Asked]]:
    controls = experiment.controls
    base = next((entrant for entrant in arms if entrant.name == controls.arm), arms[0])
    phase = base.main_phase.model_copy(update={"steps": min(controls.steps, base.main_phase.steps)})
    seeds = _seeds(experiment.seeds, controls.seeds or max(FEWEST_SEEDS, len(experiment.seeds)))

    def control(name: str, **changes: object) -> Entrant:
        return Entrant(base.arm.model_copy(update={"name": name, **changes}), base.recipe, (phase,), seeds, control=True)

    made: list[Entrant] = []
    asked: list[Asked] = []
    if controls.harms:
        made.append(control(CLEAN, contamination=Contamination(harm=controls.harms[0], share=0)))
    for harm in controls.harms:
        doses = [control(dose_name(harm, share), contamination=Contamination(harm=harm, share=share)) for share in controls.shares]
        made += doses
        asked.append(Asked(Question(arm=doses[-1].name, against=CLEAN, metric=OUTCOME_METRICS[harm]), "worse", harm))
    if controls.null:
        made += [control(FIRST_HALF, half="first"), control(SECOND_HALF, half="second")]
        asked.append(Asked(Question(arm=FIRST_HALF, against=SECOND_HALF), "no difference"))
    return made, asked


def _seeds(given: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The first `count` seeds, continued by the numbers after the largest where there are too few."""
    more = range(max(given) + 1, max(given) + 1 + max(0, count - len(given)))
    return (*given[:count], *more)


def dose_name(harm: Harm, share: float) -> str:
    """The name of a control arm, such as `control-watermark-50`."""
    return slug(f"control-{harm}-{share * 100:g}")


def slug(text: str) -> str:
    """Text as an arm may be called: lower case, with an underscore for whatever else is odd."""
    return re.sub(r"[^a-z0-9_-]", "_", text.lower())
