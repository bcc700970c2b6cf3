"""Lineage, takedown and verification on a corpus made by the real chain: added, read, selected, packed and trained on."""

import json
import shutil
from datetime import date
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate.corpus import Corpus, CorpusError, open_corpus, source_of
from curate.deciding.split import READS, set_aside
from curate.engine import run_here
from curate.keeping import erase
from curate.keeping.signing import checked
from curate.pack import pack
from curate.packing.manifest import read_manifest
from curate.read import ReadVideos
from curate.select import explain, select
from curate.sources import add_sources
from curate.storage import journal
from curate.storage.relations import RELATIONS
from curate.takedown import takedown
from curate.trace import manifests, note_training, trace
from curate.verify import verify
from schemas.document import DocumentError
from schemas.recipe import Recipe, RightsTerms, Split
from schemas.table import table_of

RECIPE = Recipe.model_validate({"name": "all", "duplicates": {"keep": "all"}, "encoding": {"height": 32, "shard_mb": 0.02}})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with footage, a corpus of it that was packed, and a checkpoint trained on the shards."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "footage").mkdir()
    for name, source in (("a", "testsrc=size=96x64:rate=12"), ("b", "testsrc2=size=96x64:rate=12"), ("c", "mandelbrot=size=96x64:rate=12")):
        command = ffmpeg.input(source, f="lavfi").output(str(folder / "footage" / f"{name}.mp4"), t=6, pix_fmt="yuv420p", vcodec="libx264")
        command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    corpus = open_corpus(str(folder / "corpus"), create=True)
    add_sources(corpus, [str(folder / "footage")])
    sources = corpus.table("sources").select(["source_id", "uri", "media_type"])
    list(run_here(sources, [ReadVideos(corpus.url)]))
    names = corpus.table("clips")["clip_id"].to_pylist()
    corpus.append(
        "captions", table_of([{"clip_id": name, "captioner": "describe@1", "text": f"words on {name}"} for name in names], RELATIONS["captions"]), "c"
    )
    corpus.replace("duplicates", table_of(_one_cluster(names), RELATIONS["duplicates"]))
    select(corpus, RECIPE)
    pack(corpus, RECIPE)
    _train_on(folder / "corpus" / "shards" / "all", folder / "checkpoint")
    return folder


def _one_cluster(names: list[str]) -> list[dict]:
    """Every clip a copy of the first."""
    best = min(names)
    return [
        {"clip_id": name, "duplicate_of": None if name == best else best, "duplicate_cluster": best, "duplicate_rank": rank}
        for rank, name in enumerate(sorted(names))
    ]


def _train_on(shards: Path, checkpoint: Path) -> None:
    """What the trainer leaves of its lineage, without the training."""
    from train.shards import Shards

    checkpoint.mkdir()
    lineage = {"shards": Shards(str(shards)).lineage(), "run": {"name": "tiny"}}
    (checkpoint / "lineage.json").write_text(json.dumps(lineage))
    assert note_training(str(shards), str(checkpoint))


