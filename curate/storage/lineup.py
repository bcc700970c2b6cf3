"""Lining up: relations about clips, sorted and cut at the same clips, so that columns of millions of clips are put side by side without a join."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from curate.storage.parts import TARGET_BYTES, Generation, Part, Parts
from curate.storage.store import Snapshot, Store

SPANS = "spans"
"""The relation with every clip once; the others line up with it."""

Range = tuple[str | None, str | None]


def line_up(store: Store, names: Sequence[str], target_bytes: int = TARGET_BYTES) -> list[str]:
    """Sort relations about clips across all their parts and cut them where spans are cut; those that had to be rewritten.

    Loose commits are gathered first. A relation that is written to meanwhile is left as it is, and joined until the next time.
    """
    store.gather(target_bytes=target_bytes)
    changed = []
    for name in (SPANS, *(name for name in names if name != SPANS)):
        before = store.now().generation.parts
        spans, mine = before.get(SPANS, ()), before.get(name, ())
        if in_order(mine) if name == SPANS else side_by_side(spans, mine):
            continue
        if name != SPANS and not in_order(spans):
            break
        ranges = _ranges(_cuts(store.parts, mine, target_bytes)) if name == SPANS else _ranges([part.first for part in spans[1:] if part.first])
        fresh = tuple(part for low_high in ranges for part in _write_range(store.parts, name, mine, low_high))
        changed += [name] if _swap(store.parts, name, mine, fresh) else []
    return changed


def columns_side_by_side(store: Store, snapshot: Snapshot, wanted: Mapping[str, Sequence[str]], encoded: Sequence[str] = ()) -> pa.Table | None:
    """Columns of several relations for every clip, sorted by clip; None where they do not line up.

    Args:
        wanted: relation to columns; the columns of a relation other than spans are given as RELATION.COLUMN.
        encoded: columns to give as dictionaries.
    """
    parts = snapshot.generation.parts
    spans = parts.get(SPANS, ())
    if any(snapshot.loose_of(name) for name in wanted) or not spans or not in_order(spans):
        return None
    if not all(side_by_side(spans, parts.get(name, ())) for name in wanted):
        return None
    with ThreadPoolExecutor(4) as pool:
        read = {name: pool.map(functools.partial(store.parts.read, columns=columns, encoded=encoded), parts[name]) for name, columns in wanted.items()}
        tables = {name: pa.concat_tables(found, promote_options="default") for name, found in read.items()}
    made = {column if name == SPANS else f"{name}.{column}": rows[column] for name, rows in tables.items() for column in rows.column_names}
    return pa.table(made)


def in_order(parts: Sequence[Part]) -> bool:
    """Whether parts follow upon each other without overlap."""
    return all(before.last is not None and after.first is not None and before.last < after.first for before, after in itertools.pairwise(parts))


def side_by_side(some: Sequence[Part], others: Sequence[Part]) -> bool:
    """Whether parts hold the same clips, row by row."""
    return len(some) == len(others) and all(one.clips is not None and one.clips == other.clips for one, other in zip(some, others))


def _cuts(parts: Parts, mine: Sequence[Part], target_bytes: int) -> list[str]:
    """Clip ids at which sorted rows make parts of about `target_bytes`, by the statistics of their row groups."""
    groups: list[tuple[str, int]] = []
    for part in mine:
        with parts.open(part) as file:
            place = file.schema_arrow.names.index("clip_id")
            for number in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(number)
                statistics = group.column(place).statistics
                groups.append((statistics.min if statistics is not None and statistics.has_min_max else part.first or "", group.total_byte_size))
    cuts, held = [], 0
    for first, size in sorted(groups):
        if held + size > target_bytes and held:
            cuts.append(first)
            held = 0
        held += size
    return sorted(set(cuts))


def _ranges(cuts: Sequence[str]) -> list[Range]:
    edges = [None, *cuts, None]
    return list(itertools.pairwise(edges))


def _write_range(parts: Parts, name: str, mine: Sequence[Part], low_high: Range) -> Iterator[Part]:
    """The rows of one range, from wherever they lie, as one sorted part."""
    low, high = low_high
    where = pc.scalar(True)
    where = where if low is None else where & (pc.field("clip_id") >= low)
    where = where if high is None else where & (pc.field("clip_id") < high)
    holding = [part for part in mine if (high is None or (part.first or "") < high) and (low is None or (part.last or "\uffff") >= low)]
    tables = [rows for part in holding if (rows := parts.read(part, where=where)).num_rows]
    if tables:
        yield parts.write_one(name, tables)


def _swap(parts: Parts, name: str, before: Sequence[Part], fresh: tuple[Part, ...]) -> bool:
    """Publish parts in place of others with the same rows, unless the relation changed meanwhile."""
    same = sum(part.rows for part in before) == sum(part.rows for part in fresh)

    def swapped(generation: Generation) -> Generation | None:
        if not same or generation.parts.get(name, ()) != before:
            return None
        return dataclasses.replace(generation, parts={**generation.parts, name: fresh})

    done = parts.publish(swapped) is not None
    parts.remove(part.path for part in (before if done else fresh))
    return done
