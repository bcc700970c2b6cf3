"""Draws: of the clips that pass every rule, one copy of each, no source or group too many, and as many as were asked for.

Each draw keeps the clips first in an order that depends on the seed and the clip alone, so adding footage moves few others.
Weights follow Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): an exponential variate over the weight.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from curate.deciding.rules import identifier, literal
from curate.packing.buckets import bucket_sql
from schemas.recipe import BUCKET, Caps, Quotas, Recipe

DUPLICATES, SEMANTIC = "duplicates", "semantic"
READS = ("source_id", "start_frame", "end_frame", "start_s", "end_s", "duplicate_of", "duplicate_rank")


@dataclass(frozen=True)
class Draw:
    """One step that thins out `survivors` (`survivor_columns`).

    Attributes:
        name: what the ledger calls it.
        wants: what it asks, in words.
        query: SQL over `survivors` giving position, words, number and text (as a `Case` has them) of each clip to reject.
    """

    name: str
    wants: str
    query: str


def survivor_columns(recipe: Recipe) -> dict[str, str]:
    """What the draws that a recipe asks for need to know of each clip: name to SQL over a row of clips with their `clip_id`."""
    return {
        "position": "position",
        "clip_id": "clip_id",
        "source_number": "source_number",
        "length_s": "end_s - start_s",
        "cluster": "coalesce(duplicate_of, clip_id)",
        "best": "coalesce(duplicate_rank, 0)",
        **_alike(recipe),
        **(_ranked(recipe) if recipe.quotas or recipe.caps != Caps() or recipe.sample.clips is not None or recipe.sample.hours is not None else {}),
    }


def _ranked(recipe: Recipe) -> dict[str, str]:
    """In which order clips are drawn, and of which group they are; a digest of every clip, which costs more than all else."""
    unit = f"((md5_number_lower({literal(f'draw:{recipe.seed}:')} || clip_id)::DOUBLE + 0.5) / 18446744073709551616.0)"
    weight = identifier(recipe.sample.weight) if recipe.sample.weight else "1"
    by = recipe.quotas.by if recipe.quotas else None
    return {
        "priority": f"CASE WHEN {weight} > 0 THEN -ln({unit}) / {weight} ELSE 'infinity'::DOUBLE END",
        "quota_group": "'all'" if by is None else f"coalesce({bucket_sql() if by == BUCKET else identifier(by)}, 'null')",
    }


def _alike(recipe: Recipe) -> dict[str, str]:
    """The cluster of alike clips that a clip belongs to, where it is near enough, and whether it is the best of it."""
    if recipe.duplicates.semantic is None:
        return {}
    near = f"semantic_similarity >= {recipe.duplicates.semantic!r}"
    return {"alike": f"CASE WHEN {near} THEN semantic_cluster ELSE clip_id END", "leads": "semantic_of IS NULL"}


def reads(recipe: Recipe) -> frozenset[str]:
    """Columns of clips that the draws need."""
    by = recipe.quotas.by if recipe.quotas else ""
    weight = [recipe.sample.weight] if recipe.sample.weight else []
    grouping = [by] if by != BUCKET else ["width", "height", "num_frames"]
    alike = ["semantic_of", "semantic_cluster", "semantic_similarity"] if recipe.duplicates.semantic is not None else []
    return frozenset([*READS, *weight, *(grouping if recipe.quotas else []), *alike])


def draws(recipe: Recipe) -> Iterator[Draw]:
    """The draws a recipe asks for, in the order in which they are made."""
    if recipe.duplicates.keep == "best":
        yield Draw(DUPLICATES, "the best copy", _best("cluster", "best", "a duplicate of {}, which is kept"))
    if recipe.duplicates.semantic is not None:
        wants = f"the best of those alike by {recipe.duplicates.semantic:g}"
        yield Draw(SEMANTIC, wants, _best("alike", "leads DESC, best", "alike to {}, which is kept"))
    if recipe.caps.clips is not None:
        yield Draw("caps", f"{recipe.caps.clips} clips of a source", _first_clips("source_number", str(recipe.caps.clips), "of its source"))
    if recipe.caps.hours is not None:
        yield Draw("caps", f"{recipe.caps.hours:g} h of a source", _first_hours("source_number", recipe.caps.hours, "of its source"))
    if recipe.quotas is not None:
        yield Draw("quotas", _quota_words(recipe.quotas), _first_clips("quota_group", _quota(recipe.quotas), "of its group"))
    if recipe.sample.clips is not None:
        yield Draw("sample", f"{recipe.sample.clips} clips", _first_clips("1", str(recipe.sample.clips), "in all"))
    if recipe.sample.hours is not None:
        yield Draw("sample", f"{recipe.sample.hours:g} h", _first_hours("1", recipe.sample.hours, "in all"))


def make(connection: duckdb.DuckDBPyConnection, draw: Draw) -> None:
    """Move what the draw rejects from the table `survivors` to the table `drawn_out` (position, rule, words, number, text)."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE rejected_now AS {draw.query}")
    connection.execute(f"INSERT INTO drawn_out SELECT position, {literal(draw.name)}, words, number, text FROM rejected_now")
    connection.execute("DELETE FROM survivors WHERE position IN (SELECT position FROM rejected_now)")


