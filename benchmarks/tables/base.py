"""Tables: what a store must do to be measured, and the question that all are asked."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

QUERY = "SELECT count(*) AS clips, sum(end_s - start_s) / 3600 AS hours FROM clips WHERE aesthetic >= 5 AND motion >= 1 AND watermark < 0.5"
RANGES = (pc.field("aesthetic") >= 5) & (pc.field("motion") >= 1) & (pc.field("watermark") < 0.5)


class Tables(ABC):
    """One way to keep tables, used as well as its makers intend."""

    name: str

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def commit(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        """Commit rows of several relations under a key, once."""

    @abstractmethod
    def keys(self) -> int:
        """How many keys were committed."""

    @abstractmethod
    def load(self, name: str, rows: Iterator[pa.Table]) -> None:
        """Put a large relation in place, batch by batch."""

    @abstractmethod
    def add_measure(self, name: str, rows: Iterator[pa.Table]) -> None:
        """Add columns for clips that are there already."""

    @abstractmethod
    def tidy(self) -> None:
        """Compaction, as recommended."""

    @abstractmethod
    def query(self) -> tuple[int, float]:
        """Clips and hours within ranges of three columns that three steps wrote."""

    @abstractmethod
    def spans_of(self, ids: list[str]) -> int:
        """How many rows of spans there are of some clips: a look-up."""

    @abstractmethod
    def rows(self, name: str) -> int:
        """How many rows of a relation are committed."""

    @abstractmethod
    def pictures(self, ids: list[str]) -> int:
        """Bytes of the pictures of some clips."""


def counted(clips: pa.Table) -> tuple[int, float]:
    """Clips and hours within the ranges."""
    kept = clips.filter(RANGES)
    return kept.num_rows, (pc.sum(pc.subtract(kept["end_s"], kept["start_s"])).as_py() or 0.0) / 3600


def image_bytes(rows: pa.Table | None) -> int:
    """Bytes of the pictures in some rows."""
    return 0 if rows is None else pc.sum(pc.binary_length(rows["image"])).as_py() or 0
