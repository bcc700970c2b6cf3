"""The tables people query (sources, shots, clips, captions, ledger), joined by DuckDB from the relations that the steps wrote.

A column of `clips` can have been written by several scorers, or by several versions of one: the corpus shows one of them, the
chosen one, and says which (`makers`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from curate.storage.relations import READ_LATER, RELATIONS, SPANS
from schemas.clip import CAPTIONED, CLIPS, DEDUPLICATED, LEDGER, SEMANTIC
from schemas.source import SOURCES

CLIP_ORDER = ("source_id", "start_frame", "end_frame")
CLIP_ID = "format('{}-{:08d}-{:08d}', source_id, start_frame, end_frame)"
"""SQL for a clip's identity, as `schemas.clip.clip_id` has it; made where it is wanted, since to carry it is dear."""
WHOLE = "number = trunc(number) AND abs(number) < 1e15"
FILLING = f"coalesce(text, CASE WHEN {WHOLE} THEN CAST(CAST(number AS BIGINT) AS VARCHAR) ELSE CAST(round(number, 4) AS VARCHAR) END)"
SENTENCE = (
    "CASE WHEN text IS NULL AND number IS NULL THEN words "
    f"ELSE left(words, strpos(words, '{{}}') - 1) || {FILLING} || substr(words, strpos(words, '{{}}') + 2) END"
)
"""SQL for the words of a verdict with its number or text filled in, at the first gap only: what follows can be a recipe's own words, braces and all."""
CAPTION_COLUMNS = frozenset(field.name for field in CAPTIONED)
COPIES = {"duplicates": frozenset(field.name for field in DEDUPLICATED), "semantic": frozenset(field.name for field in SEMANTIC)}
"""Relations about what is a copy of what, or alike to it, and the columns of `clips` that they hold."""
CAPTIONERS = ("metadata", "vlm", "describe")
"""Whose caption `clips` shows, the first of these that wrote a usable one; captioners not named here come before the last."""


@dataclass(frozen=True)
class View:
    """A table people query.

    Attributes:
        schema: its columns.
        order: the columns it is sorted by.
        query: SQL over relations named in double quotes.
        reads: relation to the columns it needs of it; None for all.
    """

    schema: pa.Schema
    order: tuple[str, ...]
    query: str
    reads: Mapping[str, Sequence[str] | None]


def stored(name: str) -> View:
    """A relation shown as it is stored."""
    orders = {"shots": ("source_id", "start_frame", "shot_index"), "captions": ("clip_id", "captioner", "start_s")}
    return View(RELATIONS[name], orders[name], f'SELECT * FROM "{name}"', {name: None})


def ledger(selection: str) -> View:
    """The verdicts of a selection in words, and its clips by their ids."""
    shown = {"clip_id": f"CASE WHEN start_frame IS NOT NULL THEN {CLIP_ID} END", "detail": SENTENCE}
    columns = ", ".join(f"{shown.get(name, name)} AS {name}" for name in LEDGER.names)
    relation = f"verdicts/{selection}"
    return View(LEDGER, ("source_id", "start_s", "end_s", "clip_id"), f'SELECT {columns} FROM "{relation}"', {relation: None})


def sources(columns: Sequence[str] | None = None) -> View:
    """What was added, joined with what reading found; only with what the asked columns need."""
    schema = SOURCES if columns is None else pa.schema([field for field in SOURCES if field.name in {"source_id", *columns}])
    read_columns = {
        **{name: f"coalesce(r.{name}, a.{name})" for name in ("width", "height", "fps")},
        **{name: f"r.{name}" for name in READ_LATER},
        "duration_s": "coalesce(r.duration_s, a.container_duration_s)",
        **{name: f"CASE WHEN a.status = 'ok' AND r.source_id IS NOT NULL THEN r.{name} ELSE a.{name} END" for name in ("status", "rule", "reason")},
        "warnings": "list_concat(coalesce(a.warnings, []), coalesce(r.warnings, []))",
    }
    shown = ", ".join(f"{read_columns.get(name, f'a.{name}')} AS {name}" for name in schema.names)
    needed = {*schema.names, "status", "container_duration_s"}
    reads = {name: [column for column in RELATIONS[name].names if column in needed] for name in ("added", "readings")}
    query = f'SELECT {shown} FROM "added" a LEFT JOIN "readings" r USING (source_id)'
    return View(schema, ("source_id",), query, reads)


