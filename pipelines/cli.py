"""The command `clipmill`: its verbs in the order of the work, and how a mistake ends it."""

import sys

import typer
from rich.markup import escape

from curate.corpus import CorpusError
from curate.models import ModelError
from curate.score import ScoreError
from pipelines.demo.footage import DemoFootageMissing
from pipelines.verbs import curating, keeping, training
from pipelines.verbs.options import EXIT_INTERRUPTED, EXIT_MISTAKE, errors
from schemas.document import DocumentError

MISTAKES = (DocumentError, CorpusError, ModelError, ScoreError, DemoFootageMissing)
"""What a person can put right; each message says what was wrong, where, and what to do."""

VERBS = {
    "Make a corpus": (curating.curate, curating.add, curating.measure, curating.caption, curating.deduplicate, curating.select, curating.pack),
    "Look at it": (curating.report, curating.export),
    "Train and compare": (training.train, training.sample, training.ablate),
    "Keep it in order": (keeping.trace, keeping.takedown, keeping.verify, keeping.doctor),
}

app = typer.Typer(
    name="clipmill",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn licensed footage into text-video shards, train a cascade on them, and prove which corpus trains the better model.\n\n"
    "Start with `clipmill curate FOOTAGE --corpus DIR`. Every step resumes: after an interruption, run the same command again.\n\n"
    "Exit codes: 0 all well; 2 a mistake in the command or a document; 3 finished, but some inputs failed; 1 a defect of clipmill.",
)
for panel, verbs in VERBS.items():
    for verb in verbs:
        app.command(rich_help_panel=panel)(verb)
app.add_typer(keeping.models, rich_help_panel="Keep it in order")


def main() -> None:
    """Run the command, turning mistakes into plain words and exit codes."""
    try:
        app()
    except MISTAKES as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(EXIT_MISTAKE)
    except KeyboardInterrupt:
        errors.print("interrupted; run the same command again to go on from here")
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
