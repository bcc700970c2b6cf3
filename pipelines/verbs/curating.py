"""Verbs that make a corpus: the whole chain, and each of its steps alone."""

from typing import Annotated

import typer

from curate import select as selecting
from curate.calibrate import calibrate as compare_scorers
from curate.caption import caption_corpus
from curate.captioners import captioner_named
from curate.copies.semantic import find_alike
from curate.corpus import open_corpus
from curate.deduplicate import deduplicate as find_duplicates
from curate.divide import Lengths
from curate.engine import choose_engine
from curate.pack import pack as pack_shards
from curate.read import Splitter
from curate.shots import DETECTORS
from curate.sources import add_sources
from pipelines import curate as steps
from pipelines.progress import progress_shown
from pipelines.report import write_report
from pipelines.verbs.options import (
    CaptionersOption,
    CorpusOption,
    FootageArgument,
    MarksOption,
    ModelsOption,
    OnOption,
    PolicyOption,
    ProfileOption,
    RecipeOption,
    RightsOption,
    console,
    end_with_failures,
    engine_named,
    funnel_shown,
    heeded,
    one_of,
    plain,
    profile_named,
)
from schemas.recipe import read_recipe

MARKS = {True: "[green]passes[/green]", False: "[red]fails [/red]", None: "not reached"}


def curate(
    footage: FootageArgument,
    corpus: CorpusOption,
    rights: RightsOption = None,
    policy: PolicyOption = None,
    recipe: RecipeOption = "default",
    profile: ProfileOption = "embedded",
    by: CaptionersOption = None,
    on: OnOption = "auto",
    models_dir: ModelsOption = None,
    allowed_marks: MarksOption = None,
) -> None:
    """Footage in, shards out: add, measure, caption, deduplicate, select, pack and report.

    Example: `clipmill curate footage/ --corpus corpus --rights rights.csv --recipe strict`
    """
    wanted = read_recipe(recipe)
    captioners = [captioner_named(each) for each in by] if by else None
    with progress_shown(console) as listener:
        made = steps.curate(
            footage,
            corpus,
            wanted,
            rights=rights,
            policy=policy,
            profile=profile_named(profile),
            on=engine_named(on),
            listener=listener,
            models_dir=models_dir,
            captioners=captioners,
            warn=heeded,
        )
        report = write_report(made.corpus, made.selection.name)
    console.print(funnel_shown(made.selection))
    console.print(f"shards  {plain(str(made.shards.folder))}\nreport  {plain(report)}")
    end_with_failures(made.corpus, made.shards.failed)


def add(footage: FootageArgument, corpus: CorpusOption, rights: RightsOption = None, policy: PolicyOption = None) -> None:
    """Find footage, identify it by content, read its headers and join its rights. Nothing is decoded.

    Example: `clipmill add footage/ s3://bucket/more --corpus corpus --rights rights.csv`
    """
    with progress_shown(console) as listener:
        opened = open_corpus(corpus, create=True)
        report = add_sources(opened, footage, rights, policy, listener)
    console.print(report.summary())
    for warning in report.warnings:
        heeded(warning)
    end_with_failures(opened)


def measure(
    corpus: CorpusOption,
    profile: ProfileOption = "embedded",
    on: OnOption = "auto",
    only: Annotated[str | None, typer.Option("--only", help="One scorer, run on the proxies of what was read before; decodes nothing.")] = None,
    detector: Annotated[str, typer.Option("--detector", help=f"How shots are found: {', '.join(DETECTORS)}.")] = "cascade",
    clip_s: Annotated[float, typer.Option("--clip-s", min=0.5, help="Length of the clips into which long shots are divided, in seconds.")] = 5.0,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Pictures kept of each clip, for scorers, captioners and people.")] = 4,
    picture_side: Annotated[int, typer.Option("--picture-side", min=64, max=640, help="Their longer side, in pixels.")] = 512,
    again: Annotated[bool, typer.Option("--again", help="Read again what was split in another way, and forget what was made of it.")] = False,
    models_dir: ModelsOption = None,
    allowed_marks: MarksOption = None,
) -> None:
    """Decode each source once: shots, clips, motion, overlays, proxies. Then score the proxies.

    Example: `clipmill measure --corpus corpus --only technical`
    """
    with progress_shown(console) as listener:
        opened = open_corpus(corpus)
        splitter = Splitter(one_of("--detector", detector, tuple(DETECTORS)), Lengths(target_s=clip_s, maximum_s=2 * clip_s), pictures, picture_side)
        steps.measure(opened, profile_named(profile), engine_named(on), only=only, splitter=splitter, again=again, listener=listener, models_dir=models_dir)
    console.print(f"{opened.table('clips').num_rows} clips in {plain(corpus)}")
    end_with_failures(opened)


