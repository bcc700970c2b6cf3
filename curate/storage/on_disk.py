"""On disk: columns of relations in a DuckDB file, for questions about all their rows in bounded memory."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from curate.corpus import Corpus
from curate.storage.relations import RELATIONS
from curate.storage.store import Snapshot
from schemas.clip import CLIPS

SORTING: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "256MB", "threads": 1, "preserve_insertion_order": False, "python_enable_replacements": False
}  # fmt: skip
"""What is sorted or joined beyond this memory goes to disk."""


@contextmanager
def on_disk() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in a folder that goes when it is left."""
    with tempfile.TemporaryDirectory(prefix="clipmill-tables-") as folder, duckdb.connect(f"{folder}/tables", config=SORTING) as connection:
        yield connection


def copy(corpus: Corpus, connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], table: str) -> None:
    """Some columns of a relation as a table, a row group or a commit at a time; in place of what was called so before."""
    known = RELATIONS.get(relation, CLIPS)
    schema = pa.schema([known.field(name) for name in columns])

    def fill(snapshot: Snapshot) -> None:
        insert(connection, table, schema.empty_table(), f"CREATE OR REPLACE TABLE {table} AS")
        if relation in snapshot.names():
            for rows in corpus.store.batches(snapshot, relation, columns):
                insert(connection, table, rows.select(columns))

    corpus.store.consistently(fill)


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table, how: str = "") -> None:
    """Rows into a table."""
    connection.register("arriving", rows)
    connection.execute(f"{how or f'INSERT INTO {table}'} SELECT * FROM arriving")
    connection.unregister("arriving")