@pytest.fixture
def corpus(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A copy of the corpus, to be changed."""
    monkeypatch.setenv("CLIPMILL_SIGNING_KEY", str(tmp_path / "key.pem"))
    shutil.copytree(made / "corpus", tmp_path / "corpus")
    return open_corpus(str(tmp_path / "corpus"))


def named(corpus: Corpus, name: str) -> str:
    return next(row["source_id"] for row in corpus.table("sources").to_pylist() if row["uri"].endswith(f"/{name}.mp4"))


def files(corpus: Corpus) -> dict[str, bytes]:
    root = Path(corpus.path())
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_source_is_followed_down_to_shards_and_checkpoints(corpus: Corpus, made: Path) -> None:
    source = named(corpus, "a")
    found = trace(corpus, "source", source)
    assert set(found.clips) == {clip for clip in corpus.table("clips")["clip_id"].to_pylist() if source_of(clip) == source}
    assert found.selections == {"all": len(found.clips)}
    assert sum(found.shards.values()) == len(found.clips)
    assert found.checkpoints == {str(made / "checkpoint"): len(found.clips)}
    assert any("unstated" in line for line in found.lines())


def test_clips_shards_and_checkpoints_are_followed_up_to_their_sources(corpus: Corpus, made: Path) -> None:
    clip = corpus.table("clips")["clip_id"][0].as_py()
    assert set(trace(corpus, "clip", clip).sources) == {source_of(clip)}
    (shard, *_) = trace(corpus, "clip", clip).shards
    assert clip in trace(corpus, "shard", shard).clips
    assert len(trace(corpus, "checkpoint", str(made / "checkpoint")).sources) == 3


@pytest.mark.parametrize("kind", ["source", "clip", "shard", "checkpoint"])
def test_what_the_corpus_does_not_know_is_said_so(corpus: Corpus, kind: str) -> None:
    with pytest.raises(CorpusError):
        trace(corpus, kind, "s-00000000-00000001")  # type: ignore[arg-type]


def test_a_checkpoint_is_known_even_after_its_folder_is_gone(corpus: Corpus, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "checkpoint", tmp_path / "gone")
    note_training(corpus.path("shards", "all"), str(tmp_path / "gone"))
    shutil.rmtree(tmp_path / "gone")
    assert len(trace(corpus, "checkpoint", str(tmp_path / "gone")).sources) == 3


def test_a_sound_corpus_verifies(corpus: Corpus) -> None:
    assert verify(corpus).problems == ()


def test_a_takedown_reaches_everything_and_leaves_the_rest_alone(corpus: Corpus, made: Path) -> None:
    source = named(corpus, "a")
    (Path(corpus.path()) / "report.html").write_text("<img src=data:>")
    (Path(corpus.path()) / "shards" / "all" / f"{source}-00000000-00000010.latents").write_bytes(b"x")
    before, kept_clips = files(corpus), [clip for clip in corpus.table("clips").to_pylist() if clip["source_id"] != source]
    known = trace(corpus, "source", source)
    holding = {shard.removeprefix("all/") for shard in known.shards}
    report = takedown(corpus, source, "asked for by its owner")
    after = files(corpus)

    tells = ("added", "found", "readings", "tombstones", "trainings", "keys", "verdicts")
    allowed = ("takedowns/", "journal/", "tables/generations/", "tables/loose/", *(f"tables/parts/{name}" for name in tells))
    assert [path for path, data in after.items() if source.encode() in data and not path.startswith(allowed)] == []
    for name in ("spans", "shots", "gaps", "proxies", "captions", "duplicates", "selections/all"):
        rows = corpus.read(name)
        ids = rows["source_id" if "source_id" in rows.column_names else "clip_id"].to_pylist()
        assert not [one for one in ids if one.startswith(source)], name
    assert "report.html" not in after and not any(source in path for path in after if path.startswith("shards/"))

    untouched = [path for path in before if path.endswith(".tar") and path.rsplit("/", 1)[-1] not in holding]
    assert untouched, "the test needs a shard without the source"
    assert all(after[path] == before[path] for path in untouched)
    assert {one.shard.removeprefix("all/") for one in report.shards} == holding
    assert report.checkpoints == {str(made / "checkpoint"): len(known.clips)}
    fields = ("clip_id", "caption", "motion")
    assert [[clip[name] for name in fields] for clip in corpus.table("clips").to_pylist()] == [[clip[name] for name in fields] for clip in kept_clips]
    assert verify(corpus).problems == ()


def test_a_takedown_takes_the_sound_that_lies_apart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPMILL_SIGNING_KEY", str(tmp_path / "key.pem"))
    for name, tone in (("a", 300), ("b", 500)):
        pictures, sound = (ffmpeg.input(f"{what}", f="lavfi", t=3) for what in (f"testsrc=size=96x64:rate={tone // 25}", f"sine=frequency={tone}"))
        made = ffmpeg.output(pictures, sound, str(tmp_path / f"{name}.mp4"), pix_fmt="yuv420p", vcodec="libx264")
        made.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    add_sources(corpus, [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")])
    list(run_here(corpus.table("sources").select(["source_id", "uri", "media_type"]), [ReadVideos(corpus.url)]))
    asked = Recipe.model_validate({"name": "loud", "duplicates": {"keep": "all"}, "encoding": {"height": 32, "audio": "separate"}})
    select(corpus, asked)
    pack(corpus, asked)
    gone = named(corpus, "a")
    takedown(corpus, gone, "asked to")
    index = pq.read_table(Path(corpus.path("shards", "loud", "index.parquet")))
    left = {row["clip_id"] for row in index.to_pylist() if row["suffix"] == "flac"}
    assert left and {source_of(clip) for clip in left} == {named(corpus, "b")}
    assert not verify(corpus).problems


def test_after_a_takedown_another_copy_is_the_best_one(corpus: Corpus) -> None:
    best = pc.min(corpus.read("duplicates")["clip_id"]).as_py()
    takedown(corpus, source_of(best), "asked for")
    rows = corpus.read("duplicates").sort_by("clip_id").to_pylist()
    assert [row["duplicate_of"] for row in rows].count(None) == 1
    assert {row["duplicate_cluster"] for row in rows} == {rows[0]["clip_id"]} and sorted(row["duplicate_rank"] for row in rows) == list(range(len(rows)))


def test_after_a_takedown_selecting_and_packing_again_shuffles_nothing(corpus: Corpus) -> None:
    source = named(corpus, "b")
    takedown(corpus, source, "asked for")
    before = {path: data for path, data in files(corpus).items() if path.startswith("shards/")}
    assert not pack(corpus, RECIPE).fresh
    assert {path: data for path, data in files(corpus).items() if path.startswith("shards/")} == before
    select(corpus, RECIPE)
    ledger = corpus.table("ledger").to_pylist()
    assert {(row["outcome"], row["rule"]) for row in ledger if row["source_id"] == source} == {("rejected", "takedown")}
    assert verify(corpus).problems == ()


def test_a_source_taken_down_does_not_come_back(corpus: Corpus, made: Path) -> None:
    source = named(corpus, "c")
    takedown(corpus, source, "asked for")
    add_sources(corpus, [str(made / "footage")])
    row = next(row for row in corpus.table("sources").to_pylist() if row["source_id"] == source)
    assert (row["status"], row["rule"], row["reason"]) == ("rejected", "takedown", "taken down: asked for")


@pytest.mark.parametrize("step", ["erase_rows", "_rewrite_shard", "_swap_manifest", "describe_set"])
def test_an_interrupted_takedown_is_completed_by_doing_it_again(corpus: Corpus, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = named(corpus, "a")
    home = "curate.takedown" if step == "erase_rows" else "curate.keeping.erase"
    done = getattr(erase, step)

    def killed(*arguments):
        if step != "erase_rows":
            done(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{home}.{step}", killed)
    with pytest.raises(KeyboardInterrupt):
        takedown(corpus, source, "asked for")
    monkeypatch.setattr(f"{home}.{step}", done)
    takedown(corpus, source, "asked for")
    assert verify(corpus).problems == ()
    manifest = read_manifest(corpus.filesystem, corpus.path("shards", "all"))
    assert manifest is not None and not [clip for shard in manifest["shards"] for clip in shard["clips"] if source_of(clip) == source]


def test_a_clip_that_came_to_belong_to_the_other_part_of_a_split_is_found(corpus: Corpus) -> None:
    names = corpus.table("clips")["clip_id"].to_pylist()
    alone = [{"clip_id": name, "duplicate_of": None, "duplicate_cluster": name, "duplicate_rank": 0} for name in names]
    corpus.replace("duplicates", table_of(alone, RELATIONS["duplicates"]))
    clips = corpus.table("clips", columns=READS)
    seed = next(seed for seed in range(20) if len(set(set_aside(clips, 0.5, seed).tolist())) == 2)
    parts = {part: RECIPE.model_copy(update={"name": part, "split": Split(held_out=0.5, seed=seed, part=part)}) for part in ("training", "held_out")}
    packed = {part: (select(corpus, recipe), pack(corpus, recipe))[1].clips for part, recipe in parts.items()}
    assert min(packed.values()) > 0 and sum(packed.values()) == len(names)
    assert verify(corpus, pictures=False).problems == ()
    corpus.replace("duplicates", table_of(_one_cluster(names), RELATIONS["duplicates"]))
    told = [problem for problem in verify(corpus, pictures=False).problems if "the other part of its split" in problem]
    assert len(told) == 1 and ("of shards/training" in told[0] or "of shards/held_out" in told[0])
    assert {verdict.rule for verdict in explain(corpus, parts["training"], names[0])} >= {"split"}


def test_a_split_without_a_search_for_copies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="run `clipmill deduplicate` first"):
        select(open_corpus(str(tmp_path / "new"), create=True), RECIPE.model_copy(update={"split": Split(held_out=0.5)}))


def test_a_takedowns_report_is_signed_and_a_changed_one_shows(corpus: Corpus) -> None:
    report = takedown(corpus, named(corpus, "a"), "asked for")
    path = Path(corpus.path(report.path))
    statement = checked(path.read_bytes())
    assert statement is not None and statement["clips_left"] == 0 and statement["reason"] == "asked for"
    path.write_bytes(path.read_bytes().replace(b"asked for", b"forgotten"))
    assert checked(path.read_bytes()) is None
    assert any("was changed after it was signed" in problem for problem in verify(corpus).problems)


def test_a_takedown_needs_a_known_source_and_a_reason(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="there is no source"):
        takedown(corpus, "s0", "asked for")
    with pytest.raises(CorpusError, match="needs a reason"):
        takedown(corpus, named(corpus, "a"), "  ")
    assert corpus.read("tombstones").num_rows == 0


def test_copies_in_other_sources_are_told_before_and_by_a_takedown(corpus: Corpus) -> None:
    mine, others = named(corpus, "a"), {named(corpus, "b"), named(corpus, "c")}
    clips = corpus.table("clips", columns=["source_id"])["source_id"].to_pylist()
    counts = {name: clips.count(name) for name in others}
    assert trace(corpus, "source", mine).copies == counts
    report = takedown(corpus, mine, "asked for")
    assert report.copies == counts and sum("copies of its clips: decide about it" in line for line in report.lines()) == 2
    assert trace(corpus, "source", mine).copies == {}


@pytest.mark.parametrize("key", [b"no key", b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_takedown_that_could_not_be_signed_is_refused_before_anything_is_done(corpus: Corpus, tmp_path: Path, key: bytes) -> None:
    before = files(corpus)
    (tmp_path / "key.pem").write_bytes(key)
    with pytest.raises(DocumentError, match=r"key\.pem: holds no Ed25519 key"):
        takedown(corpus, named(corpus, "a"), "asked for")
    assert files(corpus) == before


def test_the_journal_tells_what_was_done_and_shows_tampering(corpus: Corpus) -> None:
    assert [entry.verb for entry in journal.entries(corpus)] == ["add", "select", "pack", "train"]
    assert journal.problems(corpus) == []
    first = Path(corpus.path("journal", "000001"))
    first.write_text(first.read_text().replace('"files": 3', '"files": 2'))
    assert journal.problems(corpus) == ["journal: entry 1 was changed after entry 2 was written"]
    first.unlink()
    assert journal.problems(corpus) == ["journal: entry 1 is missing"]


def _cut(corpus: Corpus, entries: int) -> None:
    """Cut the last entries off, as somebody would who wants them forgotten."""
    for path in sorted(Path(corpus.path("journal")).iterdir())[-entries:]:
        path.unlink()


@pytest.mark.parametrize("entries", [1, 2, 3, 4])
def test_a_journal_whose_end_was_cut_off_shows(corpus: Corpus, entries: int) -> None:
    _cut(corpus, entries)
    problems = verify(corpus, pictures=False).problems
    assert any(f"remembers entry 4 of the journal, which ends with entry {4 - entries}" in problem for problem in problems), problems


def test_a_cut_shows_before_anything_was_packed_and_still_after_more_was_done(tmp_path: Path, made: Path) -> None:
    corpus = open_corpus(str(tmp_path / "new"), create=True)
    for name in "abc":
        add_sources(corpus, [str(made / "footage" / f"{name}.mp4")])
    assert verify(corpus).problems == ()
    _cut(corpus, 1)
    assert any("remembers entry 3" in problem for problem in verify(corpus).problems)
    for _ in range(3):
        journal.record(corpus, "add", {"files": 0})
    assert any("remembers entry 3 of the journal, which is another one now" in problem for problem in verify(corpus).problems)


def test_a_cut_that_reached_the_tables_too_shows_in_sets_reports_and_checkpoints(corpus: Corpus, made: Path) -> None:
    report = takedown(corpus, named(corpus, "a"), "asked for")
    _cut(corpus, 4)
    generation = max(Path(corpus.path("tables", "generations")).iterdir())
    generation.write_text(json.dumps({name: told for name, told in json.loads(generation.read_text()).items() if name not in ("journal", "sha256")}))
    problems = [problem for problem in verify(corpus, pictures=False).problems if "a head of the journal that is not in it" in problem]
    assert {problem.partition(":")[0] for problem in problems} == {"shards/all/MANIFEST", report.path, str(made / "checkpoint")}


def test_what_was_made_and_is_not_told_of_shows(corpus: Corpus) -> None:
    takedown(corpus, named(corpus, "a"), "asked for")
    shutil.rmtree(corpus.path("journal"))
    told = [problem for problem in verify(corpus, pictures=False).problems if "the journal does not tell of it" in problem]
    assert [problem.partition(":")[0].split()[0] for problem in told] == ["selection", "takedown", "checkpoint", "set"]


def test_an_entry_torn_by_a_power_cut_is_no_tampering_and_says_what_to_do(corpus: Corpus) -> None:
    whole = Path(corpus.path("journal", "000004")).read_bytes()
    torn = Path(corpus.path("journal", "000005"))
    for left in (b"", whole[: len(whole) // 2]):
        torn.write_bytes(left)
        (problem,) = verify(corpus, pictures=False).problems
        assert "journal/000005: is not whole" in problem and "remove it" in problem
        with pytest.raises(CorpusError, match="journal/000005: is not whole"):
            journal.record(corpus, "select", {})
    torn.unlink()
    assert journal.record(corpus, "select", {}).number == 5 and verify(corpus, pictures=False).problems == ()


def test_an_entry_that_was_whole_and_is_torn_now_is_damage(corpus: Corpus) -> None:
    last = Path(corpus.path("journal", "000004"))
    last.write_bytes(last.read_bytes()[:40])
    problems = verify(corpus, pictures=False).problems
    assert any("remembers entry 4 of the journal, which is another one now" in problem for problem in problems), problems


def test_dying_between_an_entry_and_its_remembrance_is_no_tampering(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(corpus.store, "remember_entry", lambda *told: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            journal.record(corpus, "select", {})
    assert verify(corpus, pictures=False).problems == ()
    journal.record(corpus, "select", {})
    assert verify(corpus, pictures=False).problems == ()


def test_a_training_whose_note_was_interrupted_is_told_of_the_next_time(corpus: Corpus, made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(made / "checkpoint", tmp_path / "again")
    with monkeypatch.context() as dying:
        dying.setattr("curate.trace.record", lambda *told: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            note_training(corpus.path("shards", "all"), str(tmp_path / "again"))
    for _ in range(2):
        assert note_training(corpus.path("shards", "all"), str(tmp_path / "again"))
    trained = [entry.facts["checkpoint"] for entry in journal.entries(corpus) if entry.verb == "train"]
    assert trained == [str(made / "checkpoint"), str(tmp_path / "again")]


def test_two_writers_of_the_journal_do_not_share_a_number(corpus: Corpus) -> None:
    from concurrent.futures import ThreadPoolExecutor

    before = len(journal.entries(corpus))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: journal.record(corpus, "select", {"number": number}), range(12)))
    assert [entry.number for entry in journal.entries(corpus)] == list(range(1, before + 13))
    assert journal.problems(corpus) == []


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda root: _flip(next(root.glob("shards/all/*.tar"))), "is not what was packed"),
        (lambda root: next(root.glob("shards/all/*.tar")).unlink(), "is missing; pack again"),
        (lambda root: _flip(next(root.glob("tables/loose/*/*.zip"))), "damaged"),
        (lambda root: next(root.glob("tables/parts/verdicts*/*")).unlink(), "is missing"),
        (lambda root: _flip(next(root.glob("tables/parts/selections*/*"))), "damaged"),
        (lambda root: (root / "journal" / "000001").unlink(), "entry 1 is missing"),
    ],
)
def test_verification_finds_damage_and_says_where(corpus: Corpus, damage, told: str) -> None:
    damage(Path(corpus.path()))
    problems = verify(corpus, pictures=False).problems
    assert any(told in problem for problem in problems), problems


def test_verification_counts_the_frames_of_packed_clips(corpus: Corpus) -> None:
    spans = corpus.read("spans")
    longer = spans.set_column(spans.column_names.index("end_s"), spans.schema.field("end_s"), pc.add(spans["end_s"], 0.5))
    corpus.gather()
    corpus.store.rewrite({"spans": lambda rows: longer})
    problems = verify(corpus).problems
    assert any("and its row says" in problem for problem in problems)
    assert any("do not add up" in problem or "end after their source" in problem for problem in problems)


def test_verification_recognises_the_pictures_of_packed_clips(corpus: Corpus) -> None:
    one, other = named(corpus, "a"), named(corpus, "c")

    def exchanged(rows: pa.Table) -> pa.Table:
        """What was kept of one film told of the other, which is as long: as if the wrong film had been packed."""
        images = {row["proxy_index"]: row["image"] for row in rows.to_pylist() if (row["source_id"], row["kind"]) == (other, "frame")}
        told = [row | {"image": images.get(row["proxy_index"], row["image"])} if row["source_id"] == one else row for row in rows.to_pylist()]
        return pa.Table.from_pylist(told, schema=rows.schema)

    corpus.gather()
    corpus.store.rewrite({"proxies": exchanged})
    problems = verify(corpus).problems
    assert problems and all(f"{one}-" in problem and "shows something else than frame" in problem for problem in problems), problems


TERMS = "path,license,expires\na.mp4,CC0-1.0,2030-01-31\nb.mp4,CC0-1.0,\nc.mp4,CC0-1.0,\n"


@pytest.mark.parametrize(
    ("policy", "rights", "on", "told"),
    [
        ("", {}, date(2030, 2, 1), "the rights expired on 2030-01-31"),
        ("days_left = 60\n", {}, date(2029, 12, 31), "the rights expire on 2030-01-31, and must hold for 60 days more"),
        ("", {"days_left": 60}, date(2029, 12, 31), "the rights expire on 2030-01-31, and must hold for 60 days more"),
    ],
)
def test_rights_that_ran_out_since_they_were_added_drop_out_at_the_next_select(
    corpus: Corpus, made: Path, tmp_path: Path, policy: str, rights: dict, on: date, told: str
) -> None:
    (tmp_path / "rights.csv").write_text(TERMS)
    (tmp_path / "policy.toml").write_text(f'name = "ours"\n{policy}')
    early = date(2026, 1, 1)
    add_sources(corpus, [str(made / "footage")], rights=str(tmp_path / "rights.csv"), policy=str(tmp_path / "policy.toml"), on=early)
    recipe, expiring = RECIPE.model_copy(update={"rights": RightsTerms(**rights)}), named(corpus, "a")
    whole = select(corpus, recipe, on=early)
    pack(corpus, recipe, on=early)
    with pytest.raises(CorpusError, match=rf"1 sources of the selection `all` may not be used any more, such as {expiring}: {told}; run `clipmill select"):
        pack(corpus, recipe, on=on)
    assert any(verdict.detail == told for verdict in explain(corpus, recipe, next(iter(trace(corpus, "source", expiring).clips)), on=on))
    left = select(corpus, recipe, on=on)
    ledger = [row for row in corpus.table("ledger").to_pylist() if row["source_id"] == expiring and row["clip_id"]]
    assert left.clips == whole.clips - len(ledger) and ledger
    assert {(row["outcome"], row["rule"], row["detail"]) for row in ledger} == {("rejected", "rights", told)}
    pack(corpus, recipe, on=on)
    assert expiring not in {source_of(clip) for shard in dict(manifests(corpus))["all"]["shards"] for clip in shard["clips"]}


def test_packing_refuses_no_source_for_its_rights_that_selecting_just_kept(corpus: Corpus, made: Path, tmp_path: Path) -> None:
    """A policy holds from the next addition on; what of it depends on the day, from the next selection on."""
    (tmp_path / "rights.csv").write_text(TERMS)
    add_sources(corpus, [str(made / "footage")], rights=str(tmp_path / "rights.csv"))
    Path(corpus.path("policy.toml")).write_text('name = "ours"\nrefused_licenses = ["CC0-1.0"]\n')
    assert select(corpus, RECIPE).clips == pack(corpus, RECIPE).clips


def test_rights_that_ran_out_after_packing_are_found(corpus: Corpus, made: Path, tmp_path: Path) -> None:
    listed = tmp_path / "rights.csv"
    listed.write_text("path,license,expires\na.mp4,CC0-1.0,2020-01-01\nb.mp4,CC0-1.0,\nc.mp4,CC0-1.0,\n")
    add_sources(corpus, [str(made / "footage")], rights=str(listed))
    problems = verify(corpus, pictures=False).problems
    assert any("which may not be used: the rights expired on 2020-01-01" in problem for problem in problems)
    assert len(manifests(corpus)) == 1
