"""Verbs that learn from shards: train a cascade, sample it, and compare corpora by what they train."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.progress import progress_shown
from pipelines.verbs.options import EXIT_SOME_FAILED, console, engine_named, errors
from schemas.document import DocumentError

SWEEP = "sweep"
"""The shipped experiment that a recipe is swept by, where no other is named."""


def train(
    run: Annotated[str, typer.Argument(help="A run file (TOML), or the name of a shipped one.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints, logs and samples; an interrupted run goes on from there.")] = Path("model"),
    shards: Annotated[str | None, typer.Option("--shards", help="Shards to train on, instead of those the run file names.")] = None,
    init: Annotated[str | None, typer.Option("--init", help="Where weights come from: scratch, lavie:PATH, sd:PATH, x4:PATH or run:PATH.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Over how many workers of a Ray cluster, on GPUs where the run asks for them.")] = 1,
) -> None:
    """Train the phases of a run file on packed shards: base, interpolation, super-resolution.

    Example: `clipmill train my-run.toml --shards corpus/shards/strict --out model`
    """
    from pipelines.train import train_shards

    with progress_shown(console) as listener:
        checkpoint = train_shards(run, shards, out, init=init, workers=workers, listener=listener)
    console.print(f"checkpoint  {escape(str(checkpoint))}")


def sample(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="A folder that `clipmill train` made.", show_default=False)],
    prompt: Annotated[str, typer.Option("--prompt", help="What the video should show.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The MP4 file to write.", show_default=False)],
    negative: Annotated[str, typer.Option("--negative", help="What it should not show.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same video.")] = 0,
    steps: Annotated[int, typer.Option("--steps", help="Sampling steps per stage.")] = 25,
    guidance: Annotated[float, typer.Option("--guidance", help="Classifier-free guidance scale; 1 is none.")] = 4.0,
    upto: Annotated[str, typer.Option("--upto", help="Last stage to run: base, interpolation or vsr.")] = "vsr",
) -> None:
    """Make a video from text with a trained cascade.

    Example: `clipmill sample --checkpoint model --prompt "a rabbit in a meadow" --out rabbit.mp4`
    """
    from pipelines.train import sample_video

    with progress_shown(console) as listener:
        sample_video(checkpoint, prompt, out, negative=negative, seed=seed, steps=steps, guidance=guidance, upto=upto, listener=listener)
    console.print(escape(str(out)))


def ablate(
    experiment: Annotated[str | None, typer.Argument(help="An experiment file (TOML), or the name of a shipped one.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for everything it makes, ablations/NAME by default; what is there is used.")] = None,
    corpus: Annotated[str | None, typer.Option("--corpus", "-c", help="The corpus, instead of the one the experiment names.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would do: arms, clips, hours, overlaps, time, warnings.")] = False,
    sweep: Annotated[str | None, typer.Option("--sweep", help="A recipe: make the arms from it, leaving one rule out and using one rule only.")] = None,
    on: Annotated[str | None, typer.Option("--on", help="Where to run: `here`, `ray` or `auto`, instead of where the experiment says.")] = None,
) -> None:
    """Train the same model on several corpora at equal cost, and say which is better, with its uncertainty.

    Example: `clipmill ablate my-experiment.toml --corpus corpus --plan`
    """
    from pipelines.ablate import ablate as run_ablation

    chosen = experiment or (SWEEP if sweep else None)
    if chosen is None:
        raise DocumentError("ablate: give an experiment file, or --sweep with a recipe from which the arms are made")
    where = engine_named(on) if on else None
    with progress_shown(console) as listener:
        result = run_ablation(chosen, out, corpus=corpus, plan_only=plan, sweep=sweep, on=where, listener=listener)
    for verdict in result.verdicts:
        console.print(escape(verdict))
    for failure in result.failures:
        errors.print(f"[yellow]failed[/yellow] {escape(failure)}")
    if result.report is not None:
        console.print(f"report  {escape(str(result.report))}")
    if result.failures:
        raise typer.Exit(EXIT_SOME_FAILED)
