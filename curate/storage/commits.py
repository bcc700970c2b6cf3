"""A commit: one zip of Parquet members, a member for each relation it has rows of; that the file exists is the commit."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

LONGEST_NAME = 200
BEGINNING_OF_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
ROWS_IN_GROUP = 256
"""Of a relation with pictures in its rows, which are large; others have rows enough for groups of the usual size."""


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


def bundle(tables: Mapping[str, pa.Table]) -> bytes:
    """Tables as a zip of Parquet members: the same bytes for the same tables."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, rows in sorted(tables.items()):
            # Straight into the archive and in small groups: the pictures of a long film are held once, not four times.
            with archive.open(zipfile.ZipInfo(_member(name), BEGINNING_OF_ZIP_TIME), "w", force_zip64=True) as member:
                pq.write_table(
                    rows, pa.PythonFile(member, mode="w"), compression="zstd", row_group_size=ROWS_IN_GROUP if "image" in rows.column_names else None
                )
    return made.getvalue()


def unbundle(file: IO[bytes], name: str, path: str) -> pa.Table:
    """One relation's rows of a commit.

    Raises:
        StoreError: the file is damaged.
        OSError: it cannot be read, or is gone.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return pq.read_table(io.BytesIO(archive.read(_member(name))))
    except (zipfile.BadZipFile, KeyError, EOFError, pa.ArrowInvalid) as error:
        if isinstance(error.__context__, OSError):  # zipfile calls a file damaged that it could not read: one gathered away meanwhile, say
            raise error.__context__ from None
        raise StoreError(f"{path}: is damaged ({error}); remove it and run the step again, which redoes this commit only") from None


def _member(name: str) -> str:
    return f"{quote(name, safe='')}.parquet"
