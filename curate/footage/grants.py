"""Grants: rights files read into rows, and the row that governs a source found by id, hash, path or pattern; rows that disagree govern nothing."""

import csv
import difflib
import fnmatch
import io
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.storage.atomic import filesystem_of
from schemas.document import DocumentError
from schemas.rights import DESCRIBED, GRANTED, GRANTS, licence, licence_problem, territory
from schemas.table import table_of

MATCHES = ("source_id", "sha256", "path", "glob")
"""What a row can name, the more specific first: a row that names a source outranks one that names its content, a path, a pattern."""

HEADINGS = {
    "match": ("match",),
    "path": ("path", "file", "filename", "uri"),
    "glob": ("glob", "pattern"),
    "sha256": ("sha256", "hash"),
    "source_id": ("source_id", "id"),
    "license": ("license", "licence"),
    "rights_holder": ("holder", "rights_holder", "owner"),
    "rights_uses": ("uses", "rights_uses", "permitted_uses"),
    "rights_territories": ("territories", "territory", "rights_territories"),
    "rights_start": ("start", "rights_start", "start_date"),
    "rights_expires": ("expires", "expiry", "rights_expires", "end", "end_date"),
    "attribution": ("attribution", "attribution_line", "credit"),
    "releases": ("releases", "release"),
    "rights_proof": ("proof", "rights_proof", "proof_document"),
    **{name: (name,) for name in DESCRIBED},
    "note": ("note", "notes", "comment"),
}
LISTS = ("rights_uses", "rights_territories", "releases", "tags")
DATES = ("rights_start", "rights_expires")


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


def read_grants(url: str) -> pa.Table:
    """A rights file, CSV or Parquet, as the relation GRANTS.

    Raises:
        DocumentError: it cannot be read, or a row is wrong; the message names the line.
    """
    filesystem, path = filesystem_of(url)
    try:
        data = filesystem.cat_file(path)
    except OSError as error:
        raise DocumentError(f"{url}: the rights file cannot be read: {error.strerror or error}") from None
    told = _parquet_rows(url, data) if data[:4] == b"PAR1" else _csv_rows(url, data)
    problems: list[str] = []
    rows = []
    for line, cells in told:
        try:
            rows.append({"origin": url, "line": line, **_parsed(cells)})
        except ValueError as error:
            problems.append(f"{url}, line {line}: {error}")
    if problems:
        more = f"\n… and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise DocumentError("\n".join(problems[:20]) + more)
    return table_of(rows, GRANTS)


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


def _csv_rows(url: str, data: bytes) -> list[tuple[int, dict[str, Any]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{url}: is not UTF-8 text ({error.reason} at byte {error.start})") from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _columns(url, [name or "" for name in reader.fieldnames or []])
        return [(reader.line_num, {columns[name]: value for name, value in row.items() if name in columns}) for row in reader if _whole(url, reader, row)]
    except csv.Error as error:
        raise DocumentError(f"{url}, line {reader.line_num}: is not valid CSV: {error}") from None


def _whole(url: str, reader: Any, row: dict[Any, Any]) -> bool:
    """Whether a row has cells at all; one with more or fewer cells than the heading is a mistake, not a guess."""
    if None in row or None in row.values():
        raise DocumentError(f"{url}, line {reader.line_num}: has another number of cells than the heading; quote cells that hold the delimiter")
    return any((value or "").strip() for value in row.values())


def _parquet_rows(url: str, data: bytes) -> list[tuple[int, dict[str, Any]]]:
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise DocumentError(f"{url}: is not valid Parquet: {error}") from None
    return [(number, row) for number, row in enumerate(table.rename_columns([*_columns(url, table.column_names).values()]).to_pylist(), start=1)]


def _columns(url: str, headings: Sequence[str]) -> dict[str, str]:
    """Heading to the column it stands for."""
    known = {alias: name for name, aliases in HEADINGS.items() for alias in aliases}
    found = {heading: known.get(re.sub(r"[\s-]+", "_", heading.strip().lower()), "") for heading in headings}
    for heading, name in found.items():
        if not name:
            near = difflib.get_close_matches(heading.strip().lower(), known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise DocumentError(f"{url}, line 1: `{heading}` is not a column of a rights file{hint} (allowed: {', '.join(a[0] for a in HEADINGS.values())})")
    twice = {name for name in found.values() if list(found.values()).count(name) > 1}
    if twice:
        raise DocumentError(f"{url}, line 1: two columns stand for `{sorted(twice)[0]}`")
    if not {"match", *MATCHES} & set(found.values()):
        raise DocumentError(f"{url}, line 1: no column says which source a row is about; add one of path, glob, hash, id or match")
    if "license" not in found.values():
        raise DocumentError(f"{url}, line 1: there is no column `license`")
    return found


def _parsed(cells: Mapping[str, Any]) -> dict[str, Any]:
    """One row's cells as typed values.

    Raises:
        ValueError: what is wrong, in words.
    """
    row: dict[str, Any] = {name: _cell(name, value) for name, value in cells.items() if name not in ("match", "note")}
    if match := str(cells.get("match") or "").strip():
        row.setdefault(_kind(match), None)
        row[_kind(match)] = match
    if not any(row.get(kind) for kind in MATCHES):
        raise ValueError("names no source: fill in path, glob, hash, id or match")
    if row.get("path"):
        row["path"] = normal(row["path"])
    if row.get("sha256"):
        row["sha256"] = row["sha256"].lower().removeprefix("sha256:")
        if not re.fullmatch(r"[0-9a-f]{64}", row["sha256"]):
            raise ValueError(f"`{row['sha256'][:80]}` is not a sha256: it has 64 hexadecimal digits")
    if not row.get("license"):
        raise ValueError("names no license")
    row["license"] = licence(row["license"])
    if problem := licence_problem(row["license"]):
        raise ValueError(problem)
    start, expires = row.get("rights_start"), row.get("rights_expires")
    if start and expires and start > expires:
        raise ValueError(f"the rights start on {start} and expire before, on {expires}")
    return row


def _cell(name: str, value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if name in LISTS:
        parts = [str(part).strip() for part in (re.split(r"[;|]", value) if isinstance(value, str) else value)]
        parts = [part for part in parts if part]
        return [territory(part) for part in parts] if name == "rights_territories" else [part.lower() for part in parts] if name == "rights_uses" else parts
    if name in DATES:
        return _date(value)
    return str(value).strip()


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"`{value}` is not a date: write it as 2027-12-31") from None


def _kind(match: str) -> str:
    if re.fullmatch(r"(sha256:)?[0-9a-fA-F]{64}", match):
        return "sha256"
    if re.fullmatch(r"s[0-9a-f]{20}", match):
        return "source_id"
    return "glob" if re.search(r"[*?\[]", match) else "path"


def _shown(value: Any) -> str:
    return "nothing" if value is None else "; ".join(map(str, value)) if isinstance(value, list) else str(value)
