"""Add sources: find footage, examine what is new, and join its rights; resumable, and the same whatever the order of adding."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from curate.corpus import Corpus
from curate.engine import Listener, quiet
from curate.footage.examine import examine
from curate.footage.grants import merged
from curate.footage.locations import Location, find_locations, is_local
from curate.footage.quarantine import join_rights, state_policy
from curate.footage.rights_file import read_grants
from curate.footage.unmatched import unmatched
from curate.storage.atomic import filesystem_of
from curate.storage.journal import record
from curate.storage.relations import FOUND
from schemas.document import DocumentError, parse_document, parse_toml
from schemas.rights import UNSTATED, Policy
from schemas.source import STATUS_FAILED, STATUS_OK, STATUS_REJECTED
from schemas.table import table_of

COMMIT_FILES, COMMIT_S = 256, 30.0
WORKERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class AddReport:
    """What `add_sources` found.

    Attributes:
        files: files found below what was asked for.
        fresh: of these, how many had to be read.
        sources: sources now in the corpus.
        rejected: sources quarantined for their rights, or taken down.
        failed: sources that could not be read.
        copies: further locations of content that is there already.
        unstated: sources whose rights nobody stated.
        warnings: what to look at again, such as rows of the rights file that are about nothing.
    """

    files: int
    fresh: int
    sources: int
    rejected: int
    failed: int
    copies: int
    unstated: int
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        """One sentence, for people."""
        told = f"{self.files} files found, {self.fresh} read; {self.sources} sources"
        parts = [(self.copies, "further copies of them"), (self.rejected, "quarantined for their rights"), (self.failed, "could not be read")]
        told += "".join(f", {count} {what}" for count, what in parts if count)
        return told + (f"; nobody stated the rights of {self.unstated} (give --rights or --policy)" if self.unstated else "")


def add_sources(
    corpus: Corpus, footage: Sequence[str], rights: str | None = None, policy: str | None = None, listener: Listener = quiet, *, on: date | None = None
) -> AddReport:
    """Add footage to a corpus; what was added before and did not change is not read again.

    Args:
        footage: files, folders (walked) or URLs.
        rights: a rights file; its rows join those given before.
        policy: a policy in TOML; it takes the place of the one given before.
        on: the day on which rights must hold; today when None.

    Raises:
        DocumentError: footage is not there, or the rights file or the policy is wrong; nothing was done.
    """
    grants, accepted = read_grants(rights) if rights else None, _policy(policy) if policy else None
    besides = frozenset(filesystem_of(path)[1] for path in (rights, policy, corpus.url) if path and is_local(path))
    locations = find_locations(footage, besides)
    if grants is not None:
        corpus.replace("grants", merged(corpus.read("grants"), grants))
    if accepted is not None:
        state_policy(corpus, accepted)
    fresh = _look(corpus, locations, listener)
    join_rights(corpus, on or datetime.now(UTC).date())
    stated = {"rights": _bytes_of(rights) if rights else None, "policy": accepted}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in stated.items() if data is not None}
    record(corpus, "add", {"files": len(locations), "fresh": fresh, **digests})
    return _report(corpus, len(locations), fresh, unmatched(corpus, grants) if grants is not None else ())


def _look(corpus: Corpus, locations: Sequence[Location], listener: Listener) -> int:
    """Examine the files that are new or changed, committing as it goes; how many there were. What failed before is tried again."""
    seen = corpus.read("found", columns=["uri", "stamp", "status"])
    known = {(row["uri"], row["stamp"]) for row in seen.to_pylist() if row["status"] == STATUS_OK}
    waiting = [location for location in locations if (location.uri, location.stamp) not in known]
    rows: list[dict[str, Any]] = []
    since, already = time.monotonic(), len(locations) - len(waiting)
    listener("add", already, len(locations))
    for done, row in enumerate(_examined(waiting), start=1):
        rows.append({**row, "number": seen.num_rows + done - 1})
        if len(rows) >= COMMIT_FILES or time.monotonic() - since > COMMIT_S:
            _commit(corpus, rows)
            rows, since = [], time.monotonic()
        listener("add", already + done, len(locations))
    _commit(corpus, rows)
    return len(waiting)


def _examined(locations: Sequence[Location]) -> Iterator[dict[str, Any]]:
    """What each location is, in order, a few at a time."""
    with tempfile.TemporaryDirectory(prefix="clipmill-add-") as folder, ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(locations), WORKERS):
            yield from pool.map(lambda location: examine(location, Path(folder)), locations[start : start + WORKERS])


def _commit(corpus: Corpus, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        key = hashlib.sha256(repr([(row["number"], row["uri"], row["stamp"]) for row in rows]).encode()).hexdigest()[:32]
        corpus.append("found", table_of([dict(row) for row in rows], FOUND), key)


def _policy(url: str) -> bytes:
    """A policy as it was written, once it is known to be right."""
    try:
        data = _bytes_of(url)
    except OSError as error:
        raise DocumentError(f"{url}: the policy cannot be read: {error.strerror or error}") from None
    told, text = parse_toml(data, url)
    parse_document(told, Policy, url, text)
    return data


def _bytes_of(url: str) -> bytes:
    filesystem, path = filesystem_of(url)
    return filesystem.cat_file(path)


def _report(corpus: Corpus, files: int, fresh: int, warnings: Sequence[str]) -> AddReport:
    sources = corpus.table("sources", columns=["status", "locations", "license"])
    statuses = sources["status"].to_pylist()
    unstated = pc.sum(pc.and_(pc.equal(sources["license"], UNSTATED), pc.equal(sources["status"], STATUS_OK))).as_py() or 0
    return AddReport(
        files=files,
        fresh=fresh,
        sources=sources.num_rows,
        rejected=statuses.count(STATUS_REJECTED),
        failed=statuses.count(STATUS_FAILED),
        copies=(pc.sum(pc.list_value_length(sources["locations"])).as_py() or 0) - sources.num_rows,
        unstated=int(unstated),
        warnings=tuple(warnings),
    )
