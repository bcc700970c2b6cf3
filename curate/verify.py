"""Verify: everything on disk checked again: files and digests, counts, seconds, rights, the journal, and packed clips against their rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus, CorpusError
from curate.engine import Listener, quiet
from curate.footage.quarantine import TAKEDOWN_RULE
from curate.keeping.problems import listed
from curate.keeping.signing import checked
from curate.keeping.verify_documents import document_problems
from curate.keeping.verify_journal import journal_problems
from curate.keeping.verify_rows import TOLERANCE_S, row_problems
from curate.keeping.verify_shards import shard_problems
from curate.keeping.verify_splits import split_problems
from curate.storage.atomic import names_in
from curate.storage.commits import StoreError
from curate.takedown import FOLDER as TAKEDOWNS
from schemas.source import STATUS_REJECTED

UNREADABLE = (StoreError, CorpusError, pa.ArrowException, duckdb.Error, OSError, ValueError, KeyError, TypeError)
"""What reading something damaged may raise."""


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is wrong; each problem says what, where, and what to do where that is known."""

    checked: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def verify(corpus: Corpus, listener: Listener = quiet, *, pictures: bool = True) -> Verification:
    """Check a corpus.

    Args:
        pictures: also decode every packed clip, and count and time its frames; the slow part.
    """
    checks: dict[str, Callable[[Corpus], Iterator[str]]] = {
        "documents": document_problems,
        "files of tables": file_problems,
        "rows": row_problems,
        "ledgers": ledger_problems,
        "journal": journal_problems,
        "takedowns": takedown_problems,
        "splits": split_problems,
        "shards": lambda corpus: shard_problems(corpus, pictures, listener),
    }
    problems: list[str] = []
    counts = {}
    for what, check in checks.items():
        found: list[str] = []
        try:
            for problem in check(corpus):
                found.append(problem)
        except UNREADABLE as error:
            found.append(f"{what}: cannot be checked any further: {error}")
        counts[what] = len(found)
        problems += found
    return Verification(counts, tuple(problems))


def file_problems(corpus: Corpus) -> Iterator[str]:
    """Parts and commits that are missing or damaged."""
    store = corpus.store
    snapshot = store.now()
    for name, parts in sorted(snapshot.generation.parts.items()):
        for part in parts:
            try:
                damage = store.parts.damage(part)
            except FileNotFoundError:
                damage = "is missing"
            if damage:
                yield f"{store.root}/{part.path}: {damage}, and with it {part.rows} rows of {name}; restore it from a copy of the corpus"
    for commit in snapshot.loose:
        for name in commit.relations:
            try:
                store.read_loose(commit, name)
            except StoreError as error:
                yield str(error)


def ledger_problems(corpus: Corpus) -> Iterator[str]:
    """Sources whose seconds in a ledger do not add up to their duration, or overlap."""
    sources = corpus.table("sources", columns=["source_id", "duration_s"])
    for selection in corpus.selections():
        told = _seconds_told(corpus, f"verdicts/{selection}")
        at = pc.index_in(sources["source_id"], told["source_id"].combine_chunks())
        apart = pc.abs(pc.subtract(pc.fill_null(told["seconds"].take(at), 0.0), sources["duration_s"]))
        wrong = sources.append_column("told", told["seconds"].take(at)).filter(pc.fill_null(pc.greater(apart, TOLERANCE_S), False))
        named = [f"{row['source_id']} ({row['told'] or 0.0:.3f} s of {row['duration_s']:.3f} s)" for row in wrong.to_pylist()]
        yield from listed(f"sources whose seconds do not add up in the ledger of {selection} (select again if footage was added since)", named)


def _seconds_told(corpus: Corpus, verdicts: str) -> pa.Table:
    """Seconds in a ledger by source, a stretch of it at a time."""
    sums = pa.table({"source_id": pa.array([], pa.string()), "seconds": pa.array([], pa.float64())})
    for rows in corpus.batches(verdicts, ["source_id", "start_s", "end_s"]):
        seconds = pa.table({"source_id": rows["source_id"].cast(pa.string()), "seconds": pc.subtract(rows["end_s"], rows["start_s"])})
        added = pa.concat_tables([sums, seconds]).group_by("source_id", use_threads=False).aggregate([("seconds", "sum")])
        sums = added.rename_columns({"seconds_sum": "seconds"}).select(["source_id", "seconds"])
    return sums


def takedown_problems(corpus: Corpus) -> Iterator[str]:
    """Reports whose signature does not hold, and sources taken down that are still somewhere."""
    for name in names_in(corpus.filesystem, corpus.path(TAKEDOWNS)):
        if checked(corpus.filesystem.cat_file(corpus.path(TAKEDOWNS, name))) is None:
            yield f"{TAKEDOWNS}/{name}: was changed after it was signed, or is no signed report"
    gone = corpus.read("tombstones")["source_id"]
    if not len(gone):
        return
    added = corpus.read("added", ["source_id", "status", "rule"])
    lively = added.filter(pc.and_(pc.is_in(added["source_id"], gone.combine_chunks()), pc.not_equal(added["rule"].fill_null(""), TAKEDOWN_RULE)))
    yield from listed(f"sources taken down that are not {STATUS_REJECTED}; take them down again", lively["source_id"].to_pylist())
    for name in ("spans", "proxies", "shots"):
        left = {found for rows in corpus.batches(name, ["source_id"]) for found in _among(rows["source_id"], gone).to_pylist()}
        yield from listed(f"sources taken down that are still in {name}; take them down again", sorted(left))


def _among(names: pa.ChunkedArray, gone: pa.ChunkedArray) -> pa.Array:
    left = pc.unique(names)
    return left.filter(pc.is_in(left, gone.combine_chunks()))
