"""Lining up: the same columns as the join gives, without it; and a join wherever something does not line up."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from curate.corpus import Corpus, open_corpus
from curate.storage import columns as side_by_side
from curate.storage.columns import clips_side_by_side
from curate.storage.lineup import in_order, line_up
from curate.storage.relations import RELATIONS
from schemas.clip import CLIPS, clip_id
from schemas.table import table_of

ASKED = ["clip_id", "source_id", "end_s", "motion", "aesthetic", "technical", "sharpness", "nsfw", "duplicate_cluster", "unmeasured"]


def spans(*names: str) -> pa.Table:
    parts = [(name, name.rsplit("-", 2)) for name in names]
    rows = [
        {
            "clip_id": name,
            "source_id": source,
            "start_frame": int(start),
            "end_frame": int(end),
            "motion": int(start) / 7,
            "unmeasured": [("pan", "still")],
        }
        for name, (source, start, end) in parts
    ]
    return table_of(rows, RELATIONS["spans"])


def measures(columns: list[str], names: list[str], why: bool = False) -> pa.Table:
    schema = pa.schema([CLIPS.field("clip_id"), *(CLIPS.field(name) for name in columns), CLIPS.field("unmeasured")])
    rows = [{"clip_id": name, **{column: hash((name, column)) % 100 / 10 for column in columns}} for name in names]
    for row in rows[::2] if why else []:
        row[columns[0]], row["unmeasured"] = None, [(columns[0], "too dark")]
    return pa.Table.from_pylist(rows, schema=schema)


def filled(folder: Path, sources: list[int], measured: list[bool]) -> Corpus:
    """A corpus with clips of several sources committed in the order given, and some scorers' measures of them."""
    corpus = open_corpus(str(folder), create=True)
    names = []
    for number in sources:
        mine = [clip_id(f"s{number:020d}", start, start + 10) for start in (20, 0, 10)]
        corpus.append("spans", spans(*mine), key=f"s{number}")
        names += mine
    scorers = {"aesthetic@1": ["aesthetic"], "technical@1": ["technical", "sharpness"], "nsfw@2": ["nsfw"]}
    for (scorer, columns), there in zip(scorers.items(), measured):
        if there:
            for start in range(0, len(names), 4):
                corpus.append(f"measures/{scorer}", measures(columns, names[start : start + 4], why=scorer != "nsfw@2"), key=str(start))
    corpus.replace("duplicates", table_of([{"clip_id": name, "duplicate_cluster": name} for name in names], RELATIONS["duplicates"]))
    return corpus


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(sources=st.lists(st.integers(0, 99), unique=True, min_size=1, max_size=3), measured=st.tuples(*[st.booleans()] * 3), data=st.data())
def test_columns_side_by_side_are_those_of_the_join(
    sources: list[int], measured: list[bool], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpus = filled(tmp_path_factory.mktemp("corpus"), sources, measured)
    asked = data.draw(st.lists(st.sampled_from(ASKED), unique=True, min_size=1))
    joined = corpus.table("clips", columns=asked)
    line_up(corpus.store, [*corpus.names("measures/"), "duplicates"], target_bytes=400)
    found = clips_side_by_side(corpus.store, corpus.store.now(), corpus.makers(), asked)
    assert found is not None, "it fell back on the join"
    assert found.to_pylist() == joined.to_pylist()
    assert corpus.table("clips", columns=asked).equals(found)


def test_lining_up_cuts_all_relations_at_the_same_clips_and_rests_when_done(tmp_path: Path) -> None:
    corpus = filled(tmp_path, [5, 1, 9, 3], [True, True, False])
    names = [*corpus.names("measures/"), "duplicates"]
    assert set(line_up(corpus.store, names, target_bytes=400)) == {"spans", *names}
    parts = corpus.store.now().generation.parts
    assert len(parts["spans"]) > 1 and in_order(parts["spans"])
    assert {len(parts[name]) for name in names} == {len(parts["spans"])}
    assert line_up(corpus.store, names, target_bytes=400) == []
    assert corpus.store.parts.sweep() == 0


def test_new_clips_are_joined_until_the_next_lining_up(tmp_path: Path) -> None:
    corpus = filled(tmp_path, [5, 1], [True, False, False])
    corpus.line_up()
    corpus.append("spans", spans(clip_id("s3", 0, 10)), key="late")
    assert clips_side_by_side(corpus.store, corpus.store.now(), corpus.makers(), ["clip_id"]) is None
    assert corpus.table("clips", columns=["clip_id", "aesthetic"]).num_rows == 7
    corpus.line_up()
    assert clips_side_by_side(corpus.store, corpus.store.now(), corpus.makers(), ["clip_id"]) is not None
    assert clips_side_by_side(corpus.store, corpus.store.now(), corpus.makers(), ["aesthetic"]) is None, "the late clip was not measured"
    assert corpus.table("clips", columns=["aesthetic"])["aesthetic"].to_pylist().count(None) >= 1


def test_a_caption_is_joined_since_one_is_chosen(tmp_path: Path) -> None:
    corpus = filled(tmp_path, [1], [True, True, True])
    corpus.line_up()
    assert clips_side_by_side(corpus.store, corpus.store.now(), corpus.makers(), ["clip_id", "caption"]) is None
    assert corpus.table("clips", columns=["clip_id", "caption"]).num_rows == 3


def test_reasons_of_a_scorer_shown_in_part_are_told_apart(tmp_path: Path) -> None:
    corpus = filled(tmp_path, [1], [False, False, False])
    names = corpus.table("clips", columns=["clip_id"])["clip_id"].to_pylist()
    corpus.append("measures/both@1", measures(["aesthetic", "nsfw"], names, why=True), key="a")
    corpus.append("measures/other@1", measures(["aesthetic"], names), key="a")
    corpus.choose({"aesthetic": "other@1", "nsfw": "both@1"})
    corpus.line_up()
    assert clips_side_by_side(corpus.store, corpus.store.now(), corpus.makers(), ["nsfw", "unmeasured"]) is None
    found = corpus.table("clips", columns=["nsfw", "aesthetic", "unmeasured"])
    assert all(set(dict(reasons)) == {"pan"} for reasons in found["unmeasured"].to_pylist())
    assert None not in found["aesthetic"].to_pylist()


def test_a_relation_written_to_while_it_is_sorted_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = filled(tmp_path, [5, 1], [True, False, False])
    corpus.store.gather(target_bytes=100)
    corpus.append("spans", spans(clip_id("s" + "0" * 19 + "3", 0, 10)), key="between")
    corpus.store.gather(target_bytes=100)
    other = open_corpus(str(tmp_path))
    publish = corpus.store.parts.publish

    def overtaken(change):
        monkeypatch.undo()
        other.append("spans", spans(clip_id("s3", 0, 10)), key="late")
        other.store.gather(target_bytes=100)
        return publish(change)

    monkeypatch.setattr(corpus.store.parts, "publish", overtaken)
    assert "spans" not in line_up(corpus.store, ["measures/aesthetic@1"], target_bytes=100)
    assert corpus.table("clips").num_rows == 8
    assert side_by_side.SPANS in corpus.names()
    assert corpus.store.parts.sweep() == 0
