"""Journal: what was done to a corpus, in numbered entries that each hold the digest of the one before, so that rewriting history shows.

The tables' commit record remembers the last entry, so that cutting the journal's end shows as well.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from curate.corpus import Corpus, CorpusError
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
    """Append an entry. Two writers at once do not share a number: the slower one follows.

    Raises:
        CorpusError: the last entry is not whole.
    """
    while True:
        last = head(corpus)
        number = last.number + 1 if last else 1
        told = {"number": number, "verb": verb, "at": datetime.now(UTC).isoformat(timespec="seconds"), "facts": dict(facts), "before": last and last.digest}
        data = json.dumps(told, sort_keys=True, ensure_ascii=False, indent=1).encode()
        if create_if_absent(corpus.filesystem, corpus.path(FOLDER, f"{number:06d}"), data):
            entry = _entry(data)
            corpus.store.remember_entry(entry.number, entry.digest, lambda number, digest: _holds(corpus, number, digest))
            return entry


def head(corpus: Corpus) -> Entry | None:
    """The last entry, which stands for all before it; None where nothing was done yet."""
    return next(newest_first(corpus), None)


def entries(corpus: Corpus) -> list[Entry]:
    """Every entry, the first one first."""
    return [*newest_first(corpus)][::-1]


def newest_first(corpus: Corpus) -> Iterator[Entry]:
    """Every entry, the last one first, read as it is asked for.

    Raises:
        CorpusError: an entry is not whole.
    """
    for name in reversed(names_in(corpus.filesystem, corpus.path(FOLDER))):
        try:
            yield _entry(corpus.filesystem.cat_file(corpus.path(FOLDER, name)))
        except (ValueError, TypeError):
            raise CorpusError(f"{corpus.url}/{FOLDER}/{name}: is not whole; `clipmill verify` tells what to do") from None


def problems(corpus: Corpus) -> list[str]:
    """Where the chain is broken: an entry missing, changed, not whole, or out of place; or its end not what the tables remember."""
    remembered = corpus.store.now().generation.journal
    names, digests, found, before = names_in(corpus.filesystem, corpus.path(FOLDER)), {}, [], None
    for place, name in enumerate(names, start=1):
        data = corpus.filesystem.cat_file(corpus.path(FOLDER, name))
        digests[place] = hashlib.sha256(data).hexdigest()
        try:
            entry = _entry(data)
        except (ValueError, TypeError):
            torn = place == len(names) and place > (remembered or (0,))[0]
            advice = "the machine stopped while it was written; remove it, and do again what was done last" if torn else "it is damaged"
            found.append(f"{FOLDER}/{name}: is not whole: {advice}")
        else:
            if entry.number != place:
                return [*found, f"journal: entry {place} is missing"]
            if entry.before != before:
                found.append(f"journal: entry {place - 1} was changed after entry {place} was written")
        before = digests[place]
    if remembered and digests.get(remembered[0]) != remembered[1]:
        now = "is another one now" if remembered[0] in digests else f"ends with entry {len(names)}"
        found.append(f"journal: the corpus remembers entry {remembered[0]} of the journal, which {now}: entries were cut off or rewritten")
    return found


def _holds(corpus: Corpus, number: int, digest: str) -> bool:
    """Whether there is an entry of that number and digest."""
    path = corpus.path(FOLDER, f"{number:06d}")
    return corpus.filesystem.exists(path) and hashlib.sha256(corpus.filesystem.cat_file(path)).hexdigest() == digest


def _entry(data: bytes) -> Entry:
    return Entry(**json.loads(data), digest=hashlib.sha256(data).hexdigest())
