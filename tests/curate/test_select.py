"""Selecting: what is kept and why not, and that no second is lost."""

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.deciding.decide import decide
from schemas.clip import CLIPS, GAPS, clip_id
from schemas.recipe import Recipe
from schemas.source import SOURCES
from schemas.table import table_of

TODAY = date(2026, 1, 1)


def source(name, duration_s=10.0, status="ok", **more):
    return {"source_id": name, "duration_s": duration_s, "status": status, "media_type": "video", "license": "CC-BY-4.0", **more}


def clip(name, start_s, end_s, **measures):
    start, end = round(start_s * 25), round(end_s * 25)
    row = {"clip_id": clip_id(name, start, end), "source_id": name, "start_s": start_s, "end_s": end_s, "start_frame": start, "end_frame": end}
    return {**row, "num_frames": end - start, "width": 640, "height": 360, "media_type": "video", "motion": 1.0, "watermark": 0.0, **measures}


def decided(recipe, clips, sources, gaps=(), without=frozenset()):
    tables = table_of(clips, CLIPS), table_of(sources, SOURCES), table_of(list(gaps), GAPS)
    return decide(Recipe(name="r", **recipe), *tables, on=TODAY, without=without)


def kept(decision):
    return set(decision.selection["clip_id"].to_pylist())


def details(decision):
    return {row["clip_id"]: (row["rule"], row["detail"]) for row in decision.ledger.to_pylist()}


def test_a_clip_is_rejected_by_its_first_failing_rule_and_told_in_numbers():
    clips = [clip("a", 0, 5, motion=4.12, aesthetic=3.0), clip("a", 5, 10, motion=7.0, aesthetic=3.25)]
    decision = decided({"keep": {"motion": {"min": 5}, "aesthetic": {"min": 3.5}}}, clips, [source("a")])
    assert [row["detail"] for row in decision.ledger.to_pylist()] == ["motion 4.12 < 5", "aesthetic 3.25 < 3.5"]


def test_an_unmeasured_column_rejects_and_gives_the_reason():
    clips = [clip("a", 0, 5, unmeasured=[("aesthetic", "the weights are missing")]), clip("a", 5, 10)]
    decision = decided({"keep": {"aesthetic": {"min": 0}}}, clips, [source("a")])
    assert [row["detail"] for row in decision.ledger.to_pylist()] == ["aesthetic is null: the weights are missing", "aesthetic is null: not measured"]


def test_not_a_number_is_not_kept():
    decision = decided({"keep": {"motion": {"min": 0}}}, [clip("a", 0, 10, motion=float("nan"))], [source("a")])
    assert not kept(decision)


@pytest.mark.parametrize(
    ("rule", "value", "kept_"),
    [
        ({"category": {"any_of": ["nature"]}}, {"category": "nature"}, True),
        ({"category": {"any_of": ["nature"]}}, {"category": "people"}, False),
        ({"category": {"none_of": ["people"]}}, {"category": "people"}, False),
        ({"category": {"none_of": ["people"]}}, {"category": None}, False),
        ({"labels": {"any_of": ["dog", "cat"]}}, {"labels": ["cat", "sofa"]}, True),
        ({"labels": {"any_of": ["dog"]}}, {"labels": []}, False),
        ({"labels": {"none_of": ["dog"]}}, {"labels": []}, True),
        ({"num_frames": {"min": 250, "max": 250}}, {}, True),
        ({"num_frames": {"min": 251}}, {}, False),
    ],
)
def test_sets_and_ranges_keep_what_they_say(rule, value, kept_):
    decision = decided({"keep": rule}, [clip("a", 0, 10, **value)], [source("a")])
    assert bool(kept(decision)) is kept_


