"""Decide: which clips a recipe keeps, and what became of every second of every source; tables in, tables out.

It runs on numbers: a source is its number, a clip its frames, and why a clip is rejected is one of a few sentences with a number in it. Ids and
words are made for those clips only that somebody asks about, which is what lets a recipe be applied to 25 million clips in seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.deciding import draw
from curate.deciding import split as splitting
from curate.deciding.funnel import Step, rule_steps
from curate.deciding.ledger import Judged, Sparse, Verdicts, verdicts_of
from curate.deciding.rules import Case, Rule, literal, range_rules, source_refusal
from curate.storage import views
from schemas.recipe import Recipe

SELECTION = pa.schema([("clip_id", pa.string()), ("order", pa.int64())])
HELD_OUT, RIGHTS, SPLIT = "held_out", "rights", "split"
SET_ASIDE = "set_aside"
"""The column, beside those of clips, that says on which side of a recipe's split each one is."""


@dataclass(frozen=True)
class Decision:
    """What a recipe makes of a corpus.

    Attributes:
        selection: clip_id and order (a shuffle by the recipe's seed) of each clip kept.
        verdicts: every second of every source.
        funnel: what each rule rejected.
    """

    selection: pa.Table
    verdicts: Verdicts
    funnel: tuple[Step, ...]

    @property
    def ledger(self) -> pa.Table:
        """The verdicts in words (schema LEDGER)."""
        return in_words(self.verdicts.table())


SOURCE_COLUMNS = ("source_id", "status", "rule", "reason", "license", "rights_uses", "rights_territories", "rights_start", "rights_expires",
                  "releases", "duration_s", "container_duration_s")  # fmt: skip
"""The columns of sources that a decision needs."""


def in_words(verdicts: pa.Table) -> pa.Table:
    """Verdicts as people read them (schema LEDGER)."""
    return views.run(views.ledger(""), {"verdicts/": verdicts})


def columns_read(recipe: Recipe) -> frozenset[str]:
    """The columns of clips that a decision needs, and `unmeasured` besides where one that a rule is about has nulls; the rest may be absent."""
    return draw.reads(recipe).union(splitting.READS if recipe.split else (), *(rule.reads for rule in range_rules(recipe)))


def with_sides(clips: pa.Table, recipe: Recipe) -> pa.Table:
    """The clips of a whole corpus with the column SET_ASIDE, where the recipe asks for a split and they do not have it yet."""
    if recipe.split is None or SET_ASIDE in clips.column_names:
        return clips
    return clips.append_column(SET_ASIDE, pa.array(splitting.set_aside(clips, recipe.split.held_out, recipe.split.seed)))


def decide(recipe: Recipe, clips: pa.Table, sources: pa.Table, gaps: pa.Table, *, on: date, without: frozenset[str] = frozenset()) -> Decision:
    """Judge every clip, draw among those that pass, and account for every second.

    Args:
        recipe: the rules.
        clips: at least `columns_read(recipe)` of the schema CLIPS; `source_id` may be a dictionary, which is faster.
        sources: at least SOURCE_COLUMNS of the schema SOURCES.
        gaps: schema GAPS.
        on: the day on which rights must hold.
        without: clusters of duplicates that may not be kept.
    """
    clips, names = numbered(with_sides(clips, recipe))
    with duckdb.connect() as connection:
        rules = _rules(connection, recipe, {"clips": clips, "names": names, "sources": sources, "gaps": gaps}, on, without)
        judged = _judge(connection, clips, rules)
        steps = list(rule_steps([(rule.name, rule.wants) for rule in rules], _masks(connection, clips, judged)))
        passes = judged.codes < 0
        connection.register("passing", clips.filter(pa.array(passes)).append_column("position", pa.array(np.flatnonzero(passes))))
        steps += _draw(connection, recipe)
        order = f"row_number() OVER (ORDER BY md5_number_lower({literal(f'order:{recipe.seed}:')} || clip_id), clip_id) - 1"
        selection = connection.sql(f'SELECT clip_id, {order} AS "order" FROM survivors ORDER BY "order"').to_arrow_table()
        drawn_out = connection.sql("SELECT * FROM drawn_out ORDER BY position").to_arrow_table()
        return Decision(selection.cast(SELECTION), verdicts_of(connection, clips, names, judged, drawn_out), tuple(steps))


