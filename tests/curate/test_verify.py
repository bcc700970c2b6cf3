"""Verification, file by file: one changed byte shows wherever it is, with the file and what to do; and what can be written anew is."""

import shutil
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import pytest

from curate.corpus import open_corpus
from curate.engine import run_here
from curate.pack import pack
from curate.packing.manifest import read_manifest
from curate.read import ReadVideos
from curate.select import select
from curate.sources import add_sources
from curate.storage.sealed import seal_is_broken, sealed
from curate.takedown import takedown
from curate.verify import verify
from pipelines.report import write_report
from schemas.recipe import Recipe

RECIPE = Recipe.model_validate({"name": "all", "duplicates": {"keep": "all"}, "encoding": {"height": 32}})
POLICY = 'name = "house"\r\nlicenses = ["unstated"]\r\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of two films under a policy, packed and reported, of which one was taken down."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "footage").mkdir()
    (folder / "policy.toml").write_text(POLICY, newline="")
    for name, source in (("a", "testsrc=size=96x64:rate=12"), ("b", "mandelbrot=size=96x64:rate=12")):
        command = ffmpeg.input(source, f="lavfi").output(str(folder / "footage" / f"{name}.mp4"), t=3, pix_fmt="yuv420p", vcodec="libx264")
        command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    corpus = open_corpus(str(folder / "corpus"), create=True)
    add_sources(corpus, [str(folder / "footage")], policy=(folder / "policy.toml").as_uri())
    list(run_here(corpus.table("sources").select(["source_id", "uri", "media_type"]), [ReadVideos(corpus.url)]))
    corpus.note("splitter", {"detector": "cascade"})
    select(corpus, RECIPE)
    pack(corpus, RECIPE)
    takedown(corpus, corpus.table("sources")["source_id"][0].as_py(), "withdrawn")
    write_report(corpus)
    assert verify(corpus).problems == ()
    return folder / "corpus"


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "corpus")
    return tmp_path / "corpus"


def kinds(corpus: Path) -> dict[str, Path]:
    """A file of each kind."""
    parts = {f"part of {name}": next((corpus / "tables" / "parts" / name).iterdir()) for name in ("added", "keys", "verdicts%2Fall")}
    generation = {"generation": max((corpus / "tables" / "generations").iterdir())}
    named = ["corpus.toml", "policy.toml", "report.html", *(f"shards/all/{path.name}" for path in (corpus / "shards" / "all").iterdir())]
    folders = {f"{folder} {place}": path for folder in ("journal", "takedowns") for place, path in enumerate(sorted((corpus / folder).iterdir()))}
    return {**parts, **generation, **folders, **{name: corpus / name for name in named}}


def test_one_changed_byte_of_any_file_shows_and_names_the_file(copy):
    unseen, unnamed = [], []
    for what, path in kinds(copy).items():
        data = path.read_bytes()
        for place in (len(data) // 3, 2 * len(data) // 3, len(data) - 2):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            try:
                told = "\n".join(verify(open_corpus(str(copy)), pictures=False).problems)
            except RuntimeError as error:
                told = str(error)
            if not told:
                unseen.append((what, place, data[max(place - 10, 0) : place + 10]))
            elif path.name not in told and not what.startswith("journal"):
                unnamed.append((what, place, told))
        path.write_bytes(data)
    assert unseen == [] and unnamed == []
    assert verify(open_corpus(str(copy)), pictures=False).problems == ()


@pytest.mark.parametrize("file", ["README.md", "ATTRIBUTION", "croissant.json", "index.parquet"])
def test_what_lies_beside_shards_is_written_anew_by_packing_again_and_nothing_is_encoded(copy, file, monkeypatch):
    path, corpus = copy / "shards" / "all" / file, open_corpus(str(copy))
    data = path.read_bytes()
    path.write_bytes(data[:-9] + b"something")
    assert any(file in problem for problem in verify(corpus, pictures=False).problems)
    monkeypatch.setattr("curate.pack.CutClips", None)
    assert not pack(corpus, RECIPE).fresh
    assert path.read_bytes() == data and verify(corpus).problems == ()


def test_a_manifest_that_was_rewritten_shows_even_where_it_fits_its_shards(copy):
    path = copy / "shards" / "all" / "MANIFEST"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    (problem,) = verify(open_corpus(str(copy))).problems
    assert "shards/all/MANIFEST: is not what the journal says was written" in problem


def test_packing_again_does_not_vouch_for_a_manifest_that_was_rewritten(copy):
    path, corpus = copy / "shards" / "all" / "MANIFEST", open_corpus(str(copy))
    path.write_text(path.read_text().replace('"fps": null', '"fps": 5.0 '))
    pack(corpus, RECIPE)
    assert any("is not what the journal says was written" in problem for problem in verify(corpus).problems)


def test_after_a_takedown_packing_again_finds_the_set_whole(copy):
    before = {path.name: path.stat().st_mtime_ns for path in (copy / "shards" / "all").iterdir()}
    assert not pack(open_corpus(str(copy)), RECIPE).fresh, "by the default size of shards, which is a whole number"
    assert {path.name: path.stat().st_mtime_ns for path in (copy / "shards" / "all").iterdir()} == before


def test_a_takedown_stopped_before_the_journal_tells_of_it_is_told_and_completed_by_doing_it_again(copy, monkeypatch):
    corpus = open_corpus(str(copy))
    (left,) = {clip.partition("-")[0] for shard in read_manifest(corpus.filesystem, corpus.path("shards", "all"))["shards"] for clip in shard["clips"]}
    monkeypatch.setattr("curate.takedown.signed", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        takedown(corpus, left, "withdrawn too")
    assert any("set all: the journal does not tell of its MANIFEST" in problem for problem in verify(corpus).problems)
    monkeypatch.undo()
    takedown(corpus, left, "withdrawn too")
    assert verify(corpus).problems == ()


def test_a_seal_breaks_by_any_byte_and_a_file_without_one_has_none_to_break():
    data = sealed("[a]\nb = 1", "# {}")
    assert not seal_is_broken(data) and not seal_is_broken(b"[a]\nb = 1\n") and not seal_is_broken(b"")
    assert all(seal_is_broken(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]) for place in range(len(data) - 1))
