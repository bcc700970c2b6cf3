"""Verbs that learn from shards: train a cascade, sample it, and compare corpora by what they train."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from pipelines.progress import progress_shown
from pipelines.verbs.options import EXIT_SOME_FAILED, console, engine_named, errors, plain
from schemas.document import DocumentError

Number = TypeVar("Number", int, float)
INIT_HELP = (
    "First weights: lavie:PATH (a published .pt, or the folder of all three), sd:DIR and x4:DIR (Stable Diffusion 1.4 and the x4 upscaler in diffusers' "
    "layout; both as sd:DIR,x4:DIR), run:DIR (an earlier run), or scratch."
)
SWEEP = "sweep"
"""The shipped experiment that a recipe is swept by, where no other is named."""


def train(
    run: Annotated[str, typer.Argument(help="A run file (TOML), or the name of a shipped one.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints, logs and samples; an interrupted run goes on from there.")] = Path("model"),
    shards: Annotated[str | None, typer.Option("--shards", help="Shards to train on, instead of those the run file names.")] = None,
    init: Annotated[str | None, typer.Option("--init", help=INIT_HELP)] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Over how many workers of a Ray cluster, on GPUs where the run asks for them.")] = 1,
) -> None:
    """Train the phases of a run file on packed shards: base, interpolation, super-resolution.

    Example: `clipmill train my-run.toml --shards corpus/shards/strict --out model`
    """
    from pipelines.train import train_shards

    with progress_shown(console) as listener:
        checkpoint = train_shards(run, shards, out, init=init, workers=workers, listener=listener)
    console.print(f"checkpoint  {plain(str(checkpoint))}")


def sample(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="A folder that `clipmill train` made.", show_default=False)],
    prompt: Annotated[str, typer.Option("--prompt", help="What the video should show.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The MP4 file to write.", show_default=False)],
    negative: Annotated[str, typer.Option("--negative", help="What it should not show.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same video.")] = 0,
    steps: Annotated[
        str, typer.Option("--steps", help="Sampling steps of the base; later stages of small presets take a quarter. Or each: base=50,interpolation=5,vsr=5.")
    ] = "25",
    guidance: Annotated[
        str, typer.Option("--guidance", help="Classifier-free guidance scale of the base, 1 is none. Or of each stage: base=7.5,interpolation=4,vsr=5.")
    ] = "4",
    rescale: Annotated[float, typer.Option("--rescale", min=0, max=1, help="How far guided answers get back the spread of unguided ones.")] = 0.0,
    sampler: Annotated[str | None, typer.Option("--sampler", help="ddpm, ddim, euler or dpm (DPM-Solver++); stages trained on flow keep euler.")] = None,
    longer: Annotated[int, typer.Option("--longer", min=0, help="How often to go on from the last frame; needs a base trained with first_frame.")] = 0,
    upto: Annotated[str, typer.Option("--upto", help="Last stage to run: base, interpolation or vsr.")] = "vsr",
) -> None:
    """Make a video from text with a trained cascade, signed as generated and by which checkpoint.

    Example: `clipmill sample --checkpoint model --prompt "a rabbit in a meadow" --out rabbit.mp4`
    """
    from pipelines.train import Asking, sample_video

    asking = Asking(negative, seed, per_stage("--steps", steps, int), per_stage("--guidance", guidance, float), rescale, sampler, longer, upto)
    with progress_shown(console) as listener:
        sample_video(checkpoint, prompt, out, asking, listener)
    console.print(plain(str(out)))


def per_stage(option: str, given: str, kind: Callable[[str], Number]) -> Number | dict[str, Number]:
    """One number, or a number for each stage that is named."""
    try:
        if "=" not in given:
            return kind(given)
        return {stage.strip(): kind(number) for stage, number in (part.split("=") for part in given.split(","))}
    except ValueError:
        raise DocumentError(f"{option} {given}: give a number, or one for each stage, such as base=50,interpolation=5,vsr=5") from None


def evaluate(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="A folder that `clipmill train` made.", show_default=False)],
    shards: Annotated[str, typer.Option("--shards", help="Packed clips that it was not trained on.", show_default=False)],
    clips: Annotated[int, typer.Option("--clips", min=2, help="How many of them, the first in packing order.")] = 16,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Sampling steps of the base.")] = 20,
    guidance: Annotated[float, typer.Option("--guidance", help="Guidance scale of the base.")] = 3.0,
    out: Annotated[Path | None, typer.Option("--out", help="A Parquet file for the same numbers.")] = None,
) -> None:
    """Measure a trained cascade on held-out clips: every stage, against the truth and the plain answer, with 95 % intervals.

    Example: `clipmill evaluate --checkpoint model --shards corpus/shards/held-out`
    """
    import pyarrow.parquet as pq

    from train.evaluate import score_cascade

    with progress_shown(console) as listener:
        scores = score_cascade(checkpoint, shards, most_clips=clips, steps=steps, guidance=guidance, listener=listener)
    for row in scores.to_pylist():
        interval = f"{row['low']:.4g} to {row['high']:.4g}, {row['count']} clips"
        console.print(f"{row['stage']:<14}{row['metric']:<30}{row['value']:>10.4g}  ({interval})")
    if out is not None:
        pq.write_table(scores, out)


def convert(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="A folder that `clipmill train` made.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for lavie_base.pt, lavie_interpolation.pt and lavie_vsr.pt.", show_default=False)],
) -> None:
    """Write a trained cascade's networks in LaVie's published layout, which LaVie's own code and `--init lavie:DIR` read.

    Example: `clipmill convert --checkpoint model --out lavie`
    """
    from train.cascade import open_cascade
    from train.lavie import PUBLISHED_NAMES, export_published

    cascade = open_cascade(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    for stage in cascade.stages:
        export_published(getattr(cascade, stage), out / PUBLISHED_NAMES[stage])
        console.print(plain(str(out / PUBLISHED_NAMES[stage])))


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
        console.print(plain(verdict))
    for failure in result.failures:
        errors.print(f"[yellow]failed[/yellow] {plain(failure)}")
    if result.report is not None:
        console.print(f"report  {plain(str(result.report))}")
    if result.failures:
        raise typer.Exit(EXIT_SOME_FAILED)
