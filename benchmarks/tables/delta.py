"""Delta through delta-rs: a table for each relation and each scorer; a commit's key is an application transaction."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.tables.base import QUERY, Tables, image_bytes


class Delta(Tables):
    """delta-rs: a table for each relation and each scorer; a commit's key is an application transaction."""

    name = "Delta (delta-rs)"

    def commit(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

        for name, rows in tables.items():
            path = self._path(name)
            if os.path.isdir(path) and DeltaTable(path).transaction_version(key) is not None:
                continue
            write_deltalake(path, rows, mode="append", commit_properties=CommitProperties(app_transactions=[Transaction(key, 1)], max_commit_retries=100))

    def keys(self) -> int:
        # delta-rs cannot list application transactions: what is done has to be read off the rows.
        return len(self._dataset("spans").to_table(columns=["source_id"])["source_id"].unique())

    def load(self, name: str, rows: Iterator[pa.Table]) -> None:
        from deltalake import write_deltalake

        for batch in rows:
            write_deltalake(self._path(name), batch, mode="append")

    def add_measure(self, name: str, rows: Iterator[pa.Table]) -> None:
        self.load(f"measures-{name}", rows)

    def tidy(self) -> None:
        from deltalake import DeltaTable

        for path in self.root.iterdir():
            DeltaTable(str(path)).optimize.compact(target_size=256 << 20)
            DeltaTable(str(path)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
            DeltaTable(str(path)).create_checkpoint()

    def query(self) -> tuple[int, float]:
        joined = "SELECT * FROM spans JOIN aesthetic USING (clip_id) JOIN watermark USING (clip_id)"
        with duckdb.connect(config={"threads": 2, "memory_limit": "6GB"}) as connection:
            for name in ("spans", "measures-aesthetic", "measures-watermark"):
                connection.register(name.removeprefix("measures-"), self._dataset(name))
            return connection.sql(QUERY.replace("FROM clips", f"FROM ({joined})")).fetchall()[0]

    def spans_of(self, ids: list[str]) -> int:
        return self._dataset("spans").to_table(filter=pc.field("clip_id").isin(ids)).num_rows

    def rows(self, name: str) -> int:
        return self._dataset(name).count_rows() if os.path.isdir(self._path(name)) else 0

    def pictures(self, ids: list[str]) -> int:
        return image_bytes(self._dataset("proxies").to_table(filter=pc.field("clip_id").isin(ids)))

    def _path(self, name: str) -> str:
        return str(self.root / name.replace("/", "-"))

    def _dataset(self, name: str) -> Any:
        from deltalake import DeltaTable

        return DeltaTable(self._path(name)).to_pyarrow_dataset()
