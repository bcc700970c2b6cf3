"""The corpus: commits that are atomic and happen once, views that show each row once, on a local disk and elsewhere."""

import io
import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.corpus import Corpus, CorpusError, open_corpus
from curate.storage.commits import StoreError, bundle, unbundle
from curate.storage.parts import Parts
from curate.storage.relations import RELATIONS, VERDICTS
from schemas.clip import CLIPS, clip_id
from schemas.source import SOURCES
from schemas.table import table_of

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "s0123456789abcdef0123"


def rows(relation: str, *told: dict) -> pa.Table:
    return table_of(list(told), RELATIONS[relation])


def span(source: str = SOURCE, start: int = 0, end: int = 24) -> dict:
    return {"clip_id": clip_id(source, start, end), "source_id": source, "start_frame": start, "end_frame": end, "motion": 1.5}


def measures(*values: tuple[str, float | None, dict[str, str]]) -> pa.Table:
    schema = pa.schema([CLIPS.field("clip_id"), CLIPS.field("aesthetic"), CLIPS.field("unmeasured")])
    return pa.Table.from_pylist([{"clip_id": name, "aesthetic": value, "unmeasured": list(why.items())} for name, value, why in values], schema=schema)


@pytest.fixture(params=["local", "memory"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus:
    url = str(tmp_path / "a corpus #1") if request.param == "local" else f"memory://{tmp_path.name}"
    return open_corpus(url, create=True)


def test_opening_what_is_not_a_corpus_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no corpus here.*clipmill add"):
        open_corpus(str(tmp_path))


def test_a_corpus_of_another_format_is_refused(tmp_path: Path) -> None:
    open_corpus(str(tmp_path), create=True)
    (tmp_path / "corpus.toml").write_text("[corpus]\nformat = 99\n")
    with pytest.raises(CorpusError, match="format 99"):
        open_corpus(str(tmp_path))


def test_a_new_corpus_has_every_table_empty_under_its_schema(corpus: Corpus) -> None:
    assert corpus.table("clips").schema == CLIPS
    assert corpus.table("sources").schema == SOURCES
    assert corpus.table("shots").num_rows == corpus.table("captions").num_rows == 0
    with pytest.raises(CorpusError, match="no selection was made yet"):
        corpus.table("ledger")


def test_the_same_key_twice_is_one_commit(corpus: Corpus) -> None:
    corpus.append("spans", rows("spans", span()), key="a")
    corpus.append("spans", rows("spans", span()), key="a")
    corpus.gather()
    corpus.append("spans", rows("spans", span()), key="a")
    assert corpus.read("spans").num_rows == 1
    assert corpus.committed("spans") == {"a"}


def test_a_key_may_hold_anything_a_path_may_not(corpus: Corpus) -> None:
    hostile = ["../../etc/passwd", "a/b+c", "é\n", "..", "%2F", "a.zip"]
    for number, key in enumerate(hostile):
        corpus.append("spans", rows("spans", span(start=number)), key=key)
    assert corpus.committed("spans") == set(hostile)
    assert corpus.gather() == len(hostile)
    assert corpus.committed("spans") == set(hostile)
    assert corpus.read("spans").num_rows == len(hostile)


def test_a_key_too_long_for_a_file_name_is_refused(corpus: Corpus) -> None:
    with pytest.raises(StoreError, match="200 characters"):
        corpus.append("spans", rows("spans", span()), key="k" * 201)


def test_a_key_counts_for_a_relation_whatever_it_was_committed_with(corpus: Corpus) -> None:
    corpus.commit("a", {"spans": rows("spans", span()), "shots": rows("shots", {"source_id": SOURCE})})
    corpus.append("spans", rows("spans", span()), key="a")
    assert corpus.read("spans").num_rows == 1
    for _ in range(2):
        corpus.gather()
        assert corpus.read("spans").num_rows == 1
        corpus.append("spans", rows("spans", span()), key="a")


def test_relations_committed_together_appear_together(corpus: Corpus) -> None:
    corpus.commit(SOURCE, {"spans": rows("spans", span()), "shots": rows("shots", {"source_id": SOURCE, "shot_index": 0})})
    assert corpus.committed("spans") == corpus.committed("shots") == {SOURCE}
    assert corpus.committed("readings") == frozenset()


def test_a_commit_without_rows_is_remembered(corpus: Corpus) -> None:
    corpus.append("spans", rows("spans"), key="nothing found")
    corpus.gather()
    assert corpus.committed("spans") == {"nothing found"}
    assert corpus.read("spans").num_rows == 0


def test_gathering_changes_files_and_not_tables(corpus: Corpus) -> None:
    for number in range(7):
        corpus.append("spans", rows("spans", span(start=number)), key=str(number))
    before = corpus.table("clips")
    assert corpus.gather() == 7
    assert corpus.gather() == 0
    assert corpus.table("clips").equals(before)
    corpus.append("spans", rows("spans", span(start=99)), key="late")
    assert corpus.gather() == 1
    assert corpus.table("clips").num_rows == 8
    assert len(corpus.store.snapshot().generation.parts["spans"]) == 1


def test_a_relation_that_was_emptied_is_still_one_after_gathering(corpus: Corpus) -> None:
    corpus.append("measures/looks@1", measures((clip_id(SOURCE, 0, 24), 4.5, {})), "looks")
    corpus.gather()
    corpus.store.rewrite({"measures/looks@1": lambda found: found.slice(0, 0)})
    corpus.append("spans", rows("spans", span()), SOURCE)
    corpus.append("measures/looks@1", measures(), "none")
    corpus.gather()
    assert corpus.read("measures/looks@1").column_names == ["clip_id", "aesthetic", "unmeasured"]


def test_a_gathering_that_died_before_it_tidied_up_shows_no_row_twice(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.append("spans", rows("spans", span()), key="a")
    monkeypatch.setattr(corpus.store.parts, "remove", lambda paths: None)
    corpus.gather()
    monkeypatch.undo()
    assert corpus.read("spans").num_rows == 1
    assert corpus.store.snapshot().loose == ()


def test_a_gathering_overtaken_by_another_gives_way(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        corpus.append("spans", rows("spans", span(start=number)), key=str(number))
    slow, fast = open_corpus(corpus.url).store, open_corpus(corpus.url).store
    publish = slow.parts.publish

    def overtaken(change):
        assert fast.gather() == 3
        return publish(change)

    monkeypatch.setattr(slow.parts, "publish", overtaken)
    assert slow.gather() == 0
    assert corpus.read("spans").num_rows == 3
    assert corpus.store.parts.sweep() == 0, "the one that gave way left parts behind"


def test_a_reader_overtaken_by_a_gathering_looks_again(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.append("spans", rows("spans", span()), key="a")
    reader = open_corpus(corpus.url).store
    stale = reader.snapshot()
    corpus.gather()
    snapshots = iter([stale, reader.snapshot()])
    monkeypatch.setattr(reader, "snapshot", lambda: next(snapshots))
    found = reader.consistently(lambda snapshot: reader.read(snapshot, "spans"))
    assert found is not None and found.num_rows == 1


def test_replacing_swaps_the_whole_relation_even_what_was_appended(corpus: Corpus) -> None:
    corpus.append("added", rows("added", {"source_id": "old"}), key="a")
    corpus.replace("added", rows("added", {"source_id": "new"}))
    corpus.replace("added", rows("added", {"source_id": "newer"}))
    assert corpus.read("added")["source_id"].to_pylist() == ["newer"]
    assert len(corpus.store.snapshot().generation.parts["added"]) == 1


def test_forgetting_makes_a_step_pending_again_and_leaves_the_rest(corpus: Corpus) -> None:
    corpus.commit(SOURCE, {"spans": rows("spans", span()), "shots": rows("shots", {"source_id": SOURCE})})
    corpus.append("captions", rows("captions", {"clip_id": "x", "text": "kept"}), key="c")
    with pytest.raises(StoreError, match="committed together"):
        corpus.forget("spans")
    corpus.forget("spans", "shots")
    assert corpus.committed("spans") == frozenset()
    assert corpus.read("spans").num_rows == 0
    assert corpus.committed("captions") == {"c"}
    corpus.commit(SOURCE, {"spans": rows("spans", span()), "shots": rows("shots", {"source_id": SOURCE})})
    assert corpus.table("clips").num_rows == 1


def _commit_many(url: str, worker: int) -> None:
    corpus = open_corpus(url)
    for number in range(20):
        corpus.append("spans", rows("spans", span(start=number)), key=f"shared-{number}")
        corpus.append("captions", rows("captions", {"clip_id": f"{worker}-{number}"}), key=f"{worker}-{number}")
        if number % 7 == worker:
            corpus.gather()


def test_processes_that_write_and_gather_at_once_lose_and_repeat_nothing(tmp_path: Path) -> None:
    open_corpus(str(tmp_path), create=True)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_commit_many, args=(str(tmp_path), worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    corpus = open_corpus(str(tmp_path))
    assert sorted(corpus.read("spans")["start_frame"].to_pylist()) == list(range(20))
    assert len(set(corpus.read("captions")["clip_id"].to_pylist())) == corpus.read("captions").num_rows == 60


def test_readers_beside_a_gatherer_never_miss_a_row(tmp_path: Path) -> None:
    corpus = open_corpus(str(tmp_path), create=True)
    for number in range(30):
        corpus.append("spans", rows("spans", span(start=number)), key=str(number))

    def reads(_: int) -> set[int]:
        return {open_corpus(str(tmp_path)).read("spans").num_rows for _ in range(5)}

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(reads, number) for number in range(4)]
        corpus.gather()
        assert set().union(*(future.result() for future in found)) == {30}


def test_a_commit_left_half_written_is_never_seen(tmp_path: Path) -> None:
    corpus = open_corpus(str(tmp_path), create=True)
    corpus.append("spans", rows("spans", span()), key="a")
    whole = next((tmp_path / "tables" / "loose" / "spans").iterdir())
    (whole.parent / ".unfinished-0123").write_bytes(whole.read_bytes()[:100])
    assert corpus.committed("spans") == {"a"}
    assert corpus.table("clips").num_rows == 1


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    corpus = open_corpus(str(tmp_path), create=True)
    corpus.append("spans", rows("spans", span()), key="a")
    for folder in ("loose/spans", "parts/spans"):
        (tmp_path / "tables" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "tables" / folder / ".unfinished-0123").write_bytes(b"half of a commit, with pictures in it")
    assert corpus.store.sweep() == 2
    assert not list((tmp_path / "tables").rglob(".unfinished-*"))
    assert corpus.table("clips").num_rows == 1


def test_a_damaged_commit_is_named(tmp_path: Path) -> None:
    corpus = open_corpus(str(tmp_path), create=True)
    corpus.append("spans", rows("spans", span()), key="a")
    next((tmp_path / "tables" / "loose" / "spans").iterdir()).write_bytes(b"PK not a zip")
    with pytest.raises(StoreError, match=r"a\.zip: is damaged"):
        corpus.read("spans")


@pytest.mark.parametrize("rewriting", ["gather", "rewrite"])
def test_a_damaged_part_that_still_reads_is_not_written_anew_as_if_it_were_whole(tmp_path: Path, rewriting: str) -> None:
    corpus = open_corpus(str(tmp_path), create=True)
    corpus.append("spans", rows("spans", span()), key="a")
    corpus.gather()
    (part,) = corpus.store.now().generation.parts["spans"]
    path = tmp_path / "tables" / part.path
    path.write_bytes(path.read_bytes().replace(b"s0123456789", b"s9876543210"))
    changed = corpus.read("spans")
    assert changed.num_rows == 1 and corpus.store.parts.damage(part) == "is damaged"
    with pytest.raises(StoreError, match=r"is damaged, and with it 1 rows of spans; restore"):
        if rewriting == "gather":
            corpus.append("spans", rows("spans", span()), key="b")
            corpus.gather()
        else:
            corpus.store.rewrite({"spans": lambda rows: rows.slice(0, 0)})
    assert corpus.store.now().generation.parts["spans"] == (part,), "nothing was swapped"


class Vanishing(io.BytesIO):
    """A file on an object store that was removed after it was opened."""

    def __init__(self) -> None:
        super().__init__()
        bundle({"spans": pa.table({"clip_id": ["a"]})}, self)

    def read(self, size: int | None = -1) -> bytes:
        raise FileNotFoundError("gone")


def test_a_commit_that_vanishes_while_it_is_read_is_not_called_damaged() -> None:
    with pytest.raises(FileNotFoundError):
        unbundle(Vanishing(), "spans", "loose/spans/0.zip")


LONG_FILM = """
import sys
from pathlib import Path
import numpy as np
from curate.corpus import open_corpus
from curate.observers.pictures import Picture
from curate.proxies import Proxies
from schemas.clip import clip_id

folder, random = Path(sys.argv[1]), np.random.default_rng(0)
corpus = open_corpus(str(folder / "corpus"), create=True)
most_held_kb = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = most_held_kb()
proxies = Proxies("s0", folder / "proxies.parquet")
for at in range(1000):
    proxies.add_pictures(clip_id("s0", at, at + 1), [Picture(at, 0.0, 512, 288, random.bytes(40_000)) for _ in range(4)])
corpus.commit("s0", {"proxies": proxies.finished()})
asked = [clip_id("s0", at, at + 1) for at in range(500, 516)]
found = corpus.proxies(asked)
assert found["clip_id"].to_pylist() == [name for name in asked for _ in range(4)]
assert len(set(found["image"].to_pylist())) == 64
print((most_held_kb() - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the most memory held is told by /proc")
def test_the_pictures_of_a_long_film_are_committed_and_read_in_a_fraction_of_their_size(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", LONG_FILM, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (tmp_path / "proxies.parquet").stat().st_size > 150 << 20
    assert float(ran.stdout) < 120


def test_clips_show_measures_captions_and_duplicates(corpus: Corpus) -> None:
    first, second = clip_id(SOURCE, 0, 24), clip_id(SOURCE, 24, 48)
    corpus.append("spans", rows("spans", span(start=24, end=48), span()), key=SOURCE)
    corpus.append("measures/handcrafted@1", measures((first, 4.5, {}), (second, None, {"aesthetic": "too dark"})), key="batch")
    corpus.append("captions", rows("captions", *[{"clip_id": first, "captioner": name, "text": name} for name in ("describe@1", "blip@2", "vlm@1")]), key="c")
    corpus.append("captions", rows("captions", {"clip_id": first, "captioner": "metadata@1", "text": "no", "problem": "too short"}), key="d")
    corpus.replace("duplicates", rows("duplicates", {"clip_id": second, "duplicate_of": first, "duplicate_cluster": first}))
    clips = corpus.table("clips").to_pylist()
    assert [clip["clip_id"] for clip in clips] == [first, second]
    assert [clip["aesthetic"] for clip in clips] == [4.5, None]
    assert [clip["captioner"] for clip in clips] == ["vlm@1", None]
    assert [clip["duplicate_of"] for clip in clips] == [None, first]
    assert [dict(clip["unmeasured"]) for clip in clips] == [{}, {"aesthetic": "too dark"}]
    assert corpus.table("clips", columns=["clip_id", "aesthetic"]).column_names == ["clip_id", "aesthetic"]


def test_a_new_version_of_a_scorer_adds_and_the_chosen_one_shows(corpus: Corpus) -> None:
    name = clip_id(SOURCE, 0, 24)
    corpus.append("spans", rows("spans", span()), key=SOURCE)
    for version, value in (("9", 9.0), ("10", 10.0)):
        corpus.append(f"measures/handcrafted@{version}", measures((name, value, {})), key="batch")
    assert corpus.makers() == {"aesthetic": "handcrafted@10"}
    assert corpus.table("clips")["aesthetic"].to_pylist() == [10.0]
    corpus.choose({"aesthetic": "handcrafted@9"})
    assert corpus.makers() == {"aesthetic": "handcrafted@9"}
    assert corpus.table("clips")["aesthetic"].to_pylist() == [9.0]


def test_sources_join_what_was_added_with_what_reading_found(corpus: Corpus) -> None:
    told = {"status": "ok", "container_duration_s": 10.0, "width": 64, "warnings": ["odd name"]}
    corpus.replace("added", rows("added", {"source_id": "b", **told}, {"source_id": "a", **told}, {"source_id": "c", **told, "status": "rejected"}))
    failed = {"source_id": "b", "duration_s": 9.5, "frames": 200, "width": 32, "status": "failed", "reason": "stops early", "warnings": ["cut"]}
    corpus.append("readings", rows("readings", failed), key="b")
    sources = corpus.table("sources").to_pylist()
    assert [source["source_id"] for source in sources] == ["a", "b", "c"]
    assert [source["status"] for source in sources] == ["ok", "failed", "rejected"]
    assert [source["duration_s"] for source in sources] == [10.0, 9.5, 10.0]
    assert [source["width"] for source in sources] == [64, 32, 64]
    assert sources[1]["warnings"] == ["odd name", "cut"]


def test_the_ledger_is_a_selections_and_the_last_made_by_default(corpus: Corpus) -> None:
    for name in ("z", "a"):
        corpus.replace(f"verdicts/{name}", table_of([{"source_id": name}], VERDICTS))
    assert corpus.selections() == ["z", "a"]
    assert corpus.table("ledger")["source_id"].to_pylist() == ["a"]
    assert corpus.table("ledger", selection="z")["source_id"].to_pylist() == ["z"]
    with pytest.raises(CorpusError, match="the selections are z, a"):
        corpus.table("ledger", selection="q")


def test_proxies_come_in_the_order_asked(corpus: Corpus) -> None:
    for source in ("sa", "sb"):
        pictures = [
            {"clip_id": clip_id(source, start, start + 8), "source_id": source, "kind": kind, "proxy_index": index, "image": f"{start}{kind}{index}".encode()}
            for start in (0, 8) for kind in ("frame", "edges") for index in (1, 0)
        ]  # fmt: skip
        corpus.append("proxies", rows("proxies", *pictures), key=source)
    asked = [clip_id("sb", 8, 16), clip_id("sa", 0, 8)]
    for _ in range(2):
        found = corpus.proxies(asked)
        assert found["clip_id"].to_pylist() == [asked[0]] * 2 + [asked[1]] * 2
        assert found["image"].to_pylist() == [b"8frame0", b"8frame1", b"0frame0", b"0frame1"]
        corpus.gather()
    assert corpus.proxies([clip_id("sq", 0, 8)]).num_rows == 0


def test_what_is_about_some_clips_is_what_the_tables_say_of_them(corpus: Corpus) -> None:
    others = "s9999999999abcdef0123"
    corpus.append("added", rows("added", {"source_id": SOURCE, "status": "ok"}, {"source_id": others, "status": "ok"}), "added")
    corpus.append("spans", rows("spans", *(span(SOURCE, at, at + 24) for at in (0, 24, 48))), SOURCE)
    corpus.append("spans", rows("spans", span(others), span(others, 24, 48)), others)
    corpus.append("measures/looks@1", measures((clip_id(SOURCE, 24, 48), 4.5, {})), "looks")
    for gathered in (False, True):
        if gathered:
            corpus.gather()
        every = corpus.table("clips")
        wanted = every["clip_id"].to_pylist()[1:4]
        assert corpus.about("clips", wanted).equals(every.filter(pc.field("clip_id").isin(wanted)))
        assert corpus.about("sources", wanted[:2])["source_id"].to_pylist() == [SOURCE]
        assert corpus.about("captions", wanted).num_rows == 0 and corpus.about("clips", ["s5-00000000-00000010"]).schema == every.schema


def test_export_writes_plain_parquet_the_same_bytes_again(corpus: Corpus, tmp_path: Path) -> None:
    for number in range(3):
        corpus.append("spans", rows("spans", span(start=number)), key=str(number))
    first = {path.name: path.read_bytes() for path in corpus.export(tmp_path / "one")}
    corpus.gather()
    second = {path.name: path.read_bytes() for path in corpus.export(tmp_path / "two")}
    assert first == second
    assert set(first) == {"sources.parquet", "shots.parquet", "clips.parquet", "captions.parquet"}
    assert pq.read_table(tmp_path / "one" / "clips.parquet").num_rows == 3


def test_notes_survive_in_the_settings_file(corpus: Corpus) -> None:
    corpus.note("splitter", {"version": '2 "quoted" é'})
    corpus.note("splitter", {"threshold": "0.5"})
    assert corpus.settings()["splitter"] == {"version": '2 "quoted" é', "threshold": "0.5"}
    assert open_corpus(corpus.url).settings()["corpus"]["format"] == 1


def test_a_corpus_travels_to_other_processes(corpus: Corpus) -> None:
    assert pickle.loads(pickle.dumps(corpus)).url == corpus.url
    assert json.dumps(corpus.url)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["commit", "gather", "replace"]), st.integers(0, 4)), max_size=12))
def test_any_order_of_commits_gatherings_and_swaps_reads_back_as_one_set(steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    corpus = open_corpus(str(tmp_path_factory.mktemp("corpus")), create=True)
    appended: set[int] = set()
    swapped: set[int] = set()
    for step, number in steps:
        if step == "commit":
            corpus.append("spans", rows("spans", span(start=number)), key=str(number))
            appended.add(number)
        elif step == "gather":
            corpus.gather()
        else:
            corpus.replace("duplicates", rows("duplicates", {"clip_id": str(number)}))
            swapped = {number}
    assert sorted(corpus.table("clips")["start_frame"].to_pylist()) == sorted(appended)
    assert corpus.read("duplicates")["clip_id"].to_pylist() == [str(number) for number in swapped]


@pytest.mark.parametrize("ids", [["a", "b", "c"], ["a", "c", "b"], ["a", "b", "b"], ["b", "c", None], [None], [], ["a", "a"]])
def test_a_part_is_sorted_whatever_order_its_rows_came_in(tmp_path: Path, ids: list[str | None]) -> None:
    parts = Parts(LocalFileSystem(), str(tmp_path))
    rows = pa.table(
        {"clip_id": pa.chunked_array([pa.array(ids[:2], pa.string()), pa.array(ids[2:], pa.string())]), "start_s": pa.array(range(len(ids), 0, -1))}
    )
    found = parts.read(parts.write_one("spans", [rows]))
    assert found.to_pylist() == rows.sort_by([("clip_id", "ascending"), ("start_s", "ascending")]).to_pylist()


def test_relations_replaced_together_change_in_one_step(tmp_path):
    """A ledger belongs to a selection: nobody may see one of them new beside the other old."""
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    corpus.append("spans", rows("spans", {"clip_id": "x", "source_id": "x"}), key="x")

    def both(value):
        return {"selections/r": pa.table({"clip_id": [value], "order": [0]}), "verdicts/r": [lambda: table_of([{"source_id": value}], VERDICTS)]}

    corpus.replace_together(both("old"))
    before = corpus.store.parts.latest()
    corpus.replace_together(both("new"))
    after = corpus.store.parts.latest()
    assert after.number == before.number + 1
    assert corpus.read("selections/r")["clip_id"].to_pylist() == corpus.read("verdicts/r")["source_id"].to_pylist() == ["new"]
    assert corpus.read("spans")["clip_id"].to_pylist() == ["x"] and corpus.selections() == ["r"]


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path):
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    corpus.replace_together({"selections/r": pa.table({"clip_id": ["old"], "order": [0]})})

    def failing():
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        corpus.replace_together({"selections/r": pa.table({"clip_id": ["new"], "order": [0]}), "verdicts/r": [failing]})
    assert corpus.read("selections/r")["clip_id"].to_pylist() == ["old"] and corpus.selections() == []
