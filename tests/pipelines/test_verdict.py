"""Verdicts from simulated trials: a real difference is found, none is invented, and what is not seen is said to be unseen."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.ablation.arms import Asked
from pipelines.ablation.outcomes import OUTCOMES, by_level, paired, scores
from pipelines.ablation.verdict import judge, simulated_coverage
from pipelines.ablation.wording import headline, sentence
from schemas.experiment import Ablation, Question
from schemas.table import table_of

TASK = "text_to_video"


def trial(arm: str, seed: int, loss: float, rng: np.random.Generator, gain: float = 0.1, clips: int = 12) -> list[dict[str, Any]]:
    """A trained arm's rows: loss grows with the level, clips differ, and each has its own noise."""
    rows = []
    for clip in range(clips):
        for level in (100.0, 500.0, 900.0):
            value = loss + clip / 100 + level / 10000 + rng.normal(0, 0.003)
            told = {"arm": arm, "seed": seed, "task": TASK, "key": f"clip{clip:02d}", "level": level, "loss": value}
            rows.append({**told, "loss_wrong_caption": value + gain, "loss_in_region": value})
    return rows


def outcomes(difference: float, seeds: int, spread: float = 0.004) -> pa.Table:
    rng = np.random.default_rng(seeds)
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        common = 0.4 + rng.normal(0, 0.05)
        rows += trial("loose", seed, common, rng) + trial("strict", seed, common + difference + rng.normal(0, spread), rng)
    return table_of(rows, OUTCOMES)


def experiment(seeds: int, **changes: Any) -> Ablation:
    told = {"name": "e", "corpus": "c", "seeds": list(range(seeds)), "phases": [{"task": TASK, "steps": 200}]}
    arms = [{"name": "loose", "recipe": "default"}, {"name": "strict", "recipe": "default"}]
    return Ablation.model_validate({**told, "arms": arms, "questions": [{"arm": "strict", "against": "loose"}], **changes})


def verdict(table: pa.Table, seeds: int, **question: Any) -> Any:
    asked = [Asked(Question(arm="strict", against="loose", **question))]
    return judge(table, asked, {"strict": frozenset({"clip00", "clip01"})}, experiment(seeds))[0][0]


def test_a_real_difference_is_found_with_its_direction_and_interval():
    answer = verdict(outcomes(-0.03, 5), 5)
    assert answer.outcome == "better" and answer.interval.low < -0.03 < answer.interval.high
    told = sentence(answer, "200 steps each")
    assert "`strict` trains a better model than `loose` at 200 steps each: its held-out loss is lower by 0.0" in told
    assert "95 % interval" in told and "paired t over 5 seeds" in told


def test_harm_makes_the_arm_worse():
    assert verdict(outcomes(0.03, 5), 5).outcome == "worse"


def test_the_caption_gain_is_better_when_it_is_higher():
    rng = np.random.default_rng(0)
    rows = [row for seed in range(5) for row in trial("loose", seed, 0.4, rng, 0.05) + trial("strict", seed, 0.4, rng, 0.1 + rng.normal(0, 0.005))]
    answer = verdict(table_of(rows, OUTCOMES), 5, metric="caption_gain")
    assert answer.outcome == "better" and answer.interval.estimate == pytest.approx(0.05, abs=0.01)


def test_what_is_not_seen_is_said_to_be_unseen_with_the_seeds_it_would_take():
    answer = verdict(outcomes(0.0, 2, spread=0.02), 2, effect=0.01)
    assert answer.outcome == "undecided" and answer.seeds_needed and answer.seeds_needed > 2
    told = sentence(answer, "200 steps each")
    assert "No difference found" in told and f"at least {answer.seeds_needed} seeds" in told and "these 2 seeds could have found" in told
    assert "roughly, since so few seeds" in told


def test_a_difference_too_small_to_matter_is_called_none():
    answer = verdict(outcomes(0.0, 8, spread=0.001), 8, effect=0.01)
    assert answer.outcome == "no difference" and "differs by less than 0.01" in sentence(answer, "200 steps each")


def test_one_seed_decides_nothing():
    answer = verdict(outcomes(-0.2, 1), 1)
    assert answer.outcome == "undecided" and "says nothing about other seeds" in sentence(answer, "200 steps each")


def test_seeds_that_suffice_are_not_asked_for_again():
    answer = replace(verdict(outcomes(0.0, 5, spread=0.02), 5, effect=0.01), outcome="undecided", seeds_needed=5, clips_needed=3, effect=0.01)
    told = sentence(answer, "200 steps each")
    assert "would take" not in told and "find a difference of 0.01 four times in five, but cannot rule one out" in told


