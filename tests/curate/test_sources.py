"""Adding: identity by content, odd names and broken files listed with reasons, rights joined, nothing read twice."""

import os
import shutil
import tarfile
from datetime import date
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import pytest

from curate import sources
from curate.corpus import Corpus, open_corpus
from curate.footage import examine
from curate.footage.locations import find_locations, local_copy, uri_of
from curate.sources import add_sources
from curate.storage.journal import entries
from schemas.document import DocumentError

DAY = date(2027, 6, 1)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short videos and a still, made on the spot."""
    folder = tmp_path_factory.mktemp("videos")
    for name, rate in (("one.mp4", 10), ("two.mp4", 12)):
        picture = ffmpeg.input(f"testsrc=size=64x48:rate={rate}:duration=1", f="lavfi")
        picture.output(str(folder / name), pix_fmt="yuv420p", vcodec="libx264").run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    ffmpeg.input("testsrc=size=64x48", f="lavfi").output(str(folder / "still.png"), vframes=1).run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    return folder


@pytest.fixture
def footage(videos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(videos, tmp_path / "footage"))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return open_corpus(str(tmp_path / "corpus"), create=True)


def table(corpus: Corpus) -> dict[str, dict]:
    return {Path(row["uri"]).name: row for row in corpus.table("sources").to_pylist()}


def rights(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "rights.csv"
    path.write_text("\n".join(("path,license,holder,uses,territories,start,expires", *lines)))
    return str(path)


def test_a_source_is_its_content_wherever_it_lies(corpus: Corpus, footage: Path) -> None:
    add_sources(corpus, [str(footage)])
    before = table(corpus)
    (footage / "sub").mkdir()
    shutil.copy(footage / "one.mp4", footage / "sub" / "copy.mp4")
    (footage / "two.mp4").rename(footage / "renamed.mp4")
    report = add_sources(corpus, [str(footage)])
    after = table(corpus)
    assert {row["source_id"] for row in after.values()} == {row["source_id"] for row in before.values()}
    assert after["one.mp4"]["locations"] == [str(footage / "one.mp4"), str(footage / "sub" / "copy.mp4")]
    assert report.copies == 2 and report.sources == 3
    assert before["one.mp4"]["source_id"] == "s" + before["one.mp4"]["sha256"][:20]


def test_what_the_header_says_is_in_the_table(corpus: Corpus, footage: Path) -> None:
    add_sources(corpus, [str(footage)])
    video, still = table(corpus)["one.mp4"], table(corpus)["still.png"]
    assert (video["media_type"], video["width"], video["height"], video["codec"], video["status"]) == ("video", 64, 48, "h264", "ok")
    assert video["container_duration_s"] == pytest.approx(1.0, abs=0.05)
    assert video["bytes"] == (footage / "one.mp4").stat().st_size
    assert still["media_type"] == "image"


def test_without_rights_or_policy_sources_are_unstated_and_usable(corpus: Corpus, footage: Path) -> None:
    report = add_sources(corpus, [str(footage)])
    assert {(row["status"], row["license"]) for row in table(corpus).values()} == {("ok", "unstated")}
    assert report.unstated == 3 and "--rights" in report.summary()


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(corpus: Corpus, footage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add_sources(corpus, [str(footage)]).fresh == 3
    monkeypatch.setattr(examine, "probe", lambda path: pytest.fail("read an unchanged file again"))
    assert add_sources(corpus, [str(footage)]).fresh == 0
    monkeypatch.undo()
    before = table(corpus)["one.mp4"]
    shutil.copy(footage / "two.mp4", footage / "one.mp4")
    assert add_sources(corpus, [str(footage)]).fresh == 1
    gone = [row for row in corpus.table("sources").to_pylist() if row["source_id"] == before["source_id"]]
    assert [(row["status"], row["reason"]) for row in gone] == [("failed", "the file that held this content was changed")]


def test_an_interrupted_addition_goes_on_where_it_was(corpus: Corpus, footage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = examine.examine
    looked: list[str] = []

    def interrupted(location, folder):
        looked.append(location.uri)
        if len(looked) == 3:
            raise KeyboardInterrupt
        return look(location, folder)

    monkeypatch.setattr(sources, "WORKERS", 1)
    monkeypatch.setattr(sources, "COMMIT_FILES", 1)
    monkeypatch.setattr(sources, "examine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add_sources(corpus, [str(footage)])
    monkeypatch.setattr(sources, "examine", look)
    assert add_sources(corpus, [str(footage)]).fresh == 1
    assert len(table(corpus)) == 3


def test_files_that_are_no_media_are_listed_with_a_provisional_id_and_a_reason(corpus: Corpus, footage: Path) -> None:
    (footage / "notes.txt").write_text("nothing to see")
    (footage / "empty.mp4").touch()
    (footage / "cut.mp4").write_bytes((footage / "one.mp4").read_bytes()[:700])
    (footage / "dangling.mp4").symlink_to("nowhere")
    os.mkfifo(footage / "pipe.mp4")
    report = add_sources(corpus, [str(footage)])
    found = table(corpus)
    assert report.failed == 5
    for name in ("notes.txt", "empty.mp4", "cut.mp4", "dangling.mp4", "pipe.mp4"):
        assert found[name]["status"] == "failed" and found[name]["reason"], name
        assert found[name]["source_id"].startswith("p")
    assert found["pipe.mp4"]["reason"] == "not a file but a pipe"
    assert "link to nothing" in found["dangling.mp4"]["reason"]
    assert found["one.mp4"]["status"] == "ok"


def test_what_failed_is_tried_again_and_found_well_once_it_is(corpus: Corpus, footage: Path) -> None:
    whole = (footage / "one.mp4").read_bytes()
    (footage / "one.mp4").write_bytes(whole[:500])
    add_sources(corpus, [str(footage)])
    (footage / "one.mp4").write_bytes(whole)
    add_sources(corpus, [str(footage)])
    assert {row["status"] for row in table(corpus).values()} == {"ok"}


def test_odd_names_and_links_in_circles_survive(corpus: Corpus, footage: Path) -> None:
    odd = [b"caf\xe9 \xff.mp4", b"new\nline.mp4", "日本語 🎬.mp4".encode(), b"-rf *.mp4", b"%41.mp4", b"'; DROP TABLE x;--.mp4"]
    for name in odd:
        shutil.copy(footage / "one.mp4", os.path.join(os.fsencode(footage), name))
    (footage / "a").mkdir()
    (footage / "a" / "up").symlink_to(footage)
    (footage / "self").symlink_to("self")
    add_sources(corpus, [str(footage)])
    rows = corpus.table("sources").to_pylist()
    same = next(row for row in rows if len(row["locations"]) > 1)
    assert len(same["locations"]) == 1 + len(odd)
    assert sum(row["status"] == "ok" for row in rows) == 3
    reasons = {row["uri"].rsplit("/", 1)[-1]: row["reason"] for row in rows if row["status"] == "failed"}
    assert "leads back" in reasons["up"] and "self" in reasons


def test_a_location_names_its_file_for_good(tmp_path: Path) -> None:
    for name in (b"plain.mp4", b"not utf-8 \xff%41.mp4", b"file:", b"a:b.mp4"):
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(name)
        (found,) = find_locations([uri_of(path)])
        with local_copy(found.uri, tmp_path) as copy, open(copy, "rb") as file:
            assert file.read() == name


def test_footage_that_is_not_there_is_refused_before_anything_is_done(corpus: Corpus, footage: Path) -> None:
    with pytest.raises(DocumentError, match="no such file or folder"):
        add_sources(corpus, [str(footage), str(footage / "missing")])
    assert corpus.read("found").num_rows == 0


def test_the_corpus_and_the_rights_file_are_not_footage(footage: Path) -> None:
    corpus = open_corpus(str(footage / "corpus"), create=True)
    listed = rights(footage, "one.mp4,CC0-1.0,me,,,,", "two.mp4,CC0-1.0,me,,,,", "still.png,CC0-1.0,me,,,,")
    report = add_sources(corpus, [str(footage)], rights=listed)
    assert (report.sources, report.failed, report.rejected) == (3, 0, 0)


def test_what_the_rights_file_does_not_list_is_quarantined(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    report = add_sources(
        corpus, [str(footage)], rights=rights(tmp_path, "one.mp4,CC BY 4.0,Ann,,worldwide,,", "still.png,contract:7,Ben,train;redistribute,,,")
    )
    found = table(corpus)
    assert (found["two.mp4"]["status"], found["two.mp4"]["rule"], found["two.mp4"]["license"]) == ("rejected", "rights", "unstated")
    assert "no row of the rights file" in found["two.mp4"]["reason"]
    assert (found["one.mp4"]["license"], found["one.mp4"]["rights_holder"], found["one.mp4"]["status"]) == ("CC-BY-4.0", "Ann", "ok")
    assert "train" in found["one.mp4"]["rights_uses"], "what a public licence permits is spelled out"
    assert (found["still.png"]["rights_uses"], found["still.png"]["rights_territories"]) == (["train", "redistribute"], None)
    assert report.rejected == 1


def test_a_public_licence_holds_everywhere_unless_its_row_says_less(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    add_sources(corpus, [str(footage)], rights=rights(tmp_path, "one.mp4,CC0-1.0,,,,,", "two.mp4,CC-BY-4.0,,,DE;AT,,", "still.png,contract:7,,train,,,"))
    assert {name: row["rights_territories"] for name, row in table(corpus).items()} == {"one.mp4": ["worldwide"], "two.mp4": ["DE", "AT"], "still.png": None}


def test_a_mistyped_path_in_a_rights_file_is_told_with_its_line_and_the_file_that_was_meant(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    listed = rights(tmp_path, "one.mp4,CC0-1.0,,,,,", "tow.mp4,CC0-1.0,,,,,", "still.png,CC0-1.0,,,,,", "*.mov,CC0-1.0,,,,,".replace("*", "elsewhere/x"))
    (warning,) = add_sources(corpus, [str(footage)], rights=listed).warnings
    assert "2 rows of the rights file are about no source" in warning
    assert "rights.csv line 3 names the path `tow.mp4` (did you mean `two.mp4`?)" in warning and "line 5" in warning
    assert add_sources(corpus, [str(footage)]).warnings == (), "what was heard with the rights file is not told again and again"


def test_patterns_and_hashes_that_match_nothing_are_told_only_where_something_is_left_without_rights(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    path = tmp_path / "rights.csv"
    path.write_text(f"match,license\n*.mp4,CC0-1.0\nlater/*.mov,CC0-1.0\n{'0' * 64},CC0-1.0\n")
    assert add_sources(corpus, [str(footage / "one.mp4")], rights=str(path)).warnings == ()
    (warning,) = add_sources(corpus, [str(footage)], rights=str(path)).warnings
    assert "1 source has no row" in warning and "line 3 names the glob `later/*.mov`" in warning and "line 4 names the sha256 `000000000000…`" in warning


def test_of_many_rows_about_nothing_the_first_few_are_named(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    listed = rights(tmp_path, "one.mp4,CC0-1.0,,,,,", *(f"gone/{number}.mp4,CC0-1.0,,,,," for number in range(40)))
    (warning,) = add_sources(corpus, [str(footage / "one.mp4")], rights=listed).warnings
    assert warning.startswith("40 rows") and warning.count("names the path") == 3 and "and 37 more" in warning


def test_rights_given_later_free_what_was_quarantined(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    add_sources(corpus, [str(footage)], rights=rights(tmp_path, "one.mp4,CC0-1.0,me,,,,"))
    add_sources(corpus, [str(footage)])
    assert table(corpus)["two.mp4"]["status"] == "rejected", "once given, rights go on being asked for"
    add_sources(corpus, [str(footage)], rights=rights(tmp_path, "two.mp4,CC0-1.0,me,,,,"))
    found = table(corpus)
    assert [found[name]["status"] for name in ("one.mp4", "two.mp4", "still.png")] == ["ok", "ok", "rejected"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("one.mp4,CC0-1.0,me,,,,2027-05-31", "the rights expired on 2027-05-31"),
        ("one.mp4,CC0-1.0,me,,,2027-06-02,", "the rights start on 2027-06-02"),
        ("one.mp4,contract:1,me,redistribute,,,", "the rights permit redistribute, and not `train`"),
    ],
)
def test_rights_that_do_not_hold_quarantine(corpus: Corpus, footage: Path, tmp_path: Path, line: str, reason: str) -> None:
    add_sources(corpus, [str(footage / "one.mp4")], rights=rights(tmp_path, line), on=DAY)
    (row,) = table(corpus).values()
    assert (row["status"], row["rule"], row["reason"]) == ("rejected", "rights", reason)


def test_copies_under_conflicting_rights_are_quarantined_until_the_source_itself_is_listed(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    shutil.copy(footage / "one.mp4", footage / "copy.mp4")
    listed = ["one.mp4,CC-BY-4.0,Ann,,,,", "copy.mp4,contract:9,Ben,,,,", "two.mp4,CC0-1.0,,,,,", "still.png,CC0-1.0,,,,,"]
    add_sources(corpus, [str(footage)], rights=rights(tmp_path, *listed))
    row = table(corpus)["copy.mp4"]
    assert (row["status"], row["rule"], row["license"]) == ("rejected", "rights", None)
    assert row["reason"] == "conflicting rights: rights.csv line 3 says license contract:9, rights.csv line 2 says CC-BY-4.0"
    by_id = tmp_path / "resolved.csv"
    by_id.write_text(f"id,license,holder\n{row['source_id']},CC-BY-4.0,Ann\n")
    add_sources(corpus, [str(footage)], rights=str(by_id))
    assert (table(corpus)["copy.mp4"]["status"], table(corpus)["copy.mp4"]["license"]) == ("ok", "CC-BY-4.0")


def test_a_policy_quarantines_with_the_rule_that_refused(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('name = "house"\nlicenses = ["CC0-1.0"]\nuses = ["train", "commercial"]\n')
    add_sources(corpus, [str(footage)], rights=rights(tmp_path, "one.mp4,CC0-1.0,me,,,,", "two.mp4,CC-BY-NC-4.0,me,,,,"), policy=str(policy))
    found = table(corpus)
    assert found["one.mp4"]["status"] == "ok"
    assert found["two.mp4"]["reason"] == "policy `house` does not accept the licence CC-BY-NC-4.0: it accepts CC0-1.0"


def test_a_policy_alone_asks_for_rights(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('name = "house"\n')
    add_sources(corpus, [str(footage)], policy=str(policy))
    assert {row["reason"] for row in table(corpus).values()} == {"no rights are stated, and policy `house` asks for them"}


def test_a_wrong_policy_is_refused_before_anything_is_done(corpus: Corpus, footage: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('licences = ["CC0-1.0"]\n')
    with pytest.raises(DocumentError, match=r"policy\.toml, line 1: `licences` is not a key here; did you mean `licenses`"):
        add_sources(corpus, [str(footage)], policy=str(policy))
    assert corpus.read("found").num_rows == 0


def test_adding_is_journalled(corpus: Corpus, footage: Path) -> None:
    add_sources(corpus, [str(footage)])
    (entry,) = entries(corpus)
    assert (entry.verb, entry.facts["files"], entry.before) == ("add", 3, None)


def test_remote_footage_is_streamed_once_and_named_by_its_content(corpus: Corpus, footage: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import fsspec

    monkeypatch.setenv("CLIPMILL_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.put(str(footage) + "/", "/bucket", recursive=True)
    fetched: list[str] = []
    get = memory.get_file
    monkeypatch.setattr(type(memory), "get_file", lambda self, path, *rest, **named: fetched.append(path) or get(path, *rest, **named))
    add_sources(corpus, ["memory://bucket"])
    ids = {row["source_id"] for row in corpus.table("sources").to_pylist()}
    with local_copy(table(corpus)["one.mp4"]["uri"], tmp_path) as copy:
        assert Path(copy).read_bytes() == (footage / "one.mp4").read_bytes()
    assert len(fetched) == 3, "a file was streamed twice"
    assert list(tmp_path.glob("remote-*")) == [], "a copy was left behind"
    local = open_corpus(str(tmp_path / "local"), create=True)
    add_sources(local, [str(footage)])
    assert {row["source_id"] for row in local.table("sources").to_pylist()} == ids
    memory.rm("/bucket", recursive=True)


def test_every_broken_file_is_listed_and_none_stops_the_run(corpus: Corpus, shared_media: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_media / "bad.tar.xz") as archive:
        archive.extractall(tmp_path / "bad", filter="fully_trusted")
    report = add_sources(corpus, [str(tmp_path / "bad")])
    assert report.files == sum(len(row["locations"]) for row in corpus.table("sources").to_pylist()) > 35
    rows = corpus.table("sources").to_pylist()
    assert all(row["reason"] for row in rows if row["status"] == "failed")
    assert {row["status"] for row in rows} == {"ok", "failed"}
    healthy = next(row for row in rows if row["sha256"] == "14f17bfc6221101d95f3fd58fd52c29fa6088374e39a26f3ee0bb19057c66a01")
    assert healthy["status"] == "ok" and len(healthy["locations"]) > 5
