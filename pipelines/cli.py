"""The command `clipmill`: its verbs in the order of the work, and how a mistake ends it."""

import typer

from pipelines.verbs import curating, keeping, searching, training
from pipelines.verbs.mistakes import mistakes_said_plainly

VERBS = {
    "Make a corpus": (curating.curate, curating.add, curating.measure, curating.caption, curating.deduplicate, curating.select, curating.pack),
    "Look at it": (curating.report, searching.search, curating.calibrate, curating.export),
    "Train and compare": (training.train, training.sample, training.evaluate, training.convert, training.ablate),
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
    with mistakes_said_plainly():
        app()


if __name__ == "__main__":
    main()