def test_several_answers_are_summed_up_in_one_sentence():
    answers = judge(outcomes(-0.03, 5), [Asked(Question(arm="strict", against="loose")), Asked(Question(arm="loose", against="strict"))], {}, experiment(5))[0]
    same = [replace(answers[0], outcome="no difference"), replace(answers[0], outcome="undecided"), replace(answers[0], outcome="undecided")]
    told = headline([*answers, *same], "200 steps each")
    assert told.startswith("Of 5 questions asked at 200 steps each: `strict` trains a better model than `loose`; `loose` trains a worse model than `strict`; ")
    assert told.endswith("1 makes no difference worth knowing; 2 stay undecided.")
    assert headline(same[1:], "200 steps each") == "Of 2 questions asked at 200 steps each: no difference was found in any; 2 stay undecided."


def test_asking_many_questions_is_corrected_for():
    table = outcomes(-0.012, 4, spread=0.006)
    asked = [Asked(Question(arm="strict", against="loose"))] * 4
    alone, together = judge(table, asked[:1], {}, experiment(4))[0], judge(table, asked, {}, experiment(4))[0]
    assert together[0].p == pytest.approx(min(1, 4 * alone[0].p))
    assert together[0].interval == alone[0].interval


def test_controls_are_corrected_among_themselves():
    table = outcomes(0.03, 5)
    real, harm = Asked(Question(arm="strict", against="loose")), Asked(Question(arm="strict", against="loose"), "worse", "frozen")
    answers, _ = judge(table, [real, harm, harm], {}, experiment(5))
    assert [answer.questions for answer in answers] == [1, 2, 2]
    assert [answer.as_expected for answer in answers] == [None, True, True]


def test_a_view_looks_only_at_its_clips():
    answer = verdict(outcomes(0.0, 3), 3, view="strict")
    assert answer.other < verdict(outcomes(0.0, 3), 3).other, "the first clips are the easiest ones"


def test_a_seed_that_one_arm_did_not_finish_is_left_out_of_the_pairs():
    table = outcomes(-0.03, 5)
    lost = pa.array([not (row["arm"] == "strict" and row["seed"] == 2) for row in table.to_pylist()])
    answer = verdict(table.filter(lost), 5)
    assert answer.interval.seeds == 4


def test_a_question_that_cannot_be_asked_says_why():
    table = outcomes(-0.03, 2)
    nobody = table.filter(pa.array([row["arm"] == "loose" for row in table.to_pylist()]))
    question = [Asked(Question(arm="strict", against="loose"))]
    assert judge(nobody, question, {}, experiment(2)) == ([], ["`strict` against `loose` on held-out loss: no seed was finished by both"])
    view = [Asked(Question(arm="strict", against="loose", view="strict"))]
    answers, unasked = judge(table, view, {"strict": frozenset()}, experiment(2))
    assert not answers and "no held-out clip has this metric in this view" in unasked[0]


def test_clips_that_cannot_have_a_metric_are_left_out_of_it():
    rows = [{**row, "loss_in_region": None if row["key"] == "clip03" else row["loss_in_region"]} for row in outcomes(0.0, 2).to_pylist()]
    found = scores(table_of(rows, OUTCOMES), "loose", TASK, "region_loss")
    assert "clip03" not in found.keys and len(found.keys) == 11


def test_the_intervals_used_cover_what_they_say_at_this_spread():
    for method in ("paired-t", "hierarchical-bootstrap"):
        told = experiment(8, interval=method)
        table = outcomes(0.0, 8)
        answers, _ = judge(table, [Asked(Question(arm="strict", against="loose"))], {}, told)
        covers = simulated_coverage(table, answers, {}, told)
        assert all(0.9 < share <= 1 for share in covers.values()) and len(covers) == (1 if method == "paired-t" else 2)


def test_eight_seeds_may_be_bootstrapped_over_seeds_and_clips():
    asked = [Asked(Question(arm="strict", against="loose"))]
    (answer,), _ = judge(outcomes(-0.03, 8), asked, {}, experiment(8, interval="hierarchical-bootstrap"))
    assert answer.interval.method == "hierarchical-bootstrap" and answer.outcome == "better"
    assert "hierarchical bootstrap over 8 seeds" in sentence(answer, "200 steps each")


def test_scores_average_levels_and_levels_average_clips():
    table = outcomes(0.0, 2)
    seeds, levels, values = by_level(table, "loose", TASK, "held_out_loss")
    assert seeds == (0, 1) and levels == (100.0, 500.0, 900.0) and values.shape == (2, 3)
    assert values.mean(axis=1) == pytest.approx(scores(table, "loose", TASK, "held_out_loss").by_seed)


def test_arms_evaluated_on_different_clips_are_not_compared():
    one, other = (scores(outcomes(0.0, 2), "loose", TASK, "held_out_loss", keys) for keys in ({"clip00"}, {"clip01"}))
    with pytest.raises(ValueError, match="not evaluated on the same clips"):
        paired(one, other)


def test_a_clip_without_a_loss_is_an_error_not_a_smaller_average():
    table = outcomes(0.0, 2)
    with pytest.raises(ValueError, match="has no held-out loss for some clip"):
        scores(table.slice(1), "loose", TASK, "held_out_loss")