def caption(
    corpus: CorpusOption,
    profile: ProfileOption = "embedded",
    on: OnOption = "auto",
    by: CaptionersOption = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What vlm and openai captioners ask about the pictures.")] = None,
    price_in: Annotated[float | None, typer.Option("--price-in", min=0.0, help="Of openai captioners: money per million tokens sent.")] = None,
    price_out: Annotated[float | None, typer.Option("--price-out", min=0.0, help="Of openai captioners: money per million tokens received.")] = None,
    models_dir: ModelsOption = None,
) -> None:
    """Write captions for clips that have none, and the scores that need a caption.

    Example: `clipmill caption --corpus corpus --by openai:http://localhost:8000/v1#MODEL --price-in 0.2 --price-out 0.6`
    """
    opened = open_corpus(corpus)
    run = choose_engine(engine_named(on), steps.footage_s(opened))
    given = {name: value for name, value in (("prompt", prompt), ("price_in", price_in), ("price_out", price_out)) if value is not None}
    captioners = [captioner_named(each, given) for each in by] if by else None
    with progress_shown(console) as listener:
        told = caption_corpus(opened, captioners, profile_named(profile), run, listener, models_dir)
    console.print(plain(told.summary()))


def calibrate(
    corpus: CorpusOption,
    source: Annotated[str, typer.Option("--from", help="The scorer that the threshold was tuned for.", show_default=False)],
    target: Annotated[str, typer.Option("--to", help="The scorer to carry it to.", show_default=False)],
    threshold: Annotated[float, typer.Option("--threshold", help="The threshold to carry.", show_default=False)],
    column: Annotated[str, typer.Option("--column", help="The column of clips that both write.")] = "aesthetic",
) -> None:
    """Carry a threshold from one scorer's scale to another's, by the quantiles of both over the same clips.

    Example: `clipmill calibrate --corpus corpus --from laion_v2 --to handcrafted --threshold 5`
    """
    console.print(plain(compare_scorers(open_corpus(corpus), column, source, target).summary(threshold)))


def deduplicate(
    corpus: CorpusOption,
    mirror: Annotated[bool, typer.Option("--mirror", help="Also find mirrored copies.")] = False,
    semantic: Annotated[
        float | None,
        typer.Option("--semantic", min=0.0, max=1.0, help="Also cluster clips that show alike things: those whose vectors have at least this cosine."),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Whose vectors: clip_l14 or efficientnet; the best there is by default.")] = None,
    on: OnOption = "auto",
) -> None:
    """Find near-duplicates and name the best copy of each. Removing them is the recipe's decision.

    Example: `clipmill deduplicate --corpus corpus --mirror --semantic 0.95`
    """
    opened = open_corpus(corpus)
    with progress_shown(console) as listener:
        report = find_duplicates(opened, mirror=mirror, run=choose_engine(engine_named(on), steps.footage_s(opened)), listener=listener)
        alike = None if semantic is None else find_alike(opened, semantic, by, listener)
    console.print(f"{report.clips} clips; {report.duplicates} are copies of others, in {report.clusters} clusters")
    if alike is not None:
        console.print(f"{alike.alike} of {alike.clips} are alike to better ones, in {alike.clusters} clusters, by {alike.maker}")


def select(
    corpus: CorpusOption,
    recipe: RecipeOption = "default",
    explain: Annotated[str | None, typer.Option("--explain", help="A clip's id: say what each rule of the recipe makes of it.")] = None,
) -> None:
    """Decide which clips a recipe keeps, and write the ledger of every second. Touches no video.

    Example: `clipmill select --corpus corpus --recipe my.toml --explain CLIP_ID`
    """
    opened, wanted = open_corpus(corpus), read_recipe(recipe)
    if explain is not None:
        for verdict in selecting.explain(opened, wanted, explain):
            console.print(f"{MARKS[verdict.passes]} {plain(f'{verdict.rule} {verdict.wants}')}  {plain(verdict.detail or '')}")
        return
    console.print(funnel_shown(selecting.select(opened, wanted)))


def pack(corpus: CorpusOption, recipe: RecipeOption = "default", on: OnOption = "auto") -> None:
    """Cut and encode the clips that a recipe keeps, into WebDataset shards with their rights.

    Example: `clipmill pack --corpus corpus --recipe my.toml`
    """
    wanted = read_recipe(recipe)
    with progress_shown(console) as listener:
        opened = open_corpus(corpus)
        report = pack_shards(opened, wanted, run=choose_engine(engine_named(on), steps.footage_s(opened)), listener=listener)
    console.print(f"{report.clips} clips in {len(report.shards)} shards, {report.bytes / 1e6:.1f} MB: {plain(str(report.folder))}")
    end_with_failures(opened, report.failed)


def report(
    corpus: CorpusOption, selection: Annotated[str | None, typer.Option("--selection", help="Which selection to show; the last one made by default.")] = None
) -> None:
    """Write report.html: what came in, what was kept, what was not and why, in one self-contained page.

    Example: `clipmill report --corpus corpus`
    """
    console.print(plain(write_report(open_corpus(corpus), selection)))


def export(corpus: CorpusOption, to: Annotated[str, typer.Option("--to", help="Folder for the Parquet files.", show_default=False)]) -> None:
    """Write the tables as plain Parquet files.

    Example: `clipmill export --corpus corpus --to tables/`
    """
    for path in open_corpus(corpus).export(to):
        console.print(plain(str(path)))
