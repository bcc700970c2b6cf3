"""Rights files, CSV or Parquet, read into rows of grants; what is wrong is told with its line and what is allowed."""

import csv
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.footage.grants import MATCHES, normal
from curate.storage.atomic import filesystem_of
from schemas.document import DocumentError
from schemas.rights import DESCRIBED, GRANTS, licence, licence_problem, territory
from schemas.table import table_of

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
