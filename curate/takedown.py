"""Takedown: a source out of everything that was made from it, and a dated, signed report of what was removed and what has seen it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus, CorpusError
from curate.footage.cache import forget
from curate.footage.quarantine import join_rights
from curate.keeping.erase import Rewritten, erase_files, erase_from_shards, erase_rows
from curate.keeping.signing import signed, signing_key
from curate.packing.manifest import manifest_digest, told_of
from curate.storage.atomic import overwrite
from curate.storage.journal import head, record
from curate.storage.relations import TOMBSTONES
from curate.trace import manifests, trace
from schemas.table import table_of

FOLDER = "takedowns"


@dataclass(frozen=True)
class TakedownReport:
    """What a takedown did.

    Attributes:
        source_id: the source.
        reason: why.
        at: when, in UTC.
        locations: where copies of it were added from; these files are their owner's, and are not touched.
        rows: relation to rows removed.
        shards: shards rewritten.
        files: further files removed, below the corpus.
        checkpoints: checkpoints trained on it, with how many of its clips; they cannot forget, and are for people to decide about.
        copies: other sources with copies of its clips, with how many; they were added as sources of their own, and are for people to decide about too.
        path: the signed report, below the corpus.
    """

    source_id: str
    reason: str
    at: str
    locations: Sequence[str]
    rows: dict[str, int]
    shards: Sequence[Rewritten]
    files: Sequence[str]
    checkpoints: dict[str, int]
    copies: dict[str, int]
    path: str

    def lines(self) -> list[str]:
        """For people."""
        told = [f"took down {self.source_id}: {self.reason}"]
        told += [f"  removed {count} rows of {name}" for name, count in self.rows.items()]
        told += [f"  rewrote {one.shard} without {one.clips} clips" if one.after else f"  removed {one.shard}, which held nothing else" for one in self.shards]
        told += [f"  removed {path}" for path in self.files]
        told += [f"  {path} was trained on {count} of its clips: decide about it" for path, count in self.checkpoints.items()]
        told += [f"  {name} holds {count} copies of its clips: decide about it" for name, count in self.copies.items()]
        told += [f"  left alone, since it is its owner's: {location}" for location in self.locations]
        return [*told, f"  signed report: {self.path}"]


def takedown(corpus: Corpus, source_id: str, reason: str) -> TakedownReport:
    """Take a source down; nothing else may be writing to the corpus meanwhile. Doing it again completes an interrupted one.

    Raises:
        CorpusError: there is no such source, or no reason is given.
        DocumentError: there is no key to sign with; nothing was done.
    """
    if not reason.strip():
        raise CorpusError("a takedown needs a reason: say who asked for it, and why")
    signing_key()
    known = trace(corpus, "source", source_id)
    locations = list(known.sources[source_id]["locations"] or [])
    at = datetime.now(UTC)
    corpus.append("tombstones", table_of([{"source_id": source_id, "reason": reason, "at": at.isoformat(timespec="seconds")}], TOMBSTONES), key=source_id)
    join_rights(corpus, at.date())
    rows = erase_rows(corpus, source_id)
    shards = erase_from_shards(corpus, source_id)
    files = erase_files(corpus, source_id)
    for location in locations:
        forget(location)
    path = f"{FOLDER}/{source_id}-{at:%Y%m%dT%H%M%S}.json"
    report = TakedownReport(
        source_id, reason, at.isoformat(timespec="seconds"), locations, rows, shards, files, dict(known.checkpoints), dict(known.copies), path
    )
    overwrite(corpus.filesystem, corpus.path(path), signed(_statement(corpus, report, known.sources[source_id])))
    untold = [name for name, manifest in manifests(corpus) if told_of(corpus, manifest) is None]
    digests = {name: manifest_digest(corpus.filesystem, corpus.path("shards", name)) for name in untold}
    record(corpus, "takedown", {"source_id": source_id, "reason": reason, "report": path, "shards": [one.shard for one in shards], "manifests": digests})
    return report


def _statement(corpus: Corpus, report: TakedownReport, source: Any) -> dict[str, Any]:
    """What is signed: the report, by what content the source is known, and the journal's head, which stands for all that was done before."""
    told, last = asdict(report), head(corpus)
    left = _left(corpus, report.source_id)
    return {**told, "sha256": source["sha256"], "corpus": corpus.url, "clips_left": left, "journal_head": last.digest if last else None}


def _left(corpus: Corpus, source_id: str) -> int:
    """Rows of the source's clips that are still there, counted after the work: it ought to be none."""
    clips = corpus.table("clips", columns=["source_id"])["source_id"]
    pictures = corpus.read("proxies", ["source_id"])["source_id"]
    return sum(pc.sum(pc.equal(column, pa.scalar(source_id))).as_py() or 0 for column in (clips, pictures))
