"""Verbs that keep things in order: where a clip came from, taking it out again, checking what is on disk, models, this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipelines.progress import progress_shown
from pipelines.verbs.options import EXIT_SOME_FAILED, CorpusOption, ModelsOption, console, errors, plain
from schemas.document import DocumentError

models = typer.Typer(name="models", help="Which weights there are, where they come from, and whether they are what they claim.", no_args_is_help=True)


def trace(
    corpus: CorpusOption,
    source: Annotated[str | None, typer.Option("--source", help="A source's id.")] = None,
    clip: Annotated[str | None, typer.Option("--clip", help="A clip's id.")] = None,
    shard: Annotated[str | None, typer.Option("--shard", help="A shard, as SELECTION/shard-000000.tar.")] = None,
    checkpoint: Annotated[str | None, typer.Option("--checkpoint", help="A checkpoint's folder.")] = None,
) -> None:
    """Follow a source, clip, shard or checkpoint both ways: where it came from, and where it went.

    Example: `clipmill trace --corpus corpus --clip CLIP_ID`
    """
    from curate.corpus import open_corpus
    from curate.trace import Kind
    from curate.trace import trace as follow

    asked: dict[Kind, str | None] = {"source": source, "clip": clip, "shard": shard, "checkpoint": checkpoint}
    given = [(kind, identity) for kind, identity in asked.items() if identity is not None]
    if len(given) != 1:
        raise DocumentError("trace: give exactly one of --source, --clip, --shard, --checkpoint")
    ((kind, identity),) = given
    for line in follow(open_corpus(corpus), kind, identity).lines():
        console.print(plain(line))


def takedown(
    corpus: CorpusOption,
    source: Annotated[str, typer.Option("--source", help="The source's id.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is written into the signed report.", show_default=False)],
) -> None:
    """Remove a source from everything: shards, proxies, vectors, captions; say which checkpoints have seen it; sign a report.

    Example: `clipmill takedown --corpus corpus --source SOURCE_ID --reason "withdrawn by its owner"`
    """
    from curate.corpus import open_corpus
    from curate.takedown import takedown as take_down

    for line in take_down(open_corpus(corpus), source, reason).lines():
        console.print(plain(line))


def verify(corpus: CorpusOption) -> None:
    """Check everything on disk: digests, counts, seconds, and that packed clips are what their rows say.

    Example: `clipmill verify --corpus corpus`
    """
    from curate.corpus import open_corpus
    from curate.verify import verify as check

    problems = check(open_corpus(corpus)).problems
    for problem in problems:
        errors.print(f"[red]wrong[/red] {plain(problem)}")
    console.print("all well" if not problems else f"{len(problems)} problems")
    if problems:
        raise typer.Exit(EXIT_SOME_FAILED)


def doctor() -> None:
    """Look at this machine: packages, ffmpeg, models, cores, memory, disk, GPU."""
    from pipelines.doctor import examine

    table = Table(box=None, padding=(0, 2), show_header=False)
    findings = examine()
    for finding in findings:
        mark = "[green]ok[/green]" if not finding.advice else "[red]missing[/red]" if finding.needed else "[yellow]note[/yellow]"
        table.add_row(mark, plain(finding.what), plain(finding.found), plain(finding.advice))
    console.print(table)
    if any(finding.needed and finding.advice for finding in findings):
        raise typer.Exit(1)


@models.command(name="list")
def models_list(models_dir: ModelsOption = None) -> None:
    """Every model by name: what it is for, its size and licence, and whether it is on this machine."""
    from curate.models import list_models

    table = Table(box=None, padding=(0, 2))
    for column in ("model", "for", "licence", "MB", "sha256", "here"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for row in list_models(models_dir):
        size, digest = f"{row['bytes'] / 1e6:.1f}" if row["bytes"] else "?", row["sha256"][:12] if row["sha256"] else "not pinned"
        table.add_row(row["name"], plain(row["purpose"]), plain(row["licence"]), size, digest, "yes" if row["present"] else "no")
    console.print(table)


@models.command(name="fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="A name that `clipmill models list` shows.", show_default=False)],
    models_dir: Annotated[Path, typer.Option("--models-dir", help="Folder to put the files in.", show_default=False)],
) -> None:
    """Copy or download a model's files, and check their digests. One that is not known beforehand is pinned, and held against the file ever after."""
    from curate.models import fetch_model

    with progress_shown(console) as listener:
        files = fetch_model(name, models_dir, listener)
    for file in files:
        console.print(plain(str(file)))


@models.command(name="verify")
def models_verify(
    name: Annotated[str, typer.Argument(help="A name that `clipmill models list` shows.", show_default=False)], models_dir: ModelsOption = None
) -> None:
    """Compare a model's files with the digests that clipmill knows."""
    from curate.models import verify_model

    rows = verify_model(name, models_dir)
    for row in rows:
        console.print(f"{row['state']:<8} {plain(row['file'])}  {plain(str(row['path'] or ''))}")
    if any(row["state"] != "ok" for row in rows):
        raise typer.Exit(EXIT_SOME_FAILED)
