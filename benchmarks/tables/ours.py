"""Our own: a commit is a file; commits are gathered into sorted Parquet parts; columns line up."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from benchmarks.tables.base import Tables, counted, image_bytes
from curate.storage.columns import clips_side_by_side
from curate.storage.lineup import line_up
from curate.storage.store import Store


class Ours(Tables):
    """A commit is a file; commits are gathered into sorted Parquet parts; columns line up."""

    name = "commits as files + Parquet parts"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.store = Store(LocalFileSystem(), str(root))

    def commit(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        self.store.commit(key, tables)

    def keys(self) -> int:
        return len(self.store.committed("spans"))

    def load(self, name: str, rows: Iterator[pa.Table]) -> None:
        for number, batch in enumerate(rows):
            self.store.commit(f"{number:06d}", {name: batch})
            if number % 64 == 63:
                self.store.gather()

    def add_measure(self, name: str, rows: Iterator[pa.Table]) -> None:
        self.load(f"measures/{name}", rows)

    def tidy(self) -> None:
        self.store.gather()
        line_up(self.store, sorted(name for name in self.store.now().names() if name.startswith("measures/")))

    def query(self) -> tuple[int, float]:
        makers = {"aesthetic": "aesthetic@1", "watermark": "watermark@1"}
        clips = clips_side_by_side(self.store, self.store.now(), makers, ["start_s", "end_s", "aesthetic", "motion", "watermark"])
        assert clips is not None
        return counted(clips)

    def spans_of(self, ids: list[str]) -> int:
        found = self.store.read(self.store.now(), "spans", ids=sorted(ids), keys=frozenset())
        return 0 if found is None else found.num_rows

    def rows(self, name: str) -> int:
        found = self.store.read(self.store.now(), name, ["source_id"])
        return 0 if found is None else found.num_rows

    def pictures(self, ids: list[str]) -> int:
        rows = self.store.read(self.store.now(), "proxies", ids=sorted(ids), keys=frozenset())
        return image_bytes(rows)
