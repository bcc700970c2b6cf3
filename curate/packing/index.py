"""Index: where each file of each clip lies in the shards, as Parquet that is written as it comes."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus
from curate.packing.croissant import INDEX_FILE
from curate.storage.atomic import put_file

INDEX = pa.schema([("clip_id", pa.string()), ("shard", pa.string()), ("suffix", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64())])
ROWS_IN_GROUP = 1 << 18


class IndexFile:
    """An index being written to a local file; the same bytes however its rows come."""

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile(prefix="clipmill-index-")
        self._writer = pq.ParquetWriter(self._file, INDEX, compression="zstd")
        self._waiting = INDEX.empty_table()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._file.close()

    def add(self, members: Sequence[dict[str, Any]] | pa.Table) -> None:
        """More rows (schema INDEX), shard by shard, each by offset."""
        rows = members if isinstance(members, pa.Table) else pa.Table.from_pylist(members, schema=INDEX)
        self._waiting = pa.concat_tables([self._waiting, rows.cast(INDEX)])
        while self._waiting.num_rows >= ROWS_IN_GROUP:
            self._writer.write_table(self._waiting.slice(0, ROWS_IN_GROUP).combine_chunks())
            self._waiting = self._waiting.slice(ROWS_IN_GROUP)

    def store(self, corpus: Corpus, folder: str) -> str:
        """Finish it and put it beside the shards; the digest of its bytes."""
        self._writer.write_table(self._waiting.combine_chunks())
        self._writer.close()
        put_file(self._file, corpus.filesystem, f"{folder}/{INDEX_FILE}")
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()


def index_by_shard(corpus: Corpus, folder: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a set's index, shard after shard as they come in it."""
    with corpus.filesystem.open(f"{folder}/{INDEX_FILE}", "rb") as file:
        waiting = INDEX.empty_table()
        for batch in pq.ParquetFile(file).iter_batches(use_threads=False):
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(INDEX)])
            names = pc.unique(waiting["shard"]).to_pylist()
            for name in names[:-1]:
                yield name, waiting.filter(pc.equal(waiting["shard"], name))
            waiting = waiting.filter(pc.equal(waiting["shard"], names[-1])) if names else waiting
        if waiting.num_rows:
            yield waiting["shard"][0].as_py(), waiting
