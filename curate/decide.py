"""Decide: which clips a recipe keeps, and what became of every second of every source; tables in, tables out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa

from curate import draw
from curate.funnel import Step, rule_steps
from curate.rules import Rule, literal, range_rules, rights_refusal
from schemas.clip import LEDGER, OUTCOME_FAILED, OUTCOME_KEPT, OUTCOME_REJECTED
from schemas.recipe import Recipe
from schemas.source import STATUS_OK

SELECTION = pa.schema([("clip_id", pa.string()), ("order", pa.int64())])
HELD_OUT, RIGHTS = "held_out", "rights"
TOLERANCE_S = 1e-6


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


def rules_of(recipe: Recipe) -> tuple[Rule, ...]:
    """Every rule that judges a clip by itself, in order: rights, then what is held out, then the recipe's columns."""
    rights = Rule(RIGHTS, "rights that allow it today", "source_id IN (SELECT source_id FROM refused)", _of_refused(), ("source_id",))
    cluster = "coalesce(duplicate_cluster, clip_id)"
    apart = literal("its cluster of duplicates is set aside for validation")
    held_out = Rule(HELD_OUT, "not set aside", f"{cluster} IN (SELECT cluster FROM held_out)", apart, ("duplicate_cluster", "clip_id"))
    return (rights, held_out, *range_rules(recipe))


def columns_read(recipe: Recipe) -> frozenset[str]:
    """The columns of clips that a decision needs; the rest may be absent."""
    base = {"clip_id", "source_id", "start_s", "end_s", "unmeasured", "duplicate_cluster", "duplicate_of"}
    return frozenset(base.union(draw.reads(recipe), *(rule.reads for rule in rules_of(recipe))))


def decide(recipe: Recipe, clips: pa.Table, sources: pa.Table, gaps: pa.Table, *, on: date, without: frozenset[str] = frozenset()) -> Decision:
    """Judge every clip, draw among those that pass, and account for every second.

    Args:
        recipe: the rules.
        clips: at least `columns_read(recipe)` of the schema CLIPS.
        sources: schema SOURCES.
        gaps: schema GAPS.
        on: the day on which rights must hold.
        without: clusters of duplicates that may not be kept.
    """
    with duckdb.connect() as connection:
        _register(connection, recipe, {"clips": clips, "sources": sources, "gaps": gaps}, on, without)
        rules = rules_of(recipe)
        steps = [*_judge(connection, rules), *_draw(connection, recipe)]
        order = f"row_number() OVER (ORDER BY md5_number_lower({literal(f'order:{recipe.seed}:')} || clip_id), clip_id) - 1"
        selection = connection.sql(f'SELECT clip_id, {order} AS "order" FROM survivors ORDER BY "order"').to_arrow_table()
        ledger = connection.sql(_ledger(rules)).to_arrow_table()
        return Decision(selection.cast(SELECTION), ledger.cast(LEDGER), tuple(steps))


def verdicts(recipe: Recipe, clip: pa.Table, sources: pa.Table, *, on: date, without: frozenset[str] = frozenset()) -> list[tuple[Rule, str | None]]:
    """What each rule that judges a clip by itself says of the one clip in a table: why it rejects it, or None."""
    with duckdb.connect() as connection:
        _register(connection, recipe, {"clips": clip, "sources": sources}, on, without)
        rules = rules_of(recipe)
        told = connection.execute(f"SELECT {', '.join(f'CASE WHEN {rule.fails} THEN {rule.detail} END' for rule in rules)} FROM clips").fetchall()
        return list(zip(rules, told[0]))


def _register(connection: duckdb.DuckDBPyConnection, recipe: Recipe, tables: Mapping[str, pa.Table], on: date, without: frozenset[str]) -> None:
    """Give the connection the tables, with `held_out` (cluster) and `refused` (source_id, detail) made of the arguments."""
    for name, table in tables.items():
        connection.register(name, table)
    connection.register("held_out", pa.table({"cluster": pa.array(sorted(without), pa.string())}))
    refusal = f"CASE WHEN status <> {literal(STATUS_OK)} THEN coalesce(reason, rule, status) ELSE {rights_refusal(recipe.rights, on)} END"
    connection.execute(
        f"CREATE TEMP TABLE refused AS SELECT source_id, detail FROM (SELECT source_id, {refusal} AS detail FROM sources) WHERE detail IS NOT NULL"
    )