@pytest.mark.parametrize(
    ("rights", "terms", "told"),
    [
        ({"rights_expires": date(2025, 12, 31)}, {}, "the rights expired on 2025-12-31"),
        ({"rights_start": date(2026, 1, 2)}, {}, "the rights start on 2026-01-02"),
        ({"rights_expires": date(2026, 1, 30)}, {"days_left": 30}, "the rights expire on 2026-01-30, and must hold for 30 days more"),
        ({"rights_expires": date(2025, 12, 31)}, {"days_left": 30}, "the rights expired on 2025-12-31"),
        ({"releases": ["property"]}, {"releases": ["people", "property"]}, "no release for people is at hand"),
        ({"license": "unstated"}, {"stated": True}, "nobody stated the rights"),
        ({"rights_uses": ["train"]}, {"uses": ["train", "redistribute"]}, "the rights do not permit the use `redistribute`"),
        ({}, {"uses": ["train"]}, "the rights do not permit the use `train`"),
        ({}, {"any_of": ["CC0-1.0"]}, "licence `CC-BY-4.0` is not one of CC0-1.0"),
        ({"rights_territories": ["DE"]}, {"territories": ["FR"]}, "the rights do not cover the territory FR"),
    ],
)
def test_rights_come_first_and_hold_on_the_day(rights, terms, told):
    clips = [clip("a", 0, 10, motion=0.0)]
    decision = decided({"rights": terms, "keep": {"motion": {"min": 1}}}, clips, [source("a", **rights)])
    assert details(decision)[clips[0]["clip_id"]] == ("rights", told)


@pytest.mark.parametrize(("covered", "asked"), [("worldwide", "FR"), ("FR", "fr"), ("DE", "DE-BY"), ("worldwide", "worldwide")])
def test_rights_that_hold_keep(covered, asked):
    rights = {"rights_expires": date(2026, 1, 31), "rights_uses": ["train"], "rights_territories": [covered], "releases": ["people"]}
    decision = decided(
        {"rights": {"uses": ["train"], "territories": [asked], "releases": ["people"], "days_left": 30}}, [clip("a", 0, 10)], [source("a", **rights)]
    )
    assert len(kept(decision)) == 1


def test_the_two_parts_of_a_split_share_no_cluster_and_are_together_all_that_passes():
    best = [clip(f"s{number}", 0, 10, duplicate_cluster=clip_id(f"s{number}", 0, 250)) for number in range(40)]
    copies = [clip(f"t{number}", 0, 10, motion=0.1, duplicate_of=one["clip_id"], duplicate_cluster=one["clip_id"]) for number, one in enumerate(best)]
    parts = [clip(f"s{number}", 10, 20, shot_index=0) for number in range(40)]
    rows = [*({**one, "shot_index": 0} for one in best), *copies, *parts]
    sources = [source(row["source_id"], 20.0) for row in best + copies]
    rule = {"keep": {"motion": {"min": 0.5}}, "duplicates": {"keep": "all"}}
    sides = {part: decided({**rule, "split": {"held_out": 0.3, "part": part}}, rows, sources) for part in ("training", "held_out")}
    training, held_out = (kept(sides[part]) for part in ("training", "held_out"))
    assert not training & held_out and training | held_out == kept(decided(rule, rows, sources)) and 10 <= len(held_out) <= 40
    films = [{name.rsplit("-", 2)[0] for name in side} for side in (training, held_out)]
    assert not films[0] & films[1], "parts of one shot stay together"
    told = details(sides["training"])
    assert {told[name] for name in held_out} == {("split", "is set aside by the split, with its copies, what is alike to it and the rest of its shot")}
    assert {rule for rule, _ in (details(sides["held_out"])[name] for name in training)} == {"split"}
    assert {told[row["clip_id"]][0] for row in copies} == {"motion", "split"}, "a copy that fails by itself is on its best one's side too"


def test_of_copies_the_best_that_passes_is_kept():
    best = clip("b", 0, 10, motion=0.1, duplicate_rank=0)
    fair = clip("c", 0, 10, duplicate_of=best["clip_id"], duplicate_rank=1)
    poor = clip("a", 0, 10, duplicate_of=best["clip_id"], duplicate_rank=2)
    sources = [source("a"), source("b"), source("c")]
    assert kept(decided({}, [best, fair, poor], sources)) == {best["clip_id"]}
    decision = decided({"keep": {"motion": {"min": 0.5}}}, [best, fair, poor], sources)
    assert kept(decision) == {fair["clip_id"]}
    assert details(decision)[poor["clip_id"]] == ("duplicates", f"a duplicate of {fair['clip_id']}, which is kept")
    assert len(kept(decided({"duplicates": {"keep": "all"}}, [best, fair, poor], sources))) == 3


