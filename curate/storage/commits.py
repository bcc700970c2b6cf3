"""A commit: one zip of Parquet members, a member for each relation it has rows of; that the file exists is the commit."""

import io
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.storage.member import Member

LONGEST_NAME = 200
BEGINNING_OF_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
PICTURES_IN_GROUP = 256


class StoreError(RuntimeError):
    """Tables cannot be read or written; the message says which file and why."""


@dataclass(frozen=True)
class Commit:
    """Which relations were committed together (its group: their names, quoted, joined by `+`), and under which key (quoted)."""

    group: str
    key: str

    @classmethod
    def of(cls, relations: Sequence[str], key: str) -> "Commit":
        """The commit of some relations under a key.

        Raises:
            StoreError: they make too long a name for a file.
        """
        commit = cls("+".join(quote(name, safe="") for name in sorted(relations)), quote(key, safe=""))
        if not 0 < len(commit.key) <= LONGEST_NAME or not 0 < len(commit.group) <= LONGEST_NAME:
            raise StoreError(f"a commit of {sorted(relations)} under {key!r}: names and key must have 1 to {LONGEST_NAME} characters")
        return commit

    @property
    def relations(self) -> list[str]:
        """The relations it has rows of."""
        return relations_of(self.group)

    @property
    def path(self) -> str:
        """Its file, below the root of the tables."""
        return f"loose/{self.group}/{self.key}.zip"


def relations_of(group: str) -> list[str]:
    """The relations of a group."""
    return [unquote(name) for name in group.split("+")]


def keys_table(commits: Sequence[Commit]) -> pa.Table:
    """Groups and keys of commits, as the relation that remembers them has them."""
    return pa.table({"group": pa.array([commit.group for commit in commits], pa.string()), "key": pa.array([commit.key for commit in commits], pa.string())})


def among(commits: Sequence[Commit], known: pa.Table) -> list[bool]:
    """For each commit, whether it is in a table of groups and keys."""
    if not commits or not known.num_rows:
        return [False] * len(commits)
    # No quoted group holds a slash, so the two joined by one cannot be mistaken.
    both = [pc.binary_join_element_wise(keys["group"], keys["key"], "/") for keys in (keys_table(commits), known)]
    return pc.is_in(both[0], value_set=both[1].combine_chunks()).to_pylist()


def bundle(tables: Mapping[str, pa.Table | Path], file: IO[bytes]) -> None:
    """Write tables, or Parquet files that hold their rows already, as a zip of Parquet members: the same bytes for the same tables."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, rows in sorted(tables.items()):
            with archive.open(zipfile.ZipInfo(_member(name), BEGINNING_OF_ZIP_TIME), "w", force_zip64=True) as member:
                if isinstance(rows, Path):
                    with rows.open("rb") as written:
                        shutil.copyfileobj(written, member)
                else:
                    pq.write_table(rows, pa.PythonFile(member, mode="w"), compression="zstd", row_group_size=rows_in_group(rows.schema))


def rows_in_group(schema: pa.Schema) -> int | None:
    """Of a relation with pictures in its rows, which are large, few; others have rows enough for groups of the usual size."""
    return PICTURES_IN_GROUP if "image" in schema.names else None


def unbundle(file: IO[bytes], name: str, path: str, ids: Sequence[str] | None = None) -> pa.Table:
    """One relation's rows of a commit.

    Args:
        file: the commit, open for reading.
        name: the relation.
        path: what to call the commit in errors.
        ids: leave out groups of rows that have none of these as `clip_id`, without reading them.

    Raises:
        StoreError: the file is damaged.
        OSError: it cannot be read, or is gone.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if ids is None:
                return pq.read_table(io.BytesIO(archive.read(_member(name))))
            return _groups_with(pq.ParquetFile(Member(file, archive.getinfo(_member(name)))), ids)
    except (zipfile.BadZipFile, KeyError, EOFError, pa.ArrowInvalid) as error:
        if isinstance(error.__context__, OSError):  # zipfile calls a file damaged that it could not read: one gathered away meanwhile, say
            raise error.__context__ from None
        raise StoreError(f"{path}: is damaged ({error}); remove it and run the step again, which redoes this commit only") from None


def _groups_with(parquet: pq.ParquetFile, ids: Sequence[str]) -> pa.Table:
    """The groups of rows that may have one of the ids as `clip_id`."""
    column = parquet.schema_arrow.get_field_index("clip_id")
    limits = [parquet.metadata.row_group(group).column(column).statistics for group in range(parquet.num_row_groups)]
    wanted = [group for group, limit in enumerate(limits) if any(limit.min <= clip_id <= limit.max for clip_id in ids)]
    # Without threads: those would read the file from outside of Python, and wait for ever for its lock when the process ends meanwhile.
    return parquet.read_row_groups(wanted, use_threads=False)


def _member(name: str) -> str:
    return f"{quote(name, safe='')}.parquet"
