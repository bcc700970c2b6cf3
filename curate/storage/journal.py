"""Journal: what was done to a corpus, in numbered entries that each hold the digest of the one before, so that rewriting history shows."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from curate.corpus import Corpus
from curate.storage.atomic import create_if_absent, names_in

FOLDER = "journal"


@dataclass(frozen=True)
class Entry:
    """One thing that was done.

    Attributes:
        number: its place, from 1.
        verb: what was done: add, select, pack, takedown, train.
        at: when, in UTC, ISO 8601.
        facts: with what.
        before: digest of the entry before; None for the first.
        digest: of this entry's bytes.
    """

    number: int
    verb: str
    at: str
    facts: Mapping[str, Any]
    before: str | None
    digest: str


def record(corpus: Corpus, verb: str, facts: Mapping[str, Any]) -> Entry:
    """Append an entry. Two writers at once do not share a number: the slower one follows."""
    while True:
        last = head(corpus)
        number = last.number + 1 if last else 1
        told = {"number": number, "verb": verb, "at": datetime.now(UTC).isoformat(timespec="seconds"), "facts": dict(facts), "before": last and last.digest}
        data = json.dumps(told, sort_keys=True, ensure_ascii=False, indent=1).encode()
        if create_if_absent(corpus.filesystem, corpus.path(FOLDER, f"{number:06d}"), data):
            return _entry(data)


def head(corpus: Corpus) -> Entry | None:
    """The last entry, which stands for all before it; None where nothing was done yet."""
    return next(newest_first(corpus), None)


def entries(corpus: Corpus) -> list[Entry]:
    """Every entry, the first one first."""
    return [*newest_first(corpus)][::-1]


def newest_first(corpus: Corpus) -> Iterator[Entry]:
    """Every entry, the last one first, read as it is asked for."""
    for name in reversed(names_in(corpus.filesystem, corpus.path(FOLDER))):
        yield _entry(corpus.filesystem.cat_file(corpus.path(FOLDER, name)))


def problems(corpus: Corpus) -> list[str]:
    """Where the chain is broken: an entry missing, changed, or out of place."""
    found, before = [], None
    for place, entry in enumerate(entries(corpus), start=1):
        if entry.number != place:
            found.append(f"journal: entry {place} is missing")
            break
        if entry.before != before:
            found.append(f"journal: entry {place - 1} was changed after entry {place} was written")
        before = entry.digest
    return found


def _entry(data: bytes) -> Entry:
    return Entry(**json.loads(data), digest=hashlib.sha256(data).hexdigest())
