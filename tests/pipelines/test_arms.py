"""Arms are what the file says, what a sweep makes of one recipe, and the controls; each swept arm has its question."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.ablation.arms import entrants
from schemas.document import DocumentError
from schemas.experiment import Ablation

RECIPE = """
name = "good"
[keep]
motion = { min = 0.1 }
watermark = { max = 0.5 }
border = { any_of = ["none"] }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    file = tmp_path / "good.toml"
    file.write_text(RECIPE)
    return str(file)


def experiment(recipe: str, **changes: Any) -> Ablation:
    arms = [{"name": "loose", "recipe": recipe}, {"name": "strict", "recipe": recipe}]
    told = {"name": "e", "corpus": "c", "seeds": [0, 1, 2], "phases": [{"task": "text_to_video", "steps": 500}], "arms": arms}
    return Ablation.model_validate({**told, "questions": [{"arm": "strict", "against": "loose"}], **changes})


def test_controls_are_asked_in_small_beside_the_real_question(recipe: str):
    arms, asked = entrants(experiment(recipe))
    controls = {entrant.name: entrant for entrant in arms if entrant.control}
    assert sorted(controls) == [
        "control-clean",
        "control-null-first",
        "control-null-second",
        "control-watermark-25",
        "control-watermark-50",
        "control-wrong_captions-25",
        "control-wrong_captions-50",
    ]
    assert {entrant.phases[0].steps for entrant in controls.values()} == {200}
    assert [(one.harm, one.expected) for one in asked] == [(None, "unknown"), ("watermark", "worse"), ("wrong_captions", "worse"), (None, "no difference")]
    assert [one.question.metric for one in asked[1:3]] == ["region_loss", "caption_gain"]


def test_controls_can_be_left_out(recipe: str):
    arms, asked = entrants(experiment(recipe, controls={"harms": [], "null": False}))
    assert [entrant.name for entrant in arms] == ["loose", "strict"] and len(asked) == 1


def test_controls_have_seeds_enough_to_find_something_even_where_the_experiment_has_not(recipe: str):
    arms, _ = entrants(experiment(recipe, seeds=[3, 9]))
    assert {entrant.seeds for entrant in arms if entrant.control} == {(3, 9, 10, 11)}
    assert {entrant.seeds for entrant in arms if not entrant.control} == {(3, 9)}


def test_controls_use_fewer_seeds_and_another_arm_when_asked(recipe: str):
    arms, _ = entrants(experiment(recipe, controls={"arm": "strict", "seeds": 2, "steps": 1000}))
    control = next(entrant for entrant in arms if entrant.name == "control-clean")
    assert control.seeds == (0, 1) and control.phases[0].steps == 500, "never more steps than the experiment"


def test_a_sweep_leaves_each_rule_out_and_tries_each_alone(recipe: str):
    swept = experiment(recipe, arms=[], questions=[], sweep={"recipe": recipe}, controls={"harms": [], "null": False})
    arms, asked = entrants(swept)
    kept = {entrant.name: set(entrant.recipe.keep) for entrant in arms}
    assert kept["whole"] == {"motion", "watermark", "border"} and kept["no-rule"] == set()
    assert kept["without-motion"] == {"watermark", "border"} and kept["only-motion"] == {"motion"}
    assert len(kept) == 8
    against = {one.question.arm: one.question.against for one in asked}
    assert against["without-motion"] == "whole" and against["only-motion"] == "no-rule" and against["no-rule"] == "whole"


def test_a_ladder_moves_the_bound_that_the_recipe_sets(recipe: str):
    ladders = {"motion": [0.05, 0.2], "watermark": [0.25]}
    sweep = {"recipe": recipe, "leave_one_out": False, "one_rule_only": False, "ladders": ladders}
    arms, _ = entrants(experiment(recipe, arms=[], questions=[], sweep=sweep))
    rungs = {entrant.name: entrant for entrant in arms if entrant.rung}
    assert sorted(rungs) == ["motion-0_05", "motion-0_2", "watermark-0_25"]
    assert rungs["motion-0_2"].recipe.keep["motion"].min == 0.2 and rungs["watermark-0_25"].recipe.keep["watermark"].max == 0.25
    assert rungs["motion-0_2"].recipe.keep["watermark"].max == 0.5, "the other rules stay"


def test_a_ladder_over_words_is_refused_saying_what_has_a_bound(recipe: str):
    with pytest.raises(DocumentError, match=r"no single min or max on `border` \(it does on: motion, watermark\)"):
        entrants(experiment(recipe, sweep={"recipe": recipe, "ladders": {"border": [1]}}))


def test_a_swept_arm_may_not_take_a_written_arms_name(recipe: str):
    arms = [{"name": "whole", "recipe": recipe}, {"name": "strict", "recipe": recipe}]
    with pytest.raises(DocumentError, match="rename the written one"):
        entrants(experiment(recipe, arms=arms, questions=[], sweep={"recipe": recipe}))


def test_a_recipe_with_an_unknown_column_is_refused(tmp_path: Path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('name = "wrong"\n[keep]\naestetic = { min = 5 }\n')
    with pytest.raises(DocumentError, match="did you mean `aesthetic`"):
        entrants(experiment(str(wrong)))
