"""Lance: one dataset of clips that grows columns, one of proxies with an index."""

import os
from collections.abc import Iterator, Mapping

import pyarrow as pa

from benchmarks.tables.base import Tables, counted, image_bytes


class Lance(Tables):
    """Lance: one dataset of clips that grows columns, one of proxies with an index."""

    name = "Lance"

    def commit(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        import lance

        for name, rows in tables.items():
            path = self._path(name)
            # Lance has no key of a commit: rows carry it, and a writer has to look before it appends.
            if os.path.isdir(path) and lance.dataset(path).count_rows(f"key = '{key}'"):
                continue
            lance.write_dataset(rows.append_column("key", pa.array([key] * rows.num_rows, pa.string())), path, mode="append")

    def keys(self) -> int:
        import lance

        return len(lance.dataset(self._path("spans")).to_table(columns=["key"])["key"].unique())

    def load(self, name: str, rows: Iterator[pa.Table]) -> None:
        import lance

        for batch in rows:
            lance.write_dataset(batch, self._path(name), mode="append")
        if name == "proxies":
            lance.dataset(self._path(name)).create_scalar_index("clip_id", index_type="BTREE")

    def add_measure(self, name: str, rows: Iterator[pa.Table]) -> None:
        import lance

        first = next(rows)
        batches = (batch for table in [first, *rows] for batch in table.drop_columns(["unmeasured"]).to_batches())
        lance.dataset(self._path("spans")).merge(pa.RecordBatchReader.from_batches(first.drop_columns(["unmeasured"]).schema, batches), left_on="clip_id")

    def tidy(self) -> None:
        from datetime import timedelta

        import lance

        for path in self.root.iterdir():
            lance.dataset(str(path)).optimize.compact_files()
            lance.dataset(str(path)).cleanup_old_versions(timedelta(0))

    def query(self) -> tuple[int, float]:
        import lance

        columns = ["start_s", "end_s", "aesthetic", "motion", "watermark"]
        return counted(lance.dataset(self._path("spans")).to_table(columns=columns, filter="aesthetic >= 5 AND motion >= 1 AND watermark < 0.5"))

    def spans_of(self, ids: list[str]) -> int:
        import lance

        among = ", ".join(f"'{name}'" for name in ids)
        return lance.dataset(self._path("spans")).to_table(filter=f"clip_id IN ({among})").num_rows

    def rows(self, name: str) -> int:
        import lance

        return lance.dataset(self._path(name)).count_rows() if os.path.isdir(self._path(name)) else 0

    def pictures(self, ids: list[str]) -> int:
        import lance

        among = ", ".join(f"'{name}'" for name in ids)
        return image_bytes(lance.dataset(self._path("proxies")).to_table(columns=["image"], filter=f"clip_id IN ({among})"))

    def _path(self, name: str) -> str:
        return str(self.root / f"{name.replace('/', '-')}.lance")
