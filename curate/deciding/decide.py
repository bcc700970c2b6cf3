"""Decide: which clips a recipe keeps, and what became of every second of every source; tables in, tables out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.deciding import draw
from curate.deciding.funnel import Step, rule_steps
from curate.deciding.ledger import ledger_of
from curate.deciding.rules import Rule, literal, range_rules, rights_refusal
from schemas.recipe import Recipe
from schemas.source import STATUS_OK

SELECTION = pa.schema([("clip_id", pa.string()), ("order", pa.int64())])
HELD_OUT, RIGHTS = "held_out", "rights"


@dataclass(frozen=True)
class Decision:
    """What a recipe makes of a corpus.

    Attributes:
        selection: clip_id and order (a shuffle by the recipe's seed) of each clip kept.
        ledger: every second of every source (schema LEDGER).
        funnel: what each rule rejected.
    """

    selection: pa.Table
    ledger: pa.Table
    funnel: tuple[Step, ...]


SOURCE_COLUMNS = ("source_id", "status", "rule", "reason", "license", "rights_uses", "rights_territories", "rights_start", "rights_expires",
                  "duration_s", "container_duration_s")  # fmt: skip
"""The columns of sources that a decision needs."""


def columns_read(recipe: Recipe) -> frozenset[str]:
    """The columns of clips that a decision needs; the rest may be absent."""
    return frozenset({"unmeasured"}.union(draw.reads(recipe), *(rule.reads for rule in range_rules(recipe))))


def decide(recipe: Recipe, clips: pa.Table, sources: pa.Table, gaps: pa.Table, *, on: date, without: frozenset[str] = frozenset()) -> Decision:
    """Judge every clip, draw among those that pass, and account for every second.

    Args:
        recipe: the rules.
        clips: at least `columns_read(recipe)` of the schema CLIPS.
        sources: at least SOURCE_COLUMNS of the schema SOURCES.
        gaps: schema GAPS.
        on: the day on which rights must hold.
        without: clusters of duplicates that may not be kept.
    """
    with duckdb.connect() as connection:
        rules = _rules(connection, recipe, {"clips": clips, "sources": sources, "gaps": gaps}, on, without)
        judged = connection.sql(_judging(rules)).to_arrow_table()
        steps = list(rule_steps([(rule.name, rule.wants) for rule in rules], _masks(connection, clips, judged)))
        passes = pc.equal(judged["mask"], 0)
        connection.register("passing", clips.filter(passes).append_column("position", pa.array(np.flatnonzero(passes.to_numpy()))))
        steps += _draw(connection, recipe)
        order = f"row_number() OVER (ORDER BY md5_number_lower({literal(f'order:{recipe.seed}:')} || clip_id), clip_id) - 1"
        selection = connection.sql(f'SELECT clip_id, {order} AS "order" FROM survivors ORDER BY "order"').to_arrow_table()
        drawn_out = connection.sql("SELECT position, rule, detail FROM drawn_out ORDER BY position").to_arrow_table()
        ledger = ledger_of(connection, clips, judged, [rule.name for rule in rules], drawn_out)
        return Decision(selection.cast(SELECTION), ledger, tuple(steps))


def verdicts(recipe: Recipe, clip: pa.Table, sources: pa.Table, *, on: date, without: frozenset[str] = frozenset()) -> list[tuple[Rule, str | None]]:
    """What each rule that judges a clip by itself says of the one clip in a table: why it rejects it, or None."""
    with duckdb.connect() as connection:
        rules = _rules(connection, recipe, {"clips": clip, "sources": sources}, on, without)
        told = connection.execute(f"SELECT {', '.join(f'CASE WHEN {rule.fails} THEN {rule.detail} END' for rule in rules)} FROM clips").fetchall()
        return list(zip(rules, told[0]))


def _rules(connection: duckdb.DuckDBPyConnection, recipe: Recipe, tables: Mapping[str, pa.Table], on: date, without: frozenset[str]) -> tuple[Rule, ...]:
    """Every rule that judges a clip by itself, in order: rights, what is held out, the recipe's columns.

    Gives the connection the tables, with `held_out` (cluster) and `refused` (source_id, detail), on which the first two rest.
    """
    for name, table in tables.items():
        connection.register(name, table)
    connection.register("held_out", pa.table({"cluster": pa.array(sorted(without), pa.string())}))
    refusal = f"CASE WHEN status <> {literal(STATUS_OK)} THEN coalesce(reason, rule, status) ELSE {rights_refusal(recipe.rights, on)} END"
    refused = f"SELECT source_id, detail FROM (SELECT source_id, {refusal} AS detail FROM sources) WHERE detail IS NOT NULL"
    connection.execute(f"CREATE TEMP TABLE refused AS {refused}")
    # Looking nothing up in an empty table would still cost a pass over every clip's text.
    any_refused = connection.execute("SELECT count(*) > 0 FROM refused").fetchall()[0][0]
    why = "(SELECT detail FROM refused WHERE refused.source_id = clips.source_id)"
    rights = Rule(RIGHTS, "rights that allow it today", "source_id IN (SELECT source_id FROM refused)" if any_refused else "false", why, ("source_id",))
    apart = f"{draw.CLUSTER} IN (SELECT cluster FROM held_out)" if without else "false"
    held_out = Rule(HELD_OUT, "not set aside", apart, literal("its cluster of duplicates is set aside for validation"), ("duplicate_of", "clip_id"))
    return (rights, held_out, *range_rules(recipe))


def _judging(rules: Sequence[Rule]) -> str:
    """SQL for each clip, in order: `mask` (bit i is set where rule i rejects it), `decided_by` (the first of them, from 0; null where none) and `detail`."""
    mask = " + ".join(f"(CASE WHEN {rule.fails} THEN {1 << index} ELSE 0 END)::BIGINT" for index, rule in enumerate(rules))
    first = " ".join(f"WHEN {rule.fails} THEN {index}" for index, rule in enumerate(rules))
    detail = " ".join(f"WHEN {rule.fails} THEN {rule.detail}" for rule in rules)
    return f"SELECT {mask} AS mask, (CASE {first} END)::TINYINT AS decided_by, CASE {detail} END AS detail FROM clips"


def _masks(connection: duckdb.DuckDBPyConnection, clips: pa.Table, judged: pa.Table) -> list[tuple[int, int, float]]:
    """How many clips and seconds there are of each mask."""
    connection.register("masked", pa.table({"mask": judged["mask"], "length_s": pc.subtract(clips["end_s"], clips["start_s"])}))
    return connection.execute("SELECT mask, count(*), sum(length_s) FROM masked GROUP BY mask ORDER BY mask").fetchall()


def _draw(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> list[Step]:
    """Make the table `survivors` of the clips that pass every rule, thin it out into `drawn_out`, and tell how."""
    columns = ", ".join(f"{expression} AS {name}" for name, expression in draw.survivor_columns(recipe).items())
    connection.execute(f"CREATE TEMP TABLE survivors AS SELECT {columns} FROM passing")
    connection.execute("CREATE TEMP TABLE drawn_out (position BIGINT, rule VARCHAR, detail VARCHAR)")
    steps = []
    left = _size(connection)
    for one in draw.draws(recipe):
        alone_clips, alone_hours = _copies(connection) if one.name == draw.DUPLICATES else (None, None)
        draw.make(connection, one)
        before, left = left, _size(connection)
        steps.append(Step(one.name, one.wants, alone_clips, alone_hours, before[0] - left[0], max(before[1] - left[1], 0.0), left[0], left[1]))
    return steps


def _size(connection: duckdb.DuckDBPyConnection) -> tuple[int, float]:
    return connection.execute("SELECT count(*), coalesce(sum(length_s), 0) / 3600 FROM survivors").fetchall()[0]


def _copies(connection: duckdb.DuckDBPyConnection) -> tuple[int, float]:
    return connection.execute("SELECT count(*), coalesce(sum(end_s - start_s), 0) / 3600 FROM clips WHERE duplicate_of IS NOT NULL").fetchall()[0]
