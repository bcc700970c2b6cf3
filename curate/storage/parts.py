"""Parts: immutable, sorted Parquet files of 64 to 256 MB, and the generations that say which of them make up each relation.

    generations/00000012.json    which parts make up each relation; the highest number holds
    parts/RELATION/…             the parts

A generation is published by creating its numbered file if absent, so of two writers one wins and the other looks again.
"""

import bisect
import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, Self, TypeAlias
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from curate.storage.atomic import create_if_absent, create_large_if_absent, digest_of, names_in
from curate.storage.commits import StoreError

ORDER = ("group", "key", "clip_id", "source_id", "kind", "proxy_index", "shot_index", "captioner", "start_s")
"""By which of its columns a part is sorted."""

TARGET_BYTES = 256 << 20
ROWS_IN_GROUP = 1 << 17
BYTES_IN_GROUP = 8 << 20
GENERATIONS_KEPT = 8
WRITERS = 3

Rows: TypeAlias = pa.Table | Sequence[Callable[[], pa.Table]]
"""Rows of a relation: at hand, or made a piece at a time when they are written."""


@dataclass(frozen=True)
class Part:
    """An immutable Parquet file.

    Attributes:
        path: below the root.
        rows: how many it has.
        bytes: its size.
        sha256: digest of its bytes.
        first: the smallest of its clip ids, or source ids where it has no clip ids; None where it has neither.
        last: the largest of them.
        clips: digest of its clip ids in order: parts with the same digest hold the same clips, row by row.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    first: str | None = None
    last: str | None = None
    clips: str | None = None

    def may_hold(self, ids: Sequence[str] | None) -> bool:
        """Whether rows of one of the ids can be in it; `ids` is sorted, None stands for every id."""
        if ids is None or self.first is None or self.last is None:
            return True
        at = bisect.bisect_left(ids, self.first)
        return at < len(ids) and ids[at] <= self.last

    def may_begin(self, prefix: str) -> bool:
        """Whether ids in it can begin so."""
        return self.first is None or self.last is None or self.first[: len(prefix)] <= prefix <= self.last[: len(prefix)]


@dataclass(frozen=True)
class Generation:
    """Which parts make up each relation.

    Attributes:
        number: its place, from 1.
        parts: of each relation.
        replaced: for a relation that was swapped as a whole, the generation that did so last.
        journal: number and digest of the journal's last entry when this was written, so that a cut shows; None where it has none.
    """

    number: int = 0
    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    replaced: Mapping[str, int] = field(default_factory=dict)
    journal: tuple[int, str] | None = None

    def to_json(self) -> bytes:
        """The generation as its file holds it."""
        parts = {name: [dataclasses.asdict(part) for part in found] for name, found in sorted(self.parts.items())}
        told = {"number": self.number, "parts": parts, "replaced": dict(sorted(self.replaced.items())), "journal": self.journal}
        return json.dumps({**told, "sha256": _told_digest(told)}, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Generation":
        """The generation back from its file.

        Raises:
            ValueError: it is not what was written.
        """
        told = json.loads(data)
        if "sha256" in told and told.pop("sha256") != _told_digest(told):
            raise ValueError("its digest does not fit")
        if told.keys() - {"journal"} != {"number", "parts", "replaced"}:
            raise ValueError("it does not tell number, parts and replaced alone")
        parts = {name: tuple(Part(**part) for part in found) for name, found in told["parts"].items()}
        return cls(told["number"], parts, told["replaced"], tuple(told["journal"]) if told.get("journal") else None)


def _told_digest(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class Told(io.RawIOBase):
    """Passes what is written on to a file, and knows its size and digest."""

    def into(self, file: IO[bytes]) -> Self:
        """Begin to write to a file."""
        self._file, self.bytes, self.sha256 = file, 0, hashlib.sha256()
        return self

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.bytes

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        self.bytes += len(data)
        return self._file.write(data)


class Parts:
    """The parts and generations below one folder."""

    def __init__(self, filesystem: AbstractFileSystem, root: str) -> None:
        self.filesystem = filesystem
        self.root = root

    def latest(self) -> Generation:
        """The generation that holds; an empty one in a new store."""
        files = names_in(self.filesystem, f"{self.root}/generations")
        if not files:
            return Generation()
        path = f"{self.root}/generations/{files[-1]}"
        data = self.filesystem.cat_file(path)
        try:
            return Generation.from_json(data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{path}: is damaged ({error}); restore it from a copy of the corpus") from None

    def publish(self, change: Callable[[Generation], Generation | None]) -> Generation | None:
        """Make what `change` makes of the latest generation the next one; asks again when another writer was faster.

        Returns the generation before, or None where `change` declined.
        """
        folder = f"{self.root}/generations"
        while True:
            before = self.latest()
            after = change(before)
            if after is None:
                return None
            after = dataclasses.replace(after, number=before.number + 1)
            path, data = f"{folder}/{after.number:08d}.json", after.to_json()
            # A write that an object store carried out but reported as failed is recognised by its content.
            if create_if_absent(self.filesystem, path, data) or self.filesystem.cat_file(path) == data:
                self.remove(f"generations/{old}" for old in names_in(self.filesystem, folder)[:-GENERATIONS_KEPT])
                return before

    def read(self, part: Part, columns: Sequence[str] | None = None, where: pc.Expression | None = None, encoded: Sequence[str] = ()) -> pa.Table:
        """One part's rows, or only those for which an expression holds; columns it does not have are left out, `encoded` ones come as dictionaries."""
        with self._whole(part), self.open(part, [name for name in encoded if columns is None or name in columns]) as file:
            wanted = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
            return file.read(wanted) if where is None else pq.read_table(self._source(part), columns=wanted, filters=where)

    def groups(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One part's rows a row group at a time; of a part without rows, none of them once."""
        with self._whole(part), self.open(part) as file:
            wanted = None if columns is None else list(columns)
            if not file.metadata.num_row_groups:
                yield file.read(wanted)
            for group in range(file.metadata.num_row_groups):
                yield file.read_row_group(group, wanted)

    def damage(self, part: Part) -> str | None:
        """What is wrong with a part's file, in words; None where it is what was written.

        Raises:
            FileNotFoundError: it is not there.
        """
        return None if digest_of(self.filesystem, f"{self.root}/{part.path}") == part.sha256 else "is damaged"

    def columns(self, part: Part) -> list[str]:
        """Names of a part's columns."""
        with self._whole(part), self.open(part) as file:
            return file.schema_arrow.names

    def open(self, part: Part, encoded: Sequence[str] = ()) -> pq.ParquetFile:
        """A part's file, for those who want some of its row groups."""
        return pq.ParquetFile(self._source(part), pre_buffer=True, read_dictionary=list(encoded) or None)

    def write(self, name: str, tables: Iterable[pa.Table], target_bytes: int = TARGET_BYTES) -> Iterator[Part]:
        """Write rows as sorted parts of about `target_bytes` of memory each; nobody sees them before a generation names them."""
        waiting: list[pa.Table] = []
        held = 0
        for rows in (piece for table in tables for piece in _pieces(table, target_bytes)):
            waiting.append(rows)
            held += rows.nbytes
            if held >= target_bytes:
                yield self.write_one(name, waiting)
                waiting, held = [], 0
        if waiting:
            yield self.write_one(name, waiting)

    def write_all(self, relations: Mapping[str, Rows], in_order: frozenset[str] = frozenset()) -> dict[str, tuple[Part, ...]]:
        """Write relations as parts, three parts at a time: two cores stay busy while a third waits for the disk."""
        made = [(name, make) for name, rows in relations.items() for make in _makers(rows)]
        with ThreadPoolExecutor(WRITERS) as pool:
            written = list(pool.map(lambda one: (one[0], self.write_one(one[0], [one[1]()], one[0] in in_order)), made))
        return {name: tuple(part for of, part in written if of == name) for name in relations}

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files below the root; one that is gone already is as good as removed."""
        for path in paths:
            try:
                self.filesystem.rm_file(f"{self.root}/{path}")
            except FileNotFoundError:
                continue

    def sweep(self) -> int:
        """Remove parts that no kept generation names, which interrupted writers left; how many. Only while nothing else writes."""
        latest = self.latest()
        named = {part.path for parts in latest.parts.values() for part in parts}
        folders = names_in(self.filesystem, f"{self.root}/parts")
        found = {f"parts/{folder}/{file}" for folder in folders for file in names_in(self.filesystem, f"{self.root}/parts/{folder}")}
        self.remove(sorted(found - named))
        return len(found - named)

    @contextlib.contextmanager
    def _whole(self, part: Part) -> Iterator[None]:
        """While a part is read: what Parquet says of a damaged one, in words that name it."""
        try:
            yield
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise StoreError(f"{self.root}/{part.path}: is damaged ({error}); `clipmill verify` lists what is affected") from None

    def _source(self, part: Part) -> Any:
        """What Parquet reads from: a path where files are local, which is fastest."""
        path = f"{self.root}/{part.path}"
        return path if isinstance(self.filesystem, LocalFileSystem) else self.filesystem.open(path, "rb")

    def write_one(self, name: str, tables: Sequence[pa.Table], in_order: bool = False) -> Part:
        """Write rows as one part, sorted unless they are `in_order`."""
        rows = pa.concat_tables(tables, promote_options="default")
        order = [(column, "ascending") for column in ORDER if column in rows.column_names]
        rows = rows if in_order or not order or _increasing(rows[order[0][0]]) else rows.sort_by(order)
        path = f"parts/{quote(name, safe='')}/{uuid.uuid4().hex}.parquet"
        # Proxies are pictures: small row groups let a scorer fetch some clips' without reading the rest.
        rows_in_group = max(1, min(ROWS_IN_GROUP, BYTES_IN_GROUP * rows.num_rows // max(rows.nbytes, 1)))
        layout, written = {"compression": "zstd", "row_group_size": rows_in_group, **_layout(rows.schema)}, Told()
        create_large_if_absent(self.filesystem, f"{self.root}/{path}", lambda file: pq.write_table(rows, written.into(file), **layout))
        bound = next((column for column in ("clip_id", "source_id") if column in rows.column_names), None)
        limits = pc.min_max(_plain(rows[bound])).as_py() if bound and rows.num_rows else {"min": None, "max": None}
        clips = _digest(rows["clip_id"]) if "clip_id" in rows.column_names else None
        return Part(path, rows.num_rows, written.bytes, written.sha256.hexdigest(), limits["min"], limits["max"], clips)


def _layout(schema: pa.Schema) -> dict[str, Any]:
    """How Parquet lays out columns of which some are encoded already, for speed; nothing where none is.

    Numbers beside words that were encoded are mostly distinct: to look for repetition among them costs more than it saves. Counts go as differences and
    measures byte by byte, since what compresses as it is costs up to four times as much to compress.
    """
    encoded = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    if not encoded:
        return {}
    counts = {field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_integer(field.type)}
    measures = {field.name: "BYTE_STREAM_SPLIT" for field in schema if pa.types.is_floating(field.type)}
    bounds = [name for name in ("clip_id", "source_id") if name in schema.names]
    return {"use_dictionary": encoded, "column_encoding": {**counts, **measures}, "write_statistics": bounds or False, "store_schema": False}


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values that can be ordered: of a dictionary, those that occur."""
    return pc.unique(values).cast(pa.string()) if pa.types.is_dictionary(values.type) else values


def _increasing(values: pa.ChunkedArray) -> bool:
    """Whether each value is above the one before, so that there is nothing to sort; finding out costs a fiftieth of sorting."""
    chunks = [chunk for chunk in values.chunks if len(chunk)]
    within = all(pc.all(pc.less(chunk[:-1], chunk[1:]), skip_nulls=False).as_py() for chunk in chunks)
    return within and all(bool(pc.less(before[-1], after[0]).as_py()) for before, after in itertools.pairwise(chunks))


def _digest(ids: pa.ChunkedArray) -> str:
    """A digest of ids in their order, however they are cut into chunks."""
    lengths, text = hashlib.sha256(), hashlib.sha256()
    for chunk in ids.cast(pa.string()).chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        lengths.update(np.diff(ends).tobytes())
        text.update(memoryview(data or b"")[ends[0] : ends[-1]])
    return hashlib.sha256(lengths.digest() + text.digest()).hexdigest()


def _makers(rows: Rows) -> Sequence[Callable[[], pa.Table]]:
    """What makes the pieces of a relation."""
    return [partial(_itself, piece) for piece in _pieces(rows, TARGET_BYTES)] if isinstance(rows, pa.Table) else rows


def _itself(rows: pa.Table) -> pa.Table:
    return rows


def _pieces(table: pa.Table, target_bytes: int) -> Iterator[pa.Table]:
    """A table in runs of rows of at most about `target_bytes`; an empty one is one piece, so that its schema is kept."""
    rows = max(1, target_bytes * table.num_rows // max(table.nbytes, 1))
    for start in range(0, max(table.num_rows, 1), rows):
        yield table.slice(start, rows)
