"""Columns of `clips` side by side: for relations that line up with the spans, without a join; exactly what the view would give."""

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from curate.storage.lineup import SPANS, columns_side_by_side
from curate.storage.relations import RELATIONS
from curate.storage.store import Snapshot, Store
from curate.storage.views import CAPTION_COLUMNS, COPIES, typed
from schemas.clip import CLIPS

REASONS = "unmeasured"


def clips_side_by_side(store: Store, snapshot: Snapshot, makers: Mapping[str, str], columns: Sequence[str], encoded: bool = False) -> pa.Table | None:
    """The columns asked for of every clip, sorted by clip, `source_id` as a dictionary if `encoded`; None where they have to be joined.

    A join it takes where relations do not line up, for captions (one is chosen among several), and where a scorer is shown for
    some of its columns only, so that its reasons have to be told apart.
    """
    copies = {name: relation for relation, held in COPIES.items() for name in held}
    home = {name: copies.get(name, f"measures/{makers[name]}" if name in makers else SPANS) for name in columns}
    if CAPTION_COLUMNS & set(columns) or any(REASONS in columns and _shown_in_part(store, snapshot, relation, makers) for relation in set(home.values())):
        return None
    wanted: dict[str, list[str]] = {SPANS: []}
    for name, relation in sorted(home.items(), key=lambda entry: entry[1]):
        if relation != SPANS or name in RELATIONS[SPANS].names:
            wanted.setdefault(relation, []).append(name)
    if REASONS in columns:
        wanted = {relation: [*names, REASONS] if relation.startswith("measures/") else names for relation, names in wanted.items()}
    # A column that nobody measured is not stored anywhere: one that is stored says how many clips there are.
    wanted[SPANS] = wanted[SPANS] or ["shot_index"]
    found = columns_side_by_side(store, snapshot, wanted, ["source_id"] if encoded else [])
    if found is None:
        return None
    made: dict[str, pa.ChunkedArray] = {}
    for field in (CLIPS.field(name) for name in CLIPS.names if name in columns):
        place = field.name if home[field.name] == SPANS else f"{home[field.name]}.{field.name}"
        made[field.name] = found[place] if place in found.column_names else pa.chunked_array([pa.nulls(found.num_rows, field.type)])
    if REASONS in made:
        made[REASONS] = _all_reasons(found)
    return typed(pa.table(made), CLIPS, keep=["source_id"] if encoded else [])


def _shown_in_part(store: Store, snapshot: Snapshot, relation: str, makers: Mapping[str, str]) -> bool:
    """Whether another scorer is shown for some column of this one, so that their reasons have to be told apart."""
    if not relation.startswith("measures/"):
        return False
    return any(makers.get(name, "") != relation.removeprefix("measures/") for name in store.columns(snapshot, relation) if name in makers)


def _all_reasons(found: pa.Table) -> pa.ChunkedArray:
    """Why columns are null, from every relation that says so; never null itself."""
    told = [name for name in found.column_names if name == REASONS or name.endswith(f".{REASONS}")]
    full = [name for name in told if any(len(chunk.items) for chunk in found[name].chunks)]
    if not full:
        zeros = pa.array(np.zeros(found.num_rows + 1, np.int32))
        return pa.chunked_array([pa.MapArray.from_arrays(zeros, pa.array([], pa.string()), pa.array([], pa.string()))])
    if len(full) == 1 and not found[full[0]].null_count:
        return found[full[0]]
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        connection.register("found", found.select(full).rename_columns([f"c{number}" for number in range(len(full))]))
        together = ", ".join(f"coalesce(c{number}, MAP {{}})" for number in range(len(full)))
        return connection.sql(f"SELECT map_concat({together}, MAP {{}}) AS reasons FROM found").to_arrow_table()["reasons"]