def _best(group: str, order: str, words: str) -> str:
    first = f"first_value(clip_id) OVER (PARTITION BY {group} ORDER BY {order}, clip_id)"
    told = f"{literal(words)} AS words, NULL::DOUBLE AS number, kept AS text"
    # A group is called after one of its clips, so that only groups in which another clip is have anything to reject; they are few.
    many = f"SELECT * FROM survivors WHERE {group} IN (SELECT {group} FROM survivors WHERE {group} <> clip_id)"
    return f"SELECT position, {told} FROM (SELECT position, clip_id, {first} AS kept FROM ({many})) WHERE clip_id <> kept"


def _first_clips(group: str, limit: str, where: str) -> str:
    ranked = f"SELECT position, {limit} AS allowed, row_number() OVER (PARTITION BY {group} ORDER BY priority, clip_id) AS place FROM survivors"
    words = f"{literal(f'draw {{}} {where}, of which ')} || allowed || ' are kept' AS words"
    return f"SELECT position, {words}, place::DOUBLE AS number, NULL::VARCHAR AS text FROM ({ranked}) WHERE place > allowed"


def _first_hours(group: str, hours: float, where: str) -> str:
    filled = f"SELECT position, sum(length_s) OVER (PARTITION BY {group} ORDER BY priority, clip_id ROWS UNBOUNDED PRECEDING) / 3600 AS hours FROM survivors"
    words = f"{literal(f'would make {{}} h {where}, of which {hours:g} are kept')} AS words"
    return f"SELECT position, {words}, round(hours, 4) AS number, NULL::VARCHAR AS text FROM ({filled}) WHERE hours > {hours!r}"


def _quota(quotas: Quotas) -> str:
    """SQL for how many clips the group of a row may have."""
    unlimited = "9223372036854775807"
    limits = " ".join(f"WHEN {literal(group)} THEN {count}" for group, count in quotas.of.items())
    most = unlimited if quotas.most is None else str(quotas.most)
    own = f"CASE quota_group {limits} ELSE {most} END" if limits else most
    if quotas.balance is None:
        return own
    smallest = "(SELECT min(clips) FROM (SELECT count(*) AS clips FROM survivors GROUP BY quota_group))"
    return f"least({own}, CAST(floor({quotas.balance!r} * {smallest}) AS BIGINT))"


def _quota_words(quotas: Quotas) -> str:
    told = [f"{count} of {group}" for group, count in quotas.of.items()]
    told += [] if quotas.most is None else [f"{quotas.most} of each"]
    told += [] if quotas.balance is None else [f"{quotas.balance:g} times the smallest"]
    return f"by {quotas.by}: {', '.join(told)}"
