"""A plan says what each arm keeps and trains on, keeps held-out clusters apart, and refuses what cannot be an answer before any work."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from curate.corpus import open_corpus
from curate.storage.relations import RELATIONS
from pipelines.ablation.held_out import Holdings
from pipelines.ablation.plan import Plan, overlap
from pipelines.ablation.planning import make_plan
from schemas.clip import CLIPS, GAPS, clip_id
from schemas.document import DocumentError
from schemas.experiment import Ablation
from schemas.recipe import read_recipe
from schemas.source import SOURCES
from schemas.table import table_of

PHASE = {"task": "text_to_video", "steps": 100, "batch": 4}
FOOTAGE = [f"s{number:020d}" for number in range(8)]


def source(name: str, **more: Any) -> dict[str, Any]:
    known = {"source_id": name, "uri": f"films/{name}.mp4", "duration_s": 10.0, "status": "ok", "media_type": "video", "license": "CC-BY-4.0"}
    return {**known, "rights_uses": ["train"], **more}


def clip(name: str, number: int, **measures: Any) -> dict[str, Any]:
    start, end = number * 25, (number + 1) * 25
    row = {"clip_id": clip_id(name, start, end), "source_id": name, "start_frame": start, "end_frame": end, "start_s": number * 1.0, "end_s": number + 1.0}
    return {**row, "num_frames": 25, "width": 640, "height": 360, "media_type": "video", "motion": number / 10, "watermark": 0.0, **measures}


def holdings(clips: list[dict[str, Any]] | None = None, sources: list[dict[str, Any]] | None = None) -> Holdings:
    rows = clips or [clip(name, number) for name in FOOTAGE for number in range(10)]
    return Holdings(table_of(rows, CLIPS), table_of(sources or [source(name) for name in FOOTAGE], SOURCES), table_of([], GAPS), date(2026, 1, 1))


@pytest.fixture
def recipes(tmp_path: Path) -> dict[str, str]:
    texts = {"all": "", "moving": "[keep]\nmotion = { min = 0.5 }", "marked": "[keep]\nwatermark = { min = 0.5 }"}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\n{text}\n')
    return {name: str(tmp_path / f"{name}.toml") for name in texts}


def experiment(recipes: dict[str, str], **changes: Any) -> Ablation:
    arms = [{"name": "all", "recipe": recipes["all"]}, {"name": "moving", "recipe": recipes["moving"]}]
    told = {"name": "e", "corpus": "c", "seeds": [0, 1], "phases": [PHASE], "arms": arms, "questions": [{"arm": "moving", "against": "all"}]}
    return Ablation.model_validate({**told, "controls": {"harms": [], "null": False}, **changes})


def arms_of(plan: Plan) -> dict[str, Any]:
    return {arm.name: arm for arm in plan.arms}


def test_no_arm_keeps_a_copy_of_what_is_held_out(recipes: dict[str, str]):
    best = [clip(FOOTAGE[0], number)["clip_id"] for number in range(10)]
    rows = [clip(FOOTAGE[0], number, duplicate_cluster=best[number]) for number in range(10)]
    rows += [clip(name, number, duplicate_of=best[number], duplicate_cluster=best[number]) for name in FOOTAGE[1:4] for number in range(10)]
    rows += [clip(name, number) for name in FOOTAGE[4:] for number in range(10)]
    held = holdings(rows)
    plan = make_plan(experiment(recipes), held)
    trained = {held.cluster_of[name] for arm in plan.arms for name in arm.kept}
    assert not trained & plan.held_out.clusters
    assert {held.cluster_of[name] for name in plan.held_out.clips} <= plan.held_out.clusters
    assert len(plan.held_out.clips) == len({held.cluster_of[name] for name in plan.held_out.clips}), "one clip of each cluster"


def test_no_arm_trains_on_the_rest_of_a_shot_that_is_held_out(recipes: dict[str, str], tmp_path: Path):
    """Clips of ten seconds out of one long shot show the same thing."""
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    rows = [clip(name, number, shot_index=number // 2) for name in FOOTAGE for number in range(10)]
    named = RELATIONS["spans"].names
    corpus.append("spans", table_of([{name: row[name] for name in named if name in row} for row in rows], RELATIONS["spans"]), "spans")
    told = experiment(recipes)
    held = replace(holdings(), clips=Holdings.of(corpus, [read_recipe(arm.recipe) for arm in told.arms], date(2026, 1, 1)).clips)
    plan = make_plan(experiment(recipes, arms=[{"name": "all", "recipe": recipes["all"]}, {"name": "moving", "recipe": recipes["all"]}]), held)
    shot = {row["clip_id"]: (row["source_id"], row["shot_index"]) for row in rows}
    trained = {shot[name] for arm in plan.arms for name in arm.kept}
    assert len(trained) > 20 and not trained & {shot[name] for name in plan.held_out.clips}


def test_views_say_what_each_recipe_would_keep_of_the_held_out_clips(recipes: dict[str, str]):
    plan = make_plan(experiment(recipes), holdings())
    assert plan.held_out.views["all"] == frozenset(plan.held_out.clips)
    assert plan.held_out.views["moving"] == {name for name in plan.held_out.clips if int(name.split("-")[1]) >= 125}
    assert sum(count for _, count in plan.held_out.composition) == len(plan.held_out.clips)


def test_the_same_question_is_planned_the_same_way_twice(recipes: dict[str, str]):
    assert make_plan(experiment(recipes), holdings()) == make_plan(experiment(recipes), holdings())


def test_overlap_is_the_share_of_one_arms_clips_that_the_other_keeps(recipes: dict[str, str]):
    arms = arms_of(make_plan(experiment(recipes), holdings()))
    assert overlap(arms["moving"], arms["all"]) == 1 and 0.3 < overlap(arms["all"], arms["moving"]) < 0.7


@pytest.mark.parametrize("budget", ["clips", "hours"])
def test_equal_clips_and_equal_hours_are_those_of_the_smallest_arm(recipes: dict[str, str], budget: str):
    arms = arms_of(make_plan(experiment(recipes, budget=budget), holdings()))
    assert arms["all"].clips_drawn == arms["moving"].clips_drawn == len(arms["moving"].kept) < len(arms["all"].kept)


def test_equal_compute_takes_steps_from_an_arm_whose_steps_cost_more(recipes: dict[str, str]):
    large = {"name": "large", "recipe": recipes["all"], "overrides": {"batch": 8}}
    told = experiment(recipes, budget="compute", arms=[{"name": "all", "recipe": recipes["all"]}, large], questions=[{"arm": "large", "against": "all"}])
    arms = arms_of(make_plan(told, holdings()))
    assert arms["large"].entrant.phases[0].steps == 50 and arms["large"].work == arms["all"].work


def test_halves_of_a_null_arm_train_on_half_the_clips(recipes: dict[str, str]):
    plan = make_plan(experiment(recipes, controls={"harms": [], "null": True}), holdings())
    half, whole = arms_of(plan)["control-null-first"], arms_of(plan)["all"]
    assert half.clips_drawn == round(len(whole.kept) / 2) and half.kept == whole.kept


def test_an_empty_arm_is_refused_with_the_rule_that_emptied_it(recipes: dict[str, str]):
    arms = [{"name": "all", "recipe": recipes["all"]}, {"name": "moving", "recipe": recipes["marked"]}]
    with pytest.raises(DocumentError, match=r"arm `moving` is empty.*by `watermark` \(watermark 0 < 0.5\)"):
        make_plan(experiment(recipes, arms=arms), holdings())


def test_rights_that_forbid_training_are_refused_naming_the_source(recipes: dict[str, str]):
    sources = [source(name) for name in FOOTAGE[1:]] + [source(FOOTAGE[0], rights_uses=["display"], rights_holder="A Studio")]
    with pytest.raises(DocumentError, match=r"1 sources that it keeps do not permit training.*A Studio, uses: display.*uses = \[\"train\"\]"):
        make_plan(experiment(recipes), holdings(sources=sources))


def test_a_recipe_tuned_for_another_scorer_is_refused(recipes: dict[str, str], tmp_path: Path):
    (tmp_path / "tuned.toml").write_text('name = "tuned"\n[keep]\nwatermark = { max = 0.5 }\n[scorers]\nwatermark = "network@2"\n')
    arms = [{"name": "all", "recipe": recipes["all"]}, {"name": "moving", "recipe": str(tmp_path / "tuned.toml")}]
    with pytest.raises(DocumentError, match="tuned for the scorer `network@2`"):
        make_plan(experiment(recipes, arms=arms), replace(holdings(), makers={"watermark": "statistics@1"}))


def test_an_arm_that_keeps_what_a_recipe_holds_out_is_refused(recipes: dict[str, str]):
    with pytest.raises(DocumentError, match="arm `all`: its recipe `all` keeps clips of 40 clusters that `moving` holds out"):
        make_plan(experiment(recipes, held_out={"recipe": recipes["moving"]}), holdings())


def test_footage_held_out_by_a_recipe_is_evaluated(recipes: dict[str, str], tmp_path: Path):
    (tmp_path / "still.toml").write_text('name = "still"\n[keep]\nmotion = { max = 0.4 }\n')
    arms = [{"name": "moving", "recipe": recipes["moving"]}, {"name": "again", "recipe": recipes["moving"]}]
    told = experiment(recipes, arms=arms, questions=[{"arm": "again", "against": "moving"}], held_out={"recipe": str(tmp_path / "still.toml"), "clips": 12})
    plan = make_plan(told, holdings())
    assert len(plan.held_out.clips) == 12 and all(int(name.split("-")[1]) <= 100 for name in plan.held_out.clips)


def test_what_is_alike_to_footage_that_a_recipe_holds_out_is_neither_trained_on_nor_evaluated(recipes: dict[str, str], tmp_path: Path):
    (tmp_path / "still.toml").write_text('name = "still"\n[keep]\nmotion = { max = 0.4 }\n')
    arms = [{"name": "moving", "recipe": recipes["moving"]}, {"name": "again", "recipe": recipes["moving"]}]
    told = experiment(recipes, arms=arms, questions=[{"arm": "again", "against": "moving"}], held_out={"recipe": str(tmp_path / "still.toml")})
    held, alike, copy = clip(FOOTAGE[0], 0), clip(FOOTAGE[0], 5), clip(FOOTAGE[1], 6)
    semantic, duplicates = {held["clip_id"]: "s", alike["clip_id"]: "s"}, {copy["clip_id"]: alike["clip_id"], alike["clip_id"]: alike["clip_id"]}
    rows = [clip(name, number) for name in FOOTAGE for number in range(10)]
    rows = [{**row, "semantic_cluster": semantic.get(row["clip_id"]), "duplicate_cluster": duplicates.get(row["clip_id"])} for row in rows]
    next(row for row in rows if row["clip_id"] == copy["clip_id"])["duplicate_of"] = alike["clip_id"]
    plan = make_plan(told, holdings(rows))
    trained = {name for arm in plan.arms for name in arm.kept}
    assert len(trained) == 40 - 2 and not {alike["clip_id"], copy["clip_id"]} & trained
    assert len(plan.held_out.clips) == 40 and held["clip_id"] in plan.held_out.clips


def test_clips_too_short_for_the_phases_are_not_counted(recipes: dict[str, str]):
    rows = [clip(name, number, num_frames=25 if number % 2 else 8) for name in FOOTAGE for number in range(10)]
    plan = make_plan(experiment(recipes), holdings(rows))
    assert all(int(name.split("-")[1]) // 25 % 2 for arm in plan.arms for name in arm.kept)
    assert all(int(name.split("-")[1]) // 25 % 2 for name in plan.held_out.clips)
    with pytest.raises(DocumentError, match="none of the clips set aside is long enough"):
        make_plan(experiment(recipes, phases=[{**PHASE, "frames": 64}]), holdings(rows))


def test_captions_that_nobody_wrote_are_refused_naming_who_wrote_some(recipes: dict[str, str]):
    arms = [{"name": "all", "recipe": recipes["all"]}, {"name": "moving", "recipe": recipes["moving"], "captions": "vlm"}]
    written = replace(holdings(), captioned={"describe": frozenset(holdings().clips["clip_id"].to_pylist())})
    with pytest.raises(DocumentError, match=r"`vlm` wrote no usable caption for \d+ of its \d+ clips.*captions there are by: describe"):
        make_plan(experiment(recipes, arms=arms), written)
    make_plan(experiment(recipes, arms=[arms[0], {**arms[1], "captions": "describe"}]), written)


def test_a_corpus_of_one_clip_cannot_be_split(recipes: dict[str, str]):
    with pytest.raises(DocumentError, match="has 1 video clips, too few"):
        make_plan(experiment(recipes), holdings([clip(FOOTAGE[0], 5)]))


def test_warnings_name_small_arms_few_seeds_equal_arms_and_unstated_rights(recipes: dict[str, str]):
    arms = [{"name": "all", "recipe": recipes["all"]}, {"name": "again", "recipe": recipes["all"]}]
    told = experiment(recipes, arms=arms, questions=[{"arm": "again", "against": "all"}], phases=[{**PHASE, "steps": 5000}])
    warnings = "\n".join(make_plan(told, holdings(sources=[source(name, license="unstated", rights_uses=None) for name in FOOTAGE])).warnings)
    assert "arm `all` is too small for its budget" in warnings and "2 seeds show only large differences" in warnings
    assert "`all` and `again` train on the very same clips" in warnings and "unstated" in warnings


def test_arms_that_are_the_very_same_training_are_named_together_once(recipes: dict[str, str]):
    arms = [{"name": name, "recipe": recipes["all"]} for name in ("one", "two", "three")]
    told = experiment(recipes, arms=arms, questions=[{"arm": "one", "against": "two"}])
    warnings = [warning for warning in make_plan(told, holdings()).warnings if "very same clips" in warning]
    assert warnings == ["arms `one`, `two` and `three` train on the very same clips in the same way: they are one training, and cannot differ"]


def test_the_time_foretold_counts_steps_as_well_as_pixels_until_trials_were_timed(recipes: dict[str, str]):
    small = {**PHASE, "steps": 600, "frames": 8, "height": 24, "width": 24}
    plan = make_plan(experiment(recipes, phases=[small]), holdings())
    assert plan.steps == 4 * 600 and plan.work == pytest.approx(4 * 600 * 4 * 8 * 24 * 24 / 1e6)
    assert any("about 6 min on one worker, if this machine" in line for line in plan.told(None))
    assert any("about 44 s on one worker, at the pace of earlier trials" in line for line in plan.told(1.0))
