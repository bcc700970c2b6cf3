"""What people read when something is wrong: what it is, where, and what to do; never a traceback, and never a line that another program cannot use."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipelines.cli import app
from pipelines.verbs.curating import add
from pipelines.verbs.mistakes import mistakes_said_plainly
from pipelines.verbs.options import EXIT_INTERRUPTED, EXIT_MISTAKE, FAILURES_SHOWN, plain


@pytest.fixture
def said(capsys):
    """Runs a command that is to end as a mistake; what it said."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended, mistakes_said_plainly():
            app([str(argument) for argument in arguments], standalone_mode=False)
        assert ended.value.code == EXIT_MISTAKE
        return " ".join(capsys.readouterr().err.split())

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus with nothing in it, packed under the name `everything`."""
    (tmp_path / "footage").mkdir()
    for verb in (["add", tmp_path / "footage"], ["select", "--recipe", "everything"], ["pack", "--recipe", "everything"]):
        app([str(argument) for argument in [*verb, "--corpus", tmp_path / "corpus"]], standalone_mode=False)
    return tmp_path / "corpus"


@pytest.mark.parametrize("url", ["nope://bucket/corpus", "memory://nowhere/corpus"])
def test_storage_that_cannot_be_reached_is_named(said, url):
    assert url in said("verify", "--corpus", url)


def test_a_file_where_the_corpus_should_be_is_named(said, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "name another folder" in said("add", tmp_path / "file", "--corpus", tmp_path / "file" / "corpus")
    assert "name another folder" in said("add", tmp_path / "file", "--corpus", tmp_path / "file")


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("corpus.toml", "restore it"),
        ("policy.toml", "state the policy again"),
        ("shards/everything/MANIFEST", "clipmill pack"),
    ],
)
def test_a_damaged_document_of_a_corpus_is_named_with_what_to_do(said, corpus, file, advice):
    (corpus / file).write_text("{")
    told = said("pack", "--corpus", corpus, "--recipe", "everything")
    assert str(corpus / file) in told and advice in told


def test_a_manifest_that_leaves_something_unsaid_is_named(said, corpus):
    manifest = corpus / "shards" / "everything" / "MANIFEST"
    manifest.write_text(manifest.read_text().replace('"shards"', '"shardz"'))
    assert "does not tell shards" in said("pack", "--corpus", corpus, "--recipe", "everything")


def test_an_empty_corpus_is_told_to_add_footage_not_to_loosen_rules(corpus, capsys):
    app(["select", "--corpus", str(corpus), "--recipe", "strict"], standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "no clips yet" in told and "loosen" not in told


def test_a_damaged_table_is_named(said, corpus):
    for part in (corpus / "tables" / "parts" / "added").iterdir():
        part.write_bytes(b"PAR1 no more")
        told = said("select", "--corpus", corpus)
        assert str(part) in told and "is damaged" in told and "clipmill verify" in told
        part.unlink()
    assert "is missing" in said("select", "--corpus", corpus)


def test_a_full_disk_or_a_folder_that_may_not_be_written_is_no_defect(said, corpus, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr("curate.storage.atomic.os.fsync", refuse)
    told = said("select", "--corpus", corpus)
    assert "somewhere: No space left on device" in told and "run the same command again" in told


def test_an_interruption_says_how_to_go_on(corpus, monkeypatch, capsys):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("curate.verify.verify", interrupt)
    with pytest.raises(SystemExit) as ended, mistakes_said_plainly():
        app(["verify", "--corpus", str(corpus)])
    assert ended.value.code == EXIT_INTERRUPTED and "run the same command again" in capsys.readouterr().err


def test_thousands_of_failures_do_not_bury_what_was_said_before(tmp_path, capsys):
    (tmp_path / "footage").mkdir()
    for number in range(FAILURES_SHOWN + 7):
        (tmp_path / "footage" / f"{number}.txt").write_text(f"no film {number}")
    with pytest.raises(typer.Exit):
        add([str(tmp_path / "footage")], str(tmp_path / "corpus"))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == FAILURES_SHOWN + 1 and "failed 7 more; `clipmill export` tells all" in told[-1]


def test_what_a_name_holds_stays_text_on_one_line():
    assert plain("new\nline \x1b[31mred [bold]not bold[/bold]") == r"new\nline \x1b[31mred \[bold]not bold\[/bold]"


def test_piped_lines_are_never_broken(corpus, tmp_path):
    long = tmp_path / ("a" * 60) / ("b" * 60)
    command = [sys.executable, "-m", "pipelines.cli", "export", "--corpus", str(corpus), "--to", str(long)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert str(long / "sources.parquet") in shown
