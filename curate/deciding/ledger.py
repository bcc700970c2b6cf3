"""Ledger: what became of every second of every source, once a recipe has decided: each clip, each gap, and the seconds in neither."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

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
ROWS_AT_ONCE = 1 << 21
BELONGING = ["source_id", "start_frame", "end_frame", "start_s", "end_s"]
"""Columns of clips that their verdicts repeat."""
UNTOLD = "no clip and no gap holds these seconds; are they measured yet?"
ENCODED = {
    "source_id": pa.dictionary(pa.int32(), pa.string()),
    "outcome": pa.dictionary(pa.int8(), pa.string()),
    "rule": pa.dictionary(pa.int16(), pa.string()),
    "words": pa.dictionary(pa.int16(), pa.string()),
}
"""Columns of verdicts whose texts repeat: they are made, and written, as dictionaries."""


@dataclass(frozen=True)
class Sparse:
    """Values of some rows of many.

    Attributes:
        places: int64 (M,), of which rows, ascending.
        values: one of each.
    """

    places: np.ndarray
    values: pa.Array

    def between(self, start: int, stop: int) -> pa.Array:
        """The values of a stretch of rows, null where there is none."""
        low, high = np.searchsorted(self.places, (start, stop))
        if low == high:
            return pa.nulls(stop - start, self.values.type)
        take, elsewhere = np.zeros(stop - start, np.int32), np.ones(stop - start, bool)
        here = self.places[low:high] - start
        take[here], elsewhere[here] = np.arange(high - low), False
        return self.values.slice(low, high - low).take(pa.array(take, mask=elsewhere))


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
    texts: Sparse
    sayings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Verdicts:
    """What became of every second (schema VERDICTS, texts that repeat as dictionaries): made a stretch at a time, so that not all of it need be held.

    Attributes:
        clips: source_id, start_frame, end_frame, start_s and end_s of each clip.
        judged: what the rules and the draws say of them.
        drawn: numbers that tell of draws.
        rest: verdicts on seconds that belong to no clip.
    """

    clips: pa.Table
    judged: Judged
    drawn: Sparse
    rest: pa.Table

    def pieces(self) -> list[Callable[[], pa.Table]]:
        """What makes each stretch, in order; they may be called in threads."""
        rows = self.clips.num_rows
        return [*(partial(self._stretch, start, min(start + ROWS_AT_ONCE, rows)) for start in range(0, rows, ROWS_AT_ONCE)), lambda: self.rest]

    def table(self) -> pa.Table:
        """All of it."""
        return pa.concat_tables([make() for make in self.pieces()])

    def _stretch(self, start: int, stop: int) -> pa.Table:
        codes, said = self.judged.codes[start:stop], self.judged.sayings
        silent = codes < 0
        columns = {
            **{name: self.clips[name].slice(start, stop - start) for name in BELONGING},
            "outcome": pa.DictionaryArray.from_arrays(pa.array((~silent).view(np.int8)), pa.array([OUTCOME_KEPT, OUTCOME_REJECTED])),
            "rule": _spoken(codes, silent, [rule for rule, _ in said]),
            "words": _spoken(codes, silent, [words for _, words in said]),
            "number": pc.coalesce(self.judged.numbers.slice(start, stop - start), self.drawn.between(start, stop)),
            "text": self.judged.texts.between(start, stop),
        }
        return _encoded(pa.table(columns))


def verdicts_of(connection: duckdb.DuckDBPyConnection, clips: pa.Table, names: pa.Table, judged: Judged, drawn_out: pa.Table) -> Verdicts:
    """What became of every second.

    Args:
        connection: has `clips`, `gaps` and `sources`.
        clips: at least BELONGING and source_number.
        names: the `source_id` of each source number, in their order.
        judged: what the rules say of them.
        drawn_out: `position`, `rule`, `words`, `number` and `text` of clips that passed every rule and were not drawn, by position.
    """
    filled = f"SELECT * EXCLUDE (detail), CASE WHEN detail IS NOT NULL THEN '{{}}' END AS words, detail AS text FROM ({_rest(connection, clips, names)})"
    rest = _encoded(conform(connection.sql(filled).to_arrow_table(), VERDICTS))
    drawn = Sparse(drawn_out["position"].to_numpy(), drawn_out["number"].combine_chunks())
    return Verdicts(clips.select(BELONGING), _with_draws(judged, drawn_out), drawn, rest)


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
    why = Sparse(np.array(list(told), np.int64), pa.array(list(told.values()), pa.string()))
    columns["text"] = pc.coalesce(why.between(0, verdicts.num_rows), verdicts["text"])
    return pa.table([columns.get(name, verdicts[name]) for name in verdicts.column_names], schema=verdicts.schema)


def _with_draws(judged: Judged, drawn_out: pa.Table) -> Judged:
    """What is said of clips, numbers aside, once the draws have had their say."""
    if not drawn_out.num_rows:
        return judged
    rule, words = (drawn_out[name].combine_chunks().dictionary_encode() for name in ("rule", "words"))
    of_row = rule.indices.to_numpy().astype(np.int64) * len(words.dictionary) + words.indices.to_numpy()
    pairs = list(itertools.product(rule.dictionary.to_pylist(), words.dictionary.to_pylist()))
    sayings = tuple(dict.fromkeys([*judged.sayings, *pairs]))
    code_of = {saying: code for code, saying in enumerate(sayings)}
    codes = judged.codes.copy()
    codes[drawn_out["position"].to_numpy()] = np.array([code_of[pair] for pair in pairs], np.int16)[of_row]
    return dataclasses.replace(judged, codes=codes, texts=_both(judged.texts, drawn_out), sayings=sayings)


def _both(texts: Sparse, drawn_out: pa.Table) -> Sparse:
    """The texts of rules and of draws."""
    places = np.concatenate([texts.places, drawn_out["position"].to_numpy()])
    order = np.argsort(places)
    return Sparse(places[order], pa.concat_arrays([texts.values, drawn_out["text"].combine_chunks()]).take(pa.array(order)))


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