def _judge(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> list[Step]:
    """Count what each rule rejects."""
    mask = " + ".join(f"(CASE WHEN {rule.fails} THEN {1 << index} ELSE 0 END)::UBIGINT" for index, rule in enumerate(rules))
    counted = connection.execute(f"SELECT {mask} AS mask, count(*), sum(end_s - start_s) FROM clips GROUP BY mask ORDER BY mask").fetchall()
    return list(rule_steps([(rule.name, rule.wants) for rule in rules], counted))


def _draw(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> list[Step]:
    """Make the table `survivors` of clips that no rule rejects, thin it out, and tell how."""
    passes = " AND ".join(f"NOT ({rule.fails})" for rule in rules_of(recipe))
    columns = ", ".join(f"{expression} AS {name}" for name, expression in draw.survivor_columns(recipe).items())
    connection.execute(f"CREATE TEMP TABLE survivors AS SELECT {columns} FROM clips WHERE {passes}")
    connection.execute("CREATE TEMP TABLE drawn_out (clip_id VARCHAR, rule VARCHAR, detail VARCHAR)")
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


def _of_refused() -> str:
    return "(SELECT detail FROM refused WHERE refused.source_id = clips.source_id)"


def _ledger(rules: Sequence[Rule]) -> str:
    """SQL for the ledger: each clip, then each gap, then the seconds that are in neither."""
    rule = "CASE " + " ".join(f"WHEN {one.fails} THEN {literal(one.name)}" for one in rules) + " ELSE drawn_out.rule END"
    detail = "CASE " + " ".join(f"WHEN {one.fails} THEN {one.detail}" for one in rules) + " ELSE drawn_out.detail END"
    judged = f"SELECT source_id, clip_id, start_s, end_s, {rule} AS rule, {detail} AS detail FROM clips LEFT JOIN drawn_out USING (clip_id)"
    outcome = f"CASE WHEN rule IS NULL THEN {literal(OUTCOME_KEPT)} ELSE {literal(OUTCOME_REJECTED)} END"
    return f"""
        SELECT source_id, clip_id, start_s, end_s, {outcome} AS outcome, rule, detail FROM ({judged})
        UNION ALL SELECT source_id, NULL, start_s, end_s, outcome, rule, detail FROM gaps
        UNION ALL SELECT source_id, NULL, start_s, end_s, outcome, rule, detail FROM ({_holes()})"""


def _holes() -> str:
    """SQL for the seconds of a source that neither a clip nor a gap holds: all of one that was never read, none of one that was measured well."""
    seconds = "coalesce(duration_s, container_duration_s, 0.0)"
    held = "SELECT source_id, start_s, end_s FROM clips UNION ALL SELECT source_id, start_s, end_s FROM gaps"
    sums = f"SELECT source_id, sum(end_s - start_s) AS held_s FROM ({held}) GROUP BY source_id"
    unread = f"status <> {literal(STATUS_OK)} AND held_s IS NULL"
    short = f"SELECT * FROM sources LEFT JOIN ({sums}) USING (source_id) WHERE abs(coalesce(held_s, 0) - {seconds}) > {TOLERANCE_S!r} OR ({unread})"
    ends = f"SELECT source_id, {seconds} AS start_s, {seconds} AS end_s FROM ({short})"
    before = "coalesce(max(end_s) OVER (PARTITION BY source_id ORDER BY start_s, end_s ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0.0)"
    between = f"SELECT source_id, {before} AS start_s, start_s AS end_s FROM ({held} UNION ALL {ends})"
    mine = f"status = {literal(STATUS_OK)}"
    return f"""SELECT source_id, start_s, end_s, CASE WHEN {mine} THEN {literal(OUTCOME_FAILED)} ELSE status END AS outcome,
            CASE WHEN {mine} THEN 'measure' ELSE rule END AS rule,
            CASE WHEN {mine} THEN 'no clip and no gap holds these seconds; are they measured yet?' ELSE reason END AS detail
        FROM ({between}) JOIN ({short}) USING (source_id) WHERE end_s - start_s > {TOLERANCE_S!r} OR ({unread})"""
