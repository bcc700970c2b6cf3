"""Verify: everything on disk checked again: files and digests, counts, seconds, rights, the journal, and packed clips against their rows."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus
from curate.engine import Listener, quiet
from curate.footage.quarantine import TAKEDOWN_RULE
from curate.keeping.signing import checked
from curate.keeping.verify_shards import shard_problems
from curate.storage import journal
from curate.storage.atomic import names_in
from curate.storage.commits import StoreError
from curate.storage.views import CLIP_ID
from curate.takedown import FOLDER as TAKEDOWNS
from schemas.source import STATUS_REJECTED

TOLERANCE_S = 1e-3
TOLD = 20


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
        "files of tables": file_problems,
        "rows": row_problems,
        "ledgers": ledger_problems,
        "journal": lambda corpus: iter(journal.problems(corpus)),
        "takedowns": takedown_problems,
        "shards": lambda corpus: shard_problems(corpus, pictures, listener),
    }
    problems: list[str] = []
    counts = {}
    for what, check in checks.items():
        try:
            found = list(check(corpus))
        except (StoreError, pa.ArrowInvalid, OSError, ValueError) as error:
            found = [f"{what}: cannot be checked: {error}"]
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
                with corpus.filesystem.open(f"{store.root}/{part.path}", "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                if digest != part.sha256:
                    yield f"{part.path}: is damaged, and with it {part.rows} rows of {name}"
            except FileNotFoundError:
                yield f"{part.path}: is missing, and with it {part.rows} rows of {name}"
    for commit in snapshot.loose:
        for name in commit.relations:
            try:
                store.read_loose(commit, name)
            except StoreError as error:
                yield str(error)


def row_problems(corpus: Corpus) -> Iterator[str]:
    """Rows that come twice, clips outside their shot or source, measures of no clip."""
    relations = {name: corpus.read(name) for name in ("spans", "shots", "readings", "added")}
    questions = {
        "clips that come twice": "SELECT clip_id FROM spans GROUP BY clip_id HAVING count(*) > 1",
        "clips whose source is not in the table of sources": "SELECT clip_id FROM spans ANTI JOIN added USING (source_id)",
        "clips whose id does not say their span": f"SELECT clip_id FROM spans WHERE clip_id <> {CLIP_ID}",
        "clips that reach outside their shot": "SELECT s.clip_id FROM spans s JOIN shots t USING (source_id, shot_index) "
        "WHERE s.start_frame < t.start_frame OR s.end_frame > t.end_frame",
        "clips that end after their source": f"SELECT clip_id FROM spans s JOIN readings r USING (source_id) WHERE s.end_s > r.duration_s + {TOLERANCE_S}",
        "sources read twice": "SELECT source_id FROM readings GROUP BY source_id HAVING count(*) > 1",
        "sources added twice": "SELECT source_id FROM added GROUP BY source_id HAVING count(*) > 1",
    }
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        for name, rows in relations.items():
            connection.register(name, rows)
        for what, question in questions.items():
            yield from _told(what, [row[0] for row in connection.sql(question).fetchall()])
        for name in (*corpus.names("measures/"), *corpus.names("duplicates"), *corpus.names("semantic")):
            connection.register("measures", corpus.read(name, ["clip_id"]))
            twice = connection.sql("SELECT clip_id FROM measures GROUP BY clip_id HAVING count(*) > 1").fetchall()
            yield from _told(f"clips measured twice in {name}", [row[0] for row in twice])
            strange = connection.sql("SELECT clip_id FROM measures ANTI JOIN spans USING (clip_id)").fetchall()
            yield from _told(f"clips in {name} that are not in the table of clips", [row[0] for row in strange])


def ledger_problems(corpus: Corpus) -> Iterator[str]:
    """Sources whose seconds in a ledger do not add up to their duration, or overlap."""
    sources = corpus.table("sources", columns=["source_id", "duration_s"])
    known = dict(zip(sources["source_id"].to_pylist(), sources["duration_s"].to_pylist()))
    for selection in corpus.selections():
        ledger = corpus.table("ledger", selection)
        seconds = pa.table({"source_id": ledger["source_id"], "seconds": pc.subtract(ledger["end_s"], ledger["start_s"])})
        sums = seconds.group_by("source_id").aggregate([("seconds", "sum")])
        told = dict(zip(sums["source_id"].to_pylist(), sums["seconds_sum"].to_pylist()))
        wrong = [
            f"{name} ({told.get(name, 0.0):.3f} s of {known[name]:.3f} s)"
            for name in sorted(known)
            if known[name] is not None and abs(told.get(name, 0.0) - known[name]) > TOLERANCE_S
        ]
        yield from _told(f"sources whose seconds do not add up in the ledger of {selection} (select again if footage was added since)", wrong)


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
    yield from _told(f"sources taken down that are not {STATUS_REJECTED}; take them down again", lively["source_id"].to_pylist())
    for name in ("spans", "proxies", "shots"):
        left = pc.unique(corpus.read(name, ["source_id"])["source_id"])
        yield from _told(f"sources taken down that are still in {name}; take them down again", left.filter(pc.is_in(left, gone.combine_chunks())).to_pylist())


def _told(what: str, found: list[str]) -> Iterator[str]:
    if found:
        more = f" and {len(found) - TOLD} more" if len(found) > TOLD else ""
        yield f"{len(found)} {what}: {', '.join(map(str, found[:TOLD]))}{more}"
