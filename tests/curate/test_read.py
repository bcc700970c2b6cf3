"""Reading a source: every second accounted for, bad input committed with its reason, the same tables again."""

import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.corpus import open_corpus
from curate.read import ReadVideos, Splitter, read_source
from curate.stage import Worker
from schemas.clip import OBSERVED


def relations(path, folder):
    """What a source holds, relation by relation."""
    found = read_source("s1", str(path), "video", Splitter(), folder)
    return {**found.tables, "proxies": pq.read_table(found.proxies)}


@pytest.fixture(scope="module")
def edited(shared_media, tmp_path_factory):
    """A real film of three shots, read."""
    return relations(shared_media / "raw" / "datajuicer__video1.mp4", tmp_path_factory.mktemp("read"))


def test_clips_and_gaps_add_up_to_the_duration(edited):
    (reading,) = edited["readings"].to_pylist()
    pieces = sorted((row["start_s"], row["end_s"]) for name in ("spans", "gaps") for row in edited[name].to_pylist())
    assert pieces[0][0] == 0 and pieces[-1][1] == reading["duration_s"]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(pieces))


def test_every_observed_column_has_a_value_or_a_reason(edited):
    for row in edited["spans"].to_pylist():
        reasons = dict(row["unmeasured"])
        assert all((row[field.name] is None) == (field.name in reasons) for field in OBSERVED)


def test_every_clip_has_pictures_from_within_it(edited):
    spans = {row["clip_id"]: row for row in edited["spans"].to_pylist()}
    frames = [row for row in edited["proxies"].to_pylist() if row["kind"] == "frame"]
    assert {row["clip_id"] for row in frames} == set(spans)
    assert all(spans[row["clip_id"]]["start_frame"] <= row["frame"] < spans[row["clip_id"]]["end_frame"] for row in frames)


def test_reading_commits_what_it_found_and_a_failure_with_its_reason(tmp_path, shared_media):
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    (tmp_path / "empty.mp4").touch()
    good = str(shared_media / "raw" / "torchcodec__h264_10bits.mp4")
    rows = pa.table({"source_id": ["s1", "s2"], "uri": [good, str(tmp_path / "empty.mp4")], "media_type": ["video", "video"]})
    made = pa.concat_tables(Worker(ReadVideos(corpus.url))(rows))
    assert set(made["source_id"].to_pylist()) == {"s1"}
    readings = {row["source_id"]: row for row in corpus.read("readings").to_pylist()}
    assert (readings["s1"]["status"], readings["s2"]["status"], readings["s2"]["reason"]) == ("ok", "failed", "the file is empty")
    assert corpus.committed("spans") == {"s1", "s2"}


def test_reading_twice_gives_equal_tables(tmp_path, edited, shared_media):
    again = relations(shared_media / "raw" / "datajuicer__video1.mp4", tmp_path)
    assert all(again[name].equals(edited[name]) for name in edited)
