"""Grants: rows of rights files, and which of them governs a source, found by id, hash, path or pattern; rows that disagree govern nothing."""

import fnmatch
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.rights import GRANTED, GRANTS
from schemas.table import table_of

MATCHES = ("source_id", "sha256", "path", "glob")
"""What a row can name, the more specific first: a row that names a source outranks one that names its content, a path, a pattern."""


@dataclass
class Grants:
    """Rows of rights files, found by what they name."""

    rows: Sequence[Mapping[str, Any]]
    _exact: dict[tuple[str, str], list[Mapping[str, Any]]] = field(init=False, default_factory=dict)
    _patterns: list[Mapping[str, Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        for row in self.rows:
            named = [(kind, row[kind]) for kind in MATCHES[:3] if row[kind]]
            if named:
                self._exact.setdefault(named[0], []).append(row)
            else:
                self._patterns.append(row)

    def governing(self, source_id: str, sha256: str | None, names: Iterable[str]) -> list[Mapping[str, Any]]:
        """The most specific rows that apply to a source at any of its locations; several govern only while their terms agree."""
        paths = {normal(name) for name in names}
        keys = [[("source_id", source_id)], [("sha256", sha256 or "")], [("path", path) for path in sorted(paths)]]
        for same in keys:
            found = [row for key in same for row in self._exact.get(key, []) if _applies(row, source_id, sha256, paths)]
            if found:
                return found
        return [row for row in self._patterns if any(fnmatch.fnmatchcase(path, row["glob"]) for path in paths)]

    def idle(self, files: Iterable[tuple[str, str | None, Iterable[str]]]) -> list[Mapping[str, Any]]:
        """The rows that are true of none of the files, given by source, content and names; one that others outrank is not idle."""
        waiting, patterns = {id(row): row for row in self.rows}, self._patterns
        for source_id, sha256, names in files:
            paths = {normal(name) for name in names}
            keys = [("source_id", source_id), ("sha256", sha256 or ""), *(("path", path) for path in paths)]
            known = [row for key in keys for row in self._exact.get(key, ())] + patterns
            for row in (row for row in known if _applies(row, source_id, sha256, paths)):
                waiting.pop(id(row), None)
            patterns = [row for row in patterns if id(row) in waiting]
        return list(waiting.values())


def conflict(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """How rows that govern one source disagree, in words; None while they agree."""
    for name in GRANTED:
        different = {repr(row[name]): row for row in rows}
        if len(different) > 1:
            first, second = list(different.values())[:2]
            what = name.removeprefix("rights_")
            return f"conflicting rights: {place(first)} says {what} {_shown(first[name])}, {place(second)} says {_shown(second[name])}"
    return None


def place(row: Mapping[str, Any]) -> str:
    """Where a row stands, for people."""
    return f"{posixpath.basename(row['origin'])} line {row['line']}"


def merged(before: pa.Table, after: pa.Table) -> pa.Table:
    """All grants; a later row that names the same takes the place of an earlier one, so that a corrected file corrects."""
    named = [tuple(row[kind] for kind in MATCHES) for row in after.to_pylist()]
    kept = [row for row in before.to_pylist() if tuple(row[kind] for kind in MATCHES) not in set(named)]
    return pa.concat_tables([table_of(kept, GRANTS), after])


def normal(path: str) -> str:
    """A path or URL in one spelling."""
    return path if "://" in path else posixpath.normpath(path)


def _applies(row: Mapping[str, Any], source_id: str, sha256: str | None, paths: set[str]) -> bool:
    """Whether everything that a row names is true of a source."""
    truths = {"source_id": row["source_id"] == source_id, "sha256": row["sha256"] == sha256, "path": row["path"] in paths}
    truths["glob"] = bool(row["glob"]) and any(fnmatch.fnmatchcase(path, row["glob"]) for path in paths)
    return all(truths[kind] for kind in MATCHES if row[kind])


def _shown(value: Any) -> str:
    return "nothing" if value is None else "; ".join(map(str, value)) if isinstance(value, list) else str(value)