def test_clusters_set_aside_are_not_kept():
    clips = [clip("a", 0, 3), clip("a", 3, 6), clip("a", 6, 10)]
    clips[1]["duplicate_of"] = clips[0]["clip_id"]
    decision = decided({}, clips, [source("a")], without=frozenset([clips[0]["clip_id"]]))
    assert kept(decision) == {clips[2]["clip_id"]}
    assert [details(decision)[one["clip_id"]][0] for one in clips] == ["held_out", "held_out", None]


def many(groups, seconds=1.0):
    """Clips in groups: {category: count}, each from a source of its own name."""
    clips = [clip(name, i * seconds, (i + 1) * seconds, category=name, aesthetic=float(i)) for name, count in groups.items() for i in range(count)]
    return clips, [source(name, count * seconds) for name, count in groups.items()]


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"caps": {"clips": 3}}, {"nature": 3, "people": 3, "food": 2}),
        ({"caps": {"hours": 4.5 / 3600}}, {"nature": 4, "people": 4, "food": 2}),
        ({"quotas": {"by": "category", "most": 5, "of": {"nature": 1}}}, {"nature": 1, "people": 5, "food": 2}),
        ({"quotas": {"by": "category", "balance": 2}}, {"nature": 4, "people": 4, "food": 2}),
        ({"quotas": {"by": "bucket", "most": 7}}, 7),
        ({"sample": {"clips": 6}}, 6),
        ({"sample": {"hours": 6.5 / 3600}}, 6),
    ],
)
def test_draws_keep_as_many_as_asked(asked, left):
    clips, sources = many({"nature": 20, "people": 10, "food": 2})
    names = [name.split("-")[0] for name in kept(decided(asked, clips, sources))]
    assert (len(names) if isinstance(left, int) else {name: names.count(name) for name in left}) == left


def test_the_draw_depends_on_the_seed_and_adding_footage_moves_few():
    clips, sources = many({"nature": 200})
    one, again, other = (kept(decided({"seed": seed, "sample": {"clips": 50}}, clips, sources)) for seed in (1, 1, 2))
    assert one == again and len(one & other) < 25
    more, others = many({"people": 10})
    assert len(one & kept(decided({"seed": 1, "sample": {"clips": 50}}, clips + more, sources + others))) >= 40


def test_a_weight_makes_a_clip_likelier():
    clips, sources = many({"nature": 400})
    found = kept(decided({"sample": {"clips": 100, "weight": "aesthetic"}}, clips, sources))
    drawn = [row["aesthetic"] for row in clips if row["clip_id"] in found]
    assert sum(drawn) / len(drawn) > 220 and 0.0 not in drawn


def test_the_funnel_counts_each_rule_alone_and_in_order():
    clips = [clip("a", i, i + 1, motion=float(i % 2), aesthetic=float(i % 3)) for i in range(10)]
    steps = decided({"keep": {"motion": {"min": 1}, "aesthetic": {"min": 1}}, "sample": {"clips": 2}}, clips, [source("a")]).funnel
    told = {step.rule: (step.alone_clips, step.rejected_clips, step.left_clips) for step in steps}
    assert told["motion"] == (5, 5, 5) and told["aesthetic"] == (4, 2, 3) and told["sample"] == (None, 1, 2)


