"""Select: a recipe over the whole corpus; writes which clips it keeps, its ledger and its funnel. Touches no video."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus, CorpusError
from curate.deciding.decide import SOURCE_COLUMNS, Decision, columns_read, decide, in_words, verdicts, with_sides
from curate.deciding.draw import draws
from curate.deciding.funnel import Step, funnel_table
from curate.deciding.makers import check_scorers
from curate.deciding.rules import REASONS
from curate.footage.quarantine import policy_of
from curate.footage.standing import in_force, no_longer_usable
from curate.storage.journal import record
from curate.storage.memory import plain_memory
from schemas.recipe import Recipe


@dataclass(frozen=True)
class Selection:
    """What a recipe kept.

    Attributes:
        name: under which `selections/NAME`, `recipes/NAME`, `verdicts/NAME` and `funnels/NAME` were written.
        clips: clips kept, images included.
        hours: hours kept.
        funnel: what each rule rejected, alone and in order.
    """

    name: str
    clips: int
    hours: float
    funnel: tuple[Step, ...]


@dataclass(frozen=True)
class Verdict:
    """What one rule says of one clip.

    Attributes:
        rule: what the ledger calls it.
        wants: what it asks.
        passes: whether the clip passes; None where an earlier rule left nothing to draw from.
        detail: in words and numbers, why not.
    """

    rule: str
    wants: str
    passes: bool | None
    detail: str | None


def select(corpus: Corpus, recipe: Recipe, *, name: str | None = None, without: frozenset[str] = frozenset(), on: date | None = None) -> Selection:
    """Decide what a recipe keeps and write it down under `name` (the recipe's when None).

    Args:
        without: clusters of duplicates that may not be kept, such as `held_out_clusters` gives.
        on: the day on which rights must hold; today when None.

    Raises:
        DocumentError: the recipe was tuned for another scorer than measured the corpus, or requires one that never ran.
    """
    name = name or recipe.name
    with plain_memory():
        decision = _decision(corpus, recipe, without, on)
        told = {"verdicts": decision.verdicts.pieces(), "selections": decision.selection, "funnels": funnel_table(decision.funnel)}
        told |= {"recipes": pa.table({"recipe": [recipe.model_dump_json()]})}
        corpus.replace_together({f"{family}/{name}": rows for family, rows in told.items()}, frozenset([f"verdicts/{name}"]))
    record(corpus, "select", {"name": name, "recipe": recipe.name, "clips": decision.selection.num_rows})
    return Selection(name, decision.selection.num_rows, decision.funnel[-1].left_hours, decision.funnel)


def explain(corpus: Corpus, recipe: Recipe, clip_id: str, *, without: frozenset[str] = frozenset(), on: date | None = None) -> list[Verdict]:
    """Why a recipe keeps a clip or not: each rule's verdict, in order.

    Raises:
        CorpusError: there is no such clip.
        DocumentError: as `select`.
    """
    with plain_memory():
        decision = _decision(corpus, recipe, without, on)
    clips = with_sides(corpus.table("clips", columns=sorted(columns_read(recipe) | {"clip_id", REASONS})), recipe)
    clip = clips.filter(pc.field("clip_id") == clip_id)
    if not clip.num_rows:
        raise CorpusError(f"{corpus.url}: there is no clip `{clip_id}`; `clipmill export` writes a table of those there are")
    told_of = decision.verdicts.table()
    at = pc.equal(told_of["start_frame"], clip["start_frame"][0])
    found = in_words(told_of.filter(at)).filter(pc.field("clip_id") == clip_id).to_pylist()
    judged = verdicts(_in_force(corpus, recipe), clip, _sources(corpus), on=on or _today(), without=without)
    told = [Verdict(rule.name, rule.wants, detail is None, detail) for rule, detail in judged]
    decided_by, reached = found[0]["rule"], all(verdict.passes for verdict in told)
    for draw in draws(recipe):
        failed = reached and draw.name == decided_by
        told.append(Verdict(draw.name, draw.wants, not failed if reached else None, found[0]["detail"] if failed else None))
        reached = reached and not failed
    return told


def selected_by(corpus: Corpus, recipe: Recipe, name: str, on: date | None = None) -> None:
    """Make sure that a selection is this recipe's, and that the rights of its sources still hold; how clips are encoded and described does not matter.

    Raises:
        CorpusError: nothing was selected under that name, or by a recipe that decides otherwise, or sources of it may not be used on the day.
    """
    again = f"run `clipmill select --recipe {recipe.name}` first"
    if f"selections/{name}" not in corpus.names("selections/"):
        raise CorpusError(f"{corpus.url}: nothing was selected as `{name}` yet; {again}")
    made = Recipe.model_validate_json(corpus.read(f"recipes/{name}")["recipe"][0].as_py())
    if _deciding(made) != _deciding(recipe):
        raise CorpusError(f"{corpus.url}: the selection `{name}` was made by another recipe, or another version of it; {again}")
    kept = corpus.read(f"selections/{name}", ["clip_id"])
    clips = (clip for batch in kept.to_batches(max_chunksize=8192) for clip in batch["clip_id"].to_pylist())
    refused = list(no_longer_usable(corpus, clips, recipe.rights, on or _today()))
    if refused:
        told = f"{len(refused)} sources of the selection `{name}` may not be used any more, such as {refused[0][0]}: {refused[0][1]}"
        raise CorpusError(f"{corpus.url}: {told}; {again}")


def _deciding(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude={"name", "description", "extends", "drop", "encoding"})


def recipe_digest(recipe: Recipe) -> str:
    """Sixteen hexadecimal digits of all that a recipe says, its name and description aside."""
    told = recipe.model_dump(mode="json", exclude={"name", "description"})
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _decision(corpus: Corpus, recipe: Recipe, without: frozenset[str], on: date | None) -> Decision:
    if recipe.split and "duplicates" not in corpus.names("duplicates"):
        raise CorpusError(f"{corpus.url}: a split keeps copies on one side, and nobody looked for any yet; run `clipmill deduplicate` first")
    with ThreadPoolExecutor(1) as beside:
        sources = beside.submit(_sources, corpus)
        clips = _clips(corpus, recipe)
        if clips.num_rows:
            check_scorers(recipe, corpus.makers())
        return decide(_in_force(corpus, recipe), clips, sources.result(), corpus.read("gaps"), on=on or _today(), without=without)


def _in_force(corpus: Corpus, recipe: Recipe) -> Recipe:
    """The recipe with what the corpus's policy asks of the day."""
    return recipe.model_copy(update={"rights": in_force(recipe.rights, policy_of(corpus))})


def _clips(corpus: Corpus, recipe: Recipe) -> pa.Table:
    """What a decision needs of the clips; why they were not measured, only where some were not."""
    columns = columns_read(recipe)
    clips = corpus.table("clips", columns=sorted(columns), encoded=True)
    unknown = any(clips[name].null_count for name in recipe.keep)
    return corpus.table("clips", columns=sorted(columns | {REASONS}), encoded=True) if unknown else clips


def _sources(corpus: Corpus) -> pa.Table:
    return corpus.table("sources", columns=SOURCE_COLUMNS)


def _today() -> date:
    return datetime.now(UTC).date()
