"""Ledger: what became of every second of every source, once a recipe has decided: each clip, each gap, and the seconds in neither."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.deciding.rules import literal
from curate.storage import views
from curate.storage.relations import VERDICTS
from schemas.clip import OUTCOME_FAILED, OUTCOME_KEPT, OUTCOME_REJECTED
from schemas.source import STATUS_OK
from schemas.table import conform

TOLERANCE_S = 1e-6
UNTOLD = "no clip and no gap holds these seconds; are they measured yet?"
ENCODED = {
    "source_id": pa.dictionary(pa.int32(), pa.string()),
    "outcome": pa.dictionary(pa.int8(), pa.string()),
    "rule": pa.dictionary(pa.int16(), pa.string()),
    "words": pa.dictionary(pa.int16(), pa.string()),
}
"""Columns of verdicts whose texts repeat: they are made, and written, as dictionaries."""


@dataclass(frozen=True)
class Texts:
    """Texts of some rows.

    Attributes:
        places: int64 (M,), of which rows; none twice.
        texts: one of each.
    """

    places: np.ndarray
    texts: pa.Array

    def spread(self, rows: int) -> pa.Array:
        """A column of so many rows, null where there is no text."""
        if not len(self.places):
            return pa.nulls(rows, pa.string())
        take, elsewhere = np.zeros(rows, np.int32), np.ones(rows, bool)
        take[self.places], elsewhere[self.places] = np.arange(len(self.places)), False
        return self.texts.take(pa.array(take, mask=elsewhere))


@dataclass(frozen=True)
class Judged:
    """What rules say of clips, each in order.

    Attributes:
        masks: bit i is set where rule i rejects the clip.
        codes: int16 (N,), which of `sayings` tells why; -1 where no rule rejects it.
        numbers: what fills the gap in its words; null where nothing does.
        texts: the texts that fill it.
        sayings: rule and words.
    """

    masks: pa.ChunkedArray
    codes: np.ndarray
    numbers: pa.ChunkedArray
    texts: Texts
    sayings: tuple[tuple[str, str], ...]


def verdicts_of(connection: duckdb.DuckDBPyConnection, clips: pa.Table, names: pa.Table, judged: Judged, drawn_out: pa.Table) -> pa.Table:
    """What became of every second (schema VERDICTS, texts that repeat as dictionaries).

    Args:
        connection: has `clips`, `gaps` and `sources`.
        clips: at least source_id, source_number, start_frame, end_frame, start_s and end_s.
        names: the `source_id` of each source number, in their order.
        judged: what the rules say of them.
        drawn_out: `position`, `rule`, `words`, `number` and `text` of clips that passed every rule and were not drawn, by position.
    """
    codes, numbers, texts, sayings = _with_draws(judged, drawn_out)
    silent = codes < 0
    kept_or_not = pa.DictionaryArray.from_arrays(pa.array((~silent).view(np.int8)), pa.array([OUTCOME_KEPT, OUTCOME_REJECTED]))
    columns = {
        **{name: clips[name] for name in ("source_id", "start_frame", "end_frame", "start_s", "end_s")},
        "outcome": kept_or_not,
        "rule": _spoken(codes, silent, [rule for rule, _ in sayings]),
        "words": _spoken(codes, silent, [words for _, words in sayings]),
        "number": numbers,
        "text": texts.spread(len(codes)),
    }
    filled = f"SELECT * EXCLUDE (detail), CASE WHEN detail IS NOT NULL THEN '{{}}' END AS words, detail AS text FROM ({_rest(connection, clips, names)})"
    rest = connection.sql(filled).to_arrow_table()
    return pa.concat_tables([_encoded(pa.table(columns)), _encoded(conform(rest, VERDICTS))])


def _encoded(verdicts: pa.Table) -> pa.Table:
    """Verdicts with texts that repeat as dictionaries."""
    for place, name in enumerate(verdicts.column_names):
        column = verdicts[name]
        if name in ENCODED and not pa.types.is_dictionary(column.type):
            verdicts = verdicts.set_column(place, name, column.dictionary_encode())
    return verdicts.cast(pa.schema([pa.field(field.name, ENCODED.get(field.name, field.type)) for field in VERDICTS]))


def with_failures(verdicts: pa.Table, reasons: Mapping[str, str], rule: str) -> pa.Table:
    """Verdicts in which kept clips that failed later say so.

    Args:
        reasons: clip_id to why it failed.
        rule: the step in which it did.
    """
    kept = np.flatnonzero(pc.equal(verdicts["outcome"], OUTCOME_KEPT).to_numpy())
    told = {place: reasons[name] for place, name in zip(kept.tolist(), views.clip_ids(verdicts.take(pa.array(kept)))) if name in reasons}
    failed = np.zeros(verdicts.num_rows, bool)
    failed[list(told)] = True
    changed = {"outcome": OUTCOME_FAILED, "rule": rule, "words": "{}", "number": None}
    columns = {name: pc.if_else(failed, pa.scalar(value, verdicts.schema.field(name).type), verdicts[name]) for name, value in changed.items()}
    why = Texts(np.array(list(told), np.int64), pa.array(list(told.values()), pa.string()))
    columns["text"] = pc.coalesce(why.spread(verdicts.num_rows), verdicts["text"])
    return pa.table([columns.get(name, verdicts[name]) for name in verdicts.column_names], schema=verdicts.schema)


def _with_draws(judged: Judged, drawn_out: pa.Table) -> tuple[np.ndarray, pa.ChunkedArray, Texts, list[tuple[str, str]]]:
    """Codes, numbers, texts and sayings once the draws have had their say."""
    if not drawn_out.num_rows:
        return judged.codes, judged.numbers, judged.texts, list(judged.sayings)
    rule, words = (drawn_out[name].combine_chunks().dictionary_encode() for name in ("rule", "words"))
    of_row = rule.indices.to_numpy().astype(np.int64) * len(words.dictionary) + words.indices.to_numpy()
    pairs = list(itertools.product(rule.dictionary.to_pylist(), words.dictionary.to_pylist()))
    sayings = list(dict.fromkeys([*judged.sayings, *pairs]))
    code_of = {saying: code for code, saying in enumerate(sayings)}
    places = drawn_out["position"].to_numpy()
    codes, drawn = judged.codes.copy(), np.zeros(len(judged.codes), bool)
    codes[places], drawn[places] = np.array([code_of[pair] for pair in pairs], np.int16)[of_row], True
    numbers = pc.replace_with_mask(judged.numbers, drawn, drawn_out["number"].combine_chunks())
    texts = Texts(np.concatenate([judged.texts.places, places]), pa.concat_arrays([judged.texts.texts, drawn_out["text"].combine_chunks()]))
    return codes, numbers, texts, sayings


def _spoken(codes: np.ndarray, silent: np.ndarray, said: list[str]) -> pa.DictionaryArray:
    """What is said by each code, each text once."""
    distinct = list(dict.fromkeys(said))
    place = np.array([*(distinct.index(text) for text in said), -1], np.int16)
    return pa.DictionaryArray.from_arrays(pa.array(place[codes], mask=silent), pa.array(distinct, pa.string()))


def _held_s(clips: pa.Table, sources: int) -> np.ndarray:
    """Seconds of each source that lie in clips; a stretch at a time, in which few sources come."""
    held_s = np.zeros(sources)
    for batch in clips.select(["source_number", "start_s", "end_s"]).to_batches(max_chunksize=1 << 17):
        number = batch["source_number"].to_numpy()
        first = int(number.min())
        sums = np.bincount(number - first, pc.subtract(batch["end_s"], batch["start_s"]).to_numpy())
        held_s[first : first + len(sums)] += sums
    return held_s


def _rest(connection: duckdb.DuckDBPyConnection, clips: pa.Table, names: pa.Table) -> str:
    """SQL for the gaps and for the seconds that neither a clip nor a gap holds: all of a source that was never read, none of one measured well."""
    held_s = _held_s(clips, names.num_rows)
    connection.register("held_by_clips", names.append_column("clips_s", pa.array(held_s)))
    seconds = "coalesce(duration_s, container_duration_s, 0.0)"
    gaps_s = "SELECT source_id, sum(end_s - start_s) AS gaps_s FROM gaps GROUP BY source_id"
    sums = f"SELECT source_id, coalesce(clips_s, 0) + coalesce(gaps_s, 0) AS held_s FROM held_by_clips FULL JOIN ({gaps_s}) USING (source_id)"
    unread = f"status <> {literal(STATUS_OK)} AND held_s IS NULL"
    short = f"SELECT source_id, status, rule, reason, {seconds} AS seconds, held_s FROM sources LEFT JOIN ({sums}) USING (source_id)"
    connection.execute(f"CREATE TEMP TABLE short AS SELECT * FROM ({short}) WHERE abs(coalesce(held_s, 0) - seconds) > {TOLERANCE_S!r} OR ({unread})")
    gaps = "SELECT source_id, start_s, end_s, outcome, rule, detail FROM gaps"
    if not connection.execute("SELECT count(*) FROM short").fetchall()[0][0]:
        return gaps
    before = "coalesce(max(end_s) OVER (PARTITION BY source_id ORDER BY start_s, end_s ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0.0)"
    mine = " UNION ALL ".join(f"SELECT source_id, start_s, end_s FROM {name} WHERE source_id IN (SELECT source_id FROM short)" for name in ("clips", "gaps"))
    ends = "SELECT source_id, seconds AS start_s, seconds AS end_s FROM short"
    between = f"SELECT source_id, {before} AS start_s, start_s AS end_s FROM ({mine} UNION ALL {ends})"
    ok = f"status = {literal(STATUS_OK)}"
    told = [f"CASE WHEN {ok} THEN {literal(OUTCOME_FAILED)} ELSE status END", f"CASE WHEN {ok} THEN 'measure' ELSE rule END"]
    told.append(f"CASE WHEN {ok} THEN {literal(UNTOLD)} ELSE reason END")
    holes = f"SELECT source_id, start_s, end_s, {', '.join(told)} FROM ({between}) JOIN short USING (source_id)"
    return f"{gaps} UNION ALL {holes} WHERE end_s - start_s > {TOLERANCE_S!r} OR ({unread})"
