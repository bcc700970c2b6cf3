"""An experiment file is understood, and its mistakes are refused with what to change."""

from pathlib import Path
from typing import Any

import pytest

from schemas.document import DocumentError, parse_document, read_document
from schemas.experiment import Ablation, Arm, read_experiment

PHASE = {"task": "text_to_video", "steps": 100, "batch": 4, "frames": 16}


def experiment(**changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "corpus": "corpus",
        "seeds": [0, 1, 2],
        "phases": [PHASE],
        "arms": [{"name": "loose", "recipe": "all"}, {"name": "strict", "recipe": "demo"}],
        "questions": [{"arm": "strict", "against": "loose"}],
        **changes,
    }


def arms(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "loose", "recipe": "all"}, {"name": "strict", "recipe": "demo", **changes}]


def parse(**changes: Any) -> Ablation:
    return parse_document(experiment(**changes), Ablation, "experiment.toml")


def test_an_experiment_is_read_with_controls_on_by_default():
    read = parse()
    assert [arm.name for arm in read.arms] == ["loose", "strict"]
    assert read.controls.harms == ("watermark", "wrong_captions") and read.controls.null
    assert read.questions[0].view == "everything"


def test_an_arm_changes_only_the_settings_it_names():
    arm = Arm(name="wide", recipe="all", overrides={"learning_rate": 1e-3}, image_share=0.2)
    (changed,) = arm.phases(parse().phases)
    assert changed.learning_rate == 1e-3 and changed.steps == 100
    assert changed.images == 4, "4 images of 20 pictures are a fifth"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": arms(name="loose")}, "two arms are called `loose`"),
        ({"questions": [{"arm": "strict", "against": "lose"}]}, "the arms are loose, strict"),
        ({"questions": [{"arm": "strict", "against": "strict"}]}, "compared with itself"),
        ({"questions": [{"arm": "strict", "against": "loose", "metric": "region_loss"}]}, "not among the metrics measured"),
        ({"questions": [{"arm": "strict", "against": "loose", "view": "filtered"}]}, "not a view"),
        ({"questions": [{"arm": "strict", "against": "loose", "task": "upscale"}]}, "not among the phases (text_to_video)"),
        ({"questions": []}, "give two arms or more and a question, or a sweep"),
        ({"seeds": [1, 1]}, "a seed comes twice"),
        ({"interval": "hierarchical-bootstrap"}, "8 seeds or more"),
        ({"arms": arms(overrides={"learning_rat": 1e-3})}, "did you mean `learning_rate`"),
        ({"arms": arms(overrides={"batch": -1})}, "arm `strict`: overrides: batch"),
        ({"arms": arms(caption_mix={"metadata": 0.5, "describe": 0.2})}, "add up to 0.7, not 1"),
        ({"arms": arms(captions="describe", caption_mix={"describe": 1.0})}, "not both"),
        ({"controls": {"shares": [0, 0.5]}}, "the dose 0 is always there"),
        ({"controls": {"arm": "clean"}}, "`clean` is not an arm"),
        ({"armz": []}, "did you mean `arms`"),
    ],
)
def test_a_mistake_is_refused_saying_what_to_change(changes: dict[str, Any], told: str):
    with pytest.raises(DocumentError) as refused:
        parse(**changes)
    assert told in str(refused.value)


@pytest.mark.parametrize("name", ["demo", "sweep"])
def test_shipped_experiments_are_understood(name: str):
    assert read_experiment(name, corpus="elsewhere").corpus == "elsewhere"


def test_an_experiment_that_does_not_ship_is_refused_with_those_that_do():
    with pytest.raises(DocumentError, match=r"no experiment `dmeo`.*demo, sweep"):
        read_experiment("dmeo")


def test_recipes_are_found_beside_the_experiment(tmp_path: Path):
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    file = tmp_path / "experiment.toml"
    file.write_text("""
name = "e"
corpus = "c"
seeds = [0]
phases = [{ task = "text_to_video", steps = 1 }]
arms = [{ name = "a", recipe = "mine.toml" }, { name = "b", recipe = "default" }]
questions = [{ arm = "a", against = "b" }]
""")
    assert [arm.recipe for arm in read_experiment(file).arms] == [str(tmp_path / "mine.toml"), "default"]
    assert read_experiment(file, sweep="strict").sweep.recipe == "strict"


def test_a_mistake_in_a_file_names_its_line(tmp_path: Path):
    file = tmp_path / "wrong.toml"
    file.write_text('name = "x"\ncorpus = "c"\nseed = [0]\n')
    with pytest.raises(DocumentError, match=r"wrong\.toml, line 3.*did you mean `seeds`"):
        read_document(file, Ablation)