def test_gaps_unread_sources_and_unaccounted_seconds_are_all_in_the_ledger():
    sources = [source("a"), source("b", 7.0, "rejected", rule="rights", reason="not listed"), source("c", None, "failed", rule="read", reason="no video")]
    gaps = [{"source_id": "a", "start_s": 5.0, "end_s": 6.0, "outcome": "rejected", "rule": "length", "detail": "too short"}]
    ledger = decided({}, [clip("a", 0, 5), clip("a", 7, 9)], sources, gaps).ledger.to_pylist()
    told = {(row["source_id"], row["start_s"], row["end_s"]): (row["outcome"], row["rule"]) for row in ledger}
    assert told == {
        ("a", 0.0, 5.0): ("kept", None),
        ("a", 5.0, 6.0): ("rejected", "length"),
        ("a", 6.0, 7.0): ("failed", "measure"),
        ("a", 7.0, 9.0): ("kept", None),
        ("a", 9.0, 10.0): ("failed", "measure"),
        ("b", 0.0, 7.0): ("rejected", "rights"),
        ("c", 0.0, 0.0): ("failed", "read"),
    }


def test_gaps_may_all_have_words_of_their_own():
    details = [f"{number} frames in a transition" for number in range(40_000)]
    gaps = [
        {"source_id": "a", "start_s": at / 4, "end_s": (at + 1) / 4, "outcome": "rejected", "rule": "x", "detail": words} for at, words in enumerate(details)
    ]
    assert decided({}, [], [source("a", 10_000.0)], gaps).ledger["detail"].to_pylist() == details


def test_a_source_that_was_refused_after_it_was_measured_keeps_nothing_and_loses_no_second():
    decision = decided({}, [clip("a", 0, 4)], [source("a", status="rejected", rule="rights", reason="withdrawn")])
    assert not kept(decision)
    assert [(row["start_s"], row["end_s"], row["rule"], row["detail"]) for row in decision.ledger.to_pylist()] == [
        (0.0, 4.0, "rights", "withdrawn"),
        (4.0, 10.0, "rights", "withdrawn"),
    ]


spans = st.lists(st.tuples(st.integers(1, 500), st.sampled_from(["clip", "gap", "hole"]), st.none() | st.floats(0, 10)), max_size=8)


@settings(max_examples=30, deadline=None)
@given(st.lists(spans, min_size=1, max_size=4), st.floats(0, 10), st.integers(1, 5))
def test_every_second_of_every_source_is_accounted_for_once(shapes, least, clips_wanted):
    clips, gaps, sources = [], [], []
    for index, shape in enumerate(shapes):
        name, at = f"s{index}", 0.0
        for frames, kind, motion in shape:
            start, at = at, at + frames / 25
            if kind == "clip":
                clips.append(clip(name, start, at, motion=motion))
            if kind == "gap":
                gaps.append({"source_id": name, "start_s": start, "end_s": at, "outcome": "rejected", "rule": "length", "detail": "short"})
        sources.append(source(name, at))
    decision = decided({"keep": {"motion": {"min": least}}, "sample": {"clips": clips_wanted}}, clips, sources, gaps)
    rows = decision.ledger.to_pylist()
    for one in sources:
        mine = sorted((row["start_s"], row["end_s"]) for row in rows if row["source_id"] == one["source_id"] and row["end_s"] > row["start_s"])
        assert [begin for begin, _ in mine] == pytest.approx([0.0, *(end for _, end in mine)][: len(mine)])
        assert (mine[-1][1] if mine else 0.0) == pytest.approx(one["duration_s"])
    assert {row["clip_id"] for row in rows if row["outcome"] == "kept"} == kept(decision)
    assert len(kept(decision)) == min(clips_wanted, sum(row["motion"] is not None and row["motion"] >= least for row in clips))


HOSTILE = ["'; DROP TABLE clips; --", "a' OR '1'='1", "{}{:d}%s", "\x00", '"', "line\nbreak", "\N{SKULL}" * 500]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_stay_words(text):
    clips = [clip("a", 0, 5, category=text.replace("\x00", "")), clip("a", 5, 10, category="other")]
    assert len(kept(decided({"keep": {"category": {"any_of": [text]}}}, clips, [source("a")]))) == 1
    assert len(kept(decided({"quotas": {"by": "category", "of": {text: 0}}}, clips, [source("a")]))) == 1


def test_an_empty_corpus_makes_an_empty_decision():
    decision = decided({"keep": {"motion": {"min": 1}}}, [], [])
    assert decision.selection.num_rows == decision.ledger.num_rows == 0
    assert isinstance(decision.ledger, pa.Table)