def numbered(clips: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Clips with `source_id` as a dictionary and its number as `source_number`, and which id each number (from 0) stands for."""
    place, ids = clips.column_names.index("source_id"), clips["source_id"]
    ids = ids if pa.types.is_dictionary(ids.type) else ids.dictionary_encode()
    unified = ids.unify_dictionaries()
    names = unified.chunk(0).dictionary.cast(pa.string()) if unified.num_chunks else pa.array([], pa.string())
    numbers = pa.chunked_array([chunk.indices for chunk in unified.chunks], pa.int32())
    numbered_ = clips.set_column(place, "source_id", ids).append_column("source_number", numbers)
    return numbered_, pa.table({"source_number": np.arange(len(names), dtype=np.int32), "source_id": names})


def verdicts(recipe: Recipe, clip: pa.Table, sources: pa.Table, *, on: date, without: frozenset[str] = frozenset()) -> list[tuple[Rule, str | None]]:
    """What each rule that judges a clip by itself says of the one clip in a table: why it rejects it, or None."""
    clip, names = numbered(clip)
    with duckdb.connect() as connection:
        rules = _rules(connection, recipe, {"clips": clip, "names": names, "sources": sources}, on, without)
        told = []
        for rule in rules:
            judged = _judge(connection, clip, [rule])
            case = judged.sayings[judged.codes[0]][1] if judged.codes[0] >= 0 else None
            told.append({"words": case, "number": judged.numbers[0].as_py(), "text": judged.texts.between(0, 1)[0].as_py()})
    schema = pa.schema([(name, pa.float64() if name == "number" else pa.string()) for name in told[0]])
    spoken = views.sentences(pa.Table.from_pylist(told, schema=schema))
    return list(zip(rules, spoken))


def _rules(connection: duckdb.DuckDBPyConnection, recipe: Recipe, tables: Mapping[str, pa.Table], on: date, without: frozenset[str]) -> tuple[Rule, ...]:
    """Every rule that judges a clip by itself, in order: rights, what is held out, the recipe's split, its columns.

    Gives the connection the tables, with `held_out` (cluster, and its frames) and `refused` (source_number, detail), on which the first two rest.
    """
    for name, table in tables.items():
        connection.register(name, table)
    connection.register("set_aside", pa.table({"cluster": pa.array(sorted(without), pa.string())}))
    connection.execute(f"CREATE TEMP TABLE held_out AS {_HELD_OUT}")
    refused = f"SELECT source_id, detail FROM (SELECT source_id, {source_refusal(recipe.rights, on)} AS detail FROM sources) WHERE detail IS NOT NULL"
    connection.execute(f"CREATE TEMP TABLE refused AS SELECT source_number, detail FROM ({refused}) JOIN names USING (source_id)")
    # Looking nothing up in an empty table would still cost a pass over every clip.
    any_refused = connection.execute("SELECT count(*) > 0 FROM refused").fetchall()[0][0]
    why = Case("true", "{}", text="(SELECT detail FROM refused WHERE refused.source_number = clips.source_number)")
    fails = "source_number IN (SELECT source_number FROM refused)" if any_refused else "false"
    rights = Rule(RIGHTS, "rights that allow it today", fails, (why,), ("source_id",))
    best = "(source_number, start_frame, end_frame) IN (SELECT (source_number, start_frame, end_frame) FROM held_out WHERE source_number IS NOT NULL)"
    apart = f"coalesce(duplicate_of IN (SELECT cluster FROM held_out), {best})" if without else "false"
    told = Case("true", "its cluster of duplicates is set aside for validation")
    held_out = Rule(HELD_OUT, "not set aside", apart, (told,), ("duplicate_of", "start_frame", "end_frame"))
    return (rights, held_out, *_split_rules(recipe), *range_rules(recipe))


def _split_rules(recipe: Recipe) -> tuple[Rule, ...]:
    if recipe.split is None:
        return ()
    training = recipe.split.part == "training"
    told = "is set aside by the split, with its copies, what is alike to it and the rest of its shot" if training else "is not set aside by the split"
    wants = f"{'not ' if training else ''}among the {recipe.split.held_out:.6g} set aside"
    return (Rule(SPLIT, wants, SET_ASIDE if training else f"NOT {SET_ASIDE}", (Case("true", told),), ()),)


_PARTS = "regexp_extract(cluster, '^(.*)-([0-9]+)-([0-9]+)$', ['source_id', 'start_frame', 'end_frame'])"
_HELD_OUT = (
    f"SELECT cluster, source_number, TRY_CAST(start_frame AS BIGINT) AS start_frame, TRY_CAST(end_frame AS BIGINT) AS end_frame "
    f"FROM (SELECT cluster, unnest({_PARTS}) FROM set_aside) LEFT JOIN names USING (source_id)"
)
"""SQL for the clusters set aside, with the clip that each is called after taken apart."""


def _judge(connection: duckdb.DuckDBPyConnection, clips: pa.Table, rules: Sequence[Rule]) -> Judged:
    """What the rules say of each clip in the table `clips`."""
    cases = [(index, case) for index, rule in enumerate(rules) for case in rule.cases]
    whole = "INTEGER" if len(rules) < 31 else "BIGINT"
    mask = " | ".join(f"(CASE WHEN {rule.fails} THEN {1 << index} ELSE 0 END)::{whole}" for index, rule in enumerate(rules))
    first = " ".join(f"WHEN (mask & {1 << index}) <> 0 THEN CASE {_told(cases, index)} END" for index in range(len(rules)))
    numbers = " ".join(f"WHEN {code} THEN ({case.number})::DOUBLE" for code, (_, case) in enumerate(cases) if case.number is not None)
    coded = f"SELECT *, coalesce(CASE {first} END, -1)::SMALLINT AS code FROM (SELECT *, {mask} AS mask FROM clips)"
    told = connection.sql(f"SELECT mask, code, {f'CASE code {numbers} END' if numbers else 'NULL::DOUBLE'} AS number FROM ({coded})").to_arrow_table()
    codes = told["code"].to_numpy()
    spoken = [code for code, (_, case) in enumerate(cases) if case.text is not None]
    places = np.flatnonzero(_marked(len(cases), spoken)[codes]) if spoken else np.empty(0, np.int64)
    texts: pa.Array = pa.array([], pa.string())
    if len(places):
        connection.register("told", clips.take(pa.array(places)).append_column("code", pa.array(codes[places])))
        words = " ".join(f"WHEN {code} THEN {cases[code][1].text}" for code in set(codes[places].tolist()))
        texts = connection.sql(f"SELECT CASE code {words} END AS text FROM told AS clips").to_arrow_table()["text"].combine_chunks()
    return Judged(told["mask"], codes, told["number"], Sparse(places, texts), tuple((rules[index].name, case.words) for index, case in cases))


def _told(cases: Sequence[tuple[int, Case]], index: int) -> str:
    """SQL for the code of the first case that holds, of those of one rule."""
    return " ".join(f"WHEN {case.when} THEN {code}" for code, (of_rule, case) in enumerate(cases) if of_rule == index)


def _marked(cases: int, chosen: Sequence[int]) -> np.ndarray:
    """Whether a code is among those chosen: bool (cases + 1,), the last for -1, which is no case."""
    marked = np.zeros(cases + 1, bool)
    marked[list(chosen)] = True
    return marked


def _masks(connection: duckdb.DuckDBPyConnection, clips: pa.Table, judged: Judged) -> list[tuple[int, int, float]]:
    """How many clips and seconds there are of each mask."""
    connection.register("masked", pa.table({"mask": judged.masks, "length_s": pc.subtract(clips["end_s"], clips["start_s"])}))
    return connection.execute("SELECT mask, count(*), sum(length_s) FROM masked GROUP BY mask ORDER BY mask").fetchall()


def _draw(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> list[Step]:
    """Make the table `survivors` of the clips that pass every rule, thin it out into `drawn_out`, and tell how."""
    columns = ", ".join(f"{expression} AS {name}" for name, expression in draw.survivor_columns(recipe).items())
    named = f"SELECT *, {views.CLIP_ID} AS clip_id FROM (SELECT * FROM passing)"
    connection.execute(f"CREATE TEMP TABLE survivors AS SELECT {columns} FROM ({named})")
    connection.execute("CREATE TEMP TABLE drawn_out (position BIGINT, rule VARCHAR, words VARCHAR, number DOUBLE, text VARCHAR)")
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
