"""The verb that looks clips up: by what a text says, or by another clip."""

import dataclasses
import json
from typing import Annotated

import typer
from rich.table import Table

from pipelines.verbs.options import CorpusOption, ModelsOption, console, plain
from schemas.document import DocumentError


def search(
    corpus: CorpusOption,
    text: Annotated[str | None, typer.Option("--text", help="What to look for, in words.")] = None,
    like: Annotated[str | None, typer.Option("--like", help="A clip's id: look for clips that show what it shows.")] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many clips to show.")] = 10,
    by: Annotated[str | None, typer.Option("--by", help="Whose vectors: clip_l14 or efficientnet; the best there is by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: maker, how many clips were compared, and the hits.")] = False,
    models_dir: ModelsOption = None,
) -> None:
    """Find the clips nearest to a text or to another clip, by the vectors that scoring kept. Touches no video.

    By CLIP's vectors (profile `laion`) a text is compared as CLIP compares; by EfficientNet's (profile `embedded`) through a thousand
    nouns, so name the thing to look for.

    Example: `clipmill search --corpus corpus --text "a dog on a beach" --top 20`
    """
    from curate.corpus import open_corpus
    from curate.search import search as look_up

    if (text is None) == (like is None):
        raise DocumentError("search: give either --text WORDS or --like CLIP_ID")
    found = look_up(open_corpus(corpus), text=text, like=like, top=top, network=by, models_dir=models_dir)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), ensure_ascii=False, indent=2))
        return
    table = Table(box=None, padding=(0, 2), title=f"{len(found.hits)} of {found.clips} clips, by {found.maker}", title_justify="left")
    for column in ("score", "clip", "from s", "to s", "source"):
        table.add_column(column, justify="left" if column in ("clip", "source") else "right", overflow="fold")
    for hit in found.hits:
        span = ["" if moment is None else f"{moment:.2f}" for moment in (hit.start_s, hit.end_s)]
        table.add_row(f"{hit.score:.4f}", hit.clip_id, *span, plain(hit.uri or hit.source_id))
    console.print(table)
