"""Ledger: what became of every second of every source, once a recipe has decided: each clip, each gap, and the seconds in neither."""

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.deciding.rules import literal
from schemas.clip import LEDGER, OUTCOME_FAILED, OUTCOME_KEPT, OUTCOME_REJECTED
from schemas.source import STATUS_OK

TOLERANCE_S = 1e-6
UNTOLD = "no clip and no gap holds these seconds; are they measured yet?"


def ledger_of(connection: duckdb.DuckDBPyConnection, clips: pa.Table, judged: pa.Table, rules: Sequence[str], drawn_out: pa.Table) -> pa.Table:
    """The ledger (schema LEDGER).

    Args:
        connection: has `clips`, `gaps` and `sources`.
        clips: at least clip_id, source_id, start_s and end_s.
        judged: for each clip in order, `decided_by` (which of the rules rejects it, from 0; null where none does) and `detail`.
        rules: names of the rules.
        drawn_out: `position`, `rule` and `detail` of clips that passed every rule and were not drawn, by position.
    """
    names = [*rules, *sorted(set(drawn_out["rule"].to_pylist()))]
    codes = judged["decided_by"].fill_null(-1).to_numpy().copy()
    places = drawn_out["position"].to_numpy()
    codes[places] = pc.index_in(drawn_out["rule"], pa.array(names, pa.string())).to_numpy()
    detail = judged["detail"].combine_chunks() if len(judged) else pa.array([], pa.string())
    if len(places):
        told = np.arange(len(codes))
        told[places] = len(codes) + np.arange(len(places))
        detail = pa.concat_arrays([detail, drawn_out["detail"].combine_chunks()]).take(pa.array(told))
    columns = {name: clips[name] for name in ("source_id", "clip_id", "start_s", "end_s")}
    rejected = pa.array((codes >= 0).astype(np.int8))
    rule = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8(), mask=codes < 0), pa.array(names, pa.string()))
    outcome = pa.DictionaryArray.from_arrays(rejected, pa.array([OUTCOME_KEPT, OUTCOME_REJECTED]))
    decided = pa.table({**columns, "outcome": outcome.cast(pa.string()), "rule": rule.cast(pa.string()), "detail": detail})
    rest = connection.sql(_rest(connection)).to_arrow_table()
    return pa.concat_tables([decided.cast(LEDGER), rest.cast(LEDGER)])


def _rest(connection: duckdb.DuckDBPyConnection) -> str:
    """SQL for the gaps and for the seconds that neither a clip nor a gap holds: all of a source that was never read, none of one measured well."""
    seconds = "coalesce(duration_s, container_duration_s, 0.0)"
    held = "SELECT source_id, start_s, end_s FROM clips UNION ALL SELECT source_id, start_s, end_s FROM gaps"
    sums = f"SELECT source_id, sum(end_s - start_s) AS held_s FROM ({held}) GROUP BY source_id"
    unread = f"status <> {literal(STATUS_OK)} AND held_s IS NULL"
    short = f"SELECT source_id, status, rule, reason, {seconds} AS seconds, held_s FROM sources LEFT JOIN ({sums}) USING (source_id)"
    connection.execute(f"CREATE TEMP TABLE short AS SELECT * FROM ({short}) WHERE abs(coalesce(held_s, 0) - seconds) > {TOLERANCE_S!r} OR ({unread})")
    gaps = "SELECT source_id, NULL AS clip_id, start_s, end_s, outcome, rule, detail FROM gaps"
    if not connection.execute("SELECT count(*) FROM short").fetchall()[0][0]:
        return gaps
    before = "coalesce(max(end_s) OVER (PARTITION BY source_id ORDER BY start_s, end_s ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0.0)"
    ends = "SELECT source_id, seconds AS start_s, seconds AS end_s FROM short"
    mine = f"SELECT * FROM ({held}) WHERE source_id IN (SELECT source_id FROM short) UNION ALL {ends}"
    between = f"SELECT source_id, {before} AS start_s, start_s AS end_s FROM ({mine})"
    ok = f"status = {literal(STATUS_OK)}"
    told = [f"CASE WHEN {ok} THEN {literal(OUTCOME_FAILED)} ELSE status END", f"CASE WHEN {ok} THEN 'measure' ELSE rule END"]
    told.append(f"CASE WHEN {ok} THEN {literal(UNTOLD)} ELSE reason END")
    holes = f"SELECT source_id, NULL, start_s, end_s, {', '.join(told)} FROM ({between}) JOIN short USING (source_id)"
    return f"{gaps} UNION ALL {holes} WHERE end_s - start_s > {TOLERANCE_S!r} OR ({unread})"