def clips(makers: Mapping[str, str], columns: Sequence[str] | None = None) -> View:
    """Spans joined with the chosen measures, the chosen caption and the duplicates; only with what the asked columns need.

    Args:
        makers: column to the scorer whose values it shows.
        columns: columns asked for; None for all. `unmeasured` then speaks of the columns of these scorers only.
    """
    schema = CLIPS if columns is None else pa.schema([CLIPS.field(name) for name in CLIPS.names if name in columns])
    shown = {name: f"s.{name}" for name in SPANS.names}
    reads: dict[str, list[str] | None] = {"spans": [name for name in SPANS.names if name in schema.names or name in (*CLIP_ORDER, "clip_id")]}
    joins, reasons = [], ["coalesce(s.unmeasured, MAP {})"]
    wanted = {name: maker for name, maker in makers.items() if name in schema.names}
    for number, maker in enumerate(sorted(set(wanted.values()))):
        of_maker = [name for name in wanted if wanted[name] == maker]
        shown_of_maker = [name for name in makers if makers[name] == maker]
        joins.append(f'LEFT JOIN "measures/{maker}" m{number} USING (clip_id)')
        reads[f"measures/{maker}"] = ["clip_id", *of_maker, "unmeasured"]
        shown.update({name: f"m{number}.{name}" for name in of_maker})
        entries = f"map_entries(coalesce(m{number}.unmeasured, MAP {{}}))"
        reasons.append(f"map_from_entries(list_filter({entries}, lambda e: list_contains({shown_of_maker!r}, e.key)))")
    shown["unmeasured"] = f"map_concat({', '.join(reasons)}, MAP {{}})"
    if CAPTION_COLUMNS & set(schema.names):
        joins.append(f"LEFT JOIN ({_chosen_caption()}) c USING (clip_id)")
        reads["captions"] = None
        shown.update({"caption": "c.text", "captioner": "c.captioner"})
    for relation, held in COPIES.items():
        if held & set(schema.names):
            joins.append(f'LEFT JOIN "{relation}" {relation} USING (clip_id)')
            reads[relation] = None
            shown.update({name: f"{relation}.{name}" for name in held})
    selected = ", ".join(f"{shown.get(field.name, 'NULL')} AS {field.name}" for field in schema)
    order = ", ".join(f"s.{name}" for name in CLIP_ORDER)
    return View(schema, (), f'SELECT {selected} FROM "spans" s {" ".join(joins)} ORDER BY {order}', reads)


def run(view: View, relations: Mapping[str, pa.Table], columns: Sequence[str] | None = None) -> pa.Table:
    """A view's rows, in its order and under its schema."""
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        for name, rows in relations.items():
            connection.register(name, rows)
        asked = ", ".join(name for name in view.schema.names if columns is None or name in columns)
        order = f"ORDER BY {', '.join(view.order)}" if view.order else ""
        made = connection.sql(f"SELECT {asked} FROM ({view.query}) {order}").to_arrow_table()
    return typed(made, view.schema)


def clip_ids(rows: pa.Table) -> list[str]:
    """The id of each clip in rows of `source_id`, `start_frame` and `end_frame`."""
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        connection.register("told", rows)
        return [row[0] for row in connection.execute(f"SELECT {CLIP_ID} FROM told").fetchall()]


def sentences(told: pa.Table) -> list[str | None]:
    """The sentence that each row of `words`, `number` and `text` makes."""
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        connection.register("told", told)
        return [row[0] for row in connection.execute(f"SELECT {SENTENCE} FROM told").fetchall()]


def typed(rows: pa.Table, schema: pa.Schema, keep: Sequence[str] = ()) -> pa.Table:
    """Rows under the fields that a schema has for their columns, except those that `keep` their type."""
    wanted = pa.schema([rows.field(name) if name in keep else schema.field(name) for name in rows.column_names])
    return pa.table([rows[field.name].cast(field.type) for field in wanted], schema=wanted)


def _chosen_caption() -> str:
    known = ", ".join(f"'{name}'" for name in CAPTIONERS)
    rank = f"coalesce(list_position([{known}], split_part(captioner, '@', 1)), {len(CAPTIONERS) - 0.5})"
    usable = 'SELECT * FROM "captions" WHERE problem IS NULL AND text IS NOT NULL'
    return f"SELECT DISTINCT ON (clip_id) clip_id, captioner, text FROM ({usable}) ORDER BY clip_id, {rank}, captioner DESC, start_s"
