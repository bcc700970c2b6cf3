"""Unmatched: rows of a rights file that are about nothing in the corpus, told where a slip of the pen is likely."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus
from curate.footage.grants import MATCHES, Grants, place
from schemas.rights import UNSTATED
from schemas.source import STATUS_FAILED

SHOWN, NAMES_COMPARED = 3, 10_000
SHOWN_LETTERS = 12


def unmatched(corpus: Corpus, grants: pa.Table) -> tuple[str, ...]:
    """What to tell of the rows of a rights file that are about no file ever found; nothing where all is as it may be.

    A path names a file that ought to be there. A pattern, a hash or an id may speak of footage that comes later: those are told
    only where sources were left without any row, since one of them may have been meant for these.
    """
    found = corpus.read("found", ["source_id", "sha256", "names"])
    files = (tuple(row.values()) for batch in found.to_batches(max_chunksize=4096) for row in batch.select(["source_id", "sha256", "names"]).to_pylist())
    idle = Grants(grants.to_pylist()).idle(files)
    if not idle:
        return ()
    left = _without_rights(corpus)
    wanted = [row for row in idle if row["path"] or len(left)]
    if not wanted:
        return ()
    names = _names_of(found, left)
    rows = f"{len(wanted)} rows of the rights file are" if len(wanted) > 1 else "1 row of the rights file is"
    more = f"; and {len(wanted) - SHOWN} more" if len(wanted) > SHOWN else ""
    lacking = f"; {len(left)} source{'s have' if len(left) > 1 else ' has'} no row" if len(left) else ""
    told = "; ".join(_told(row, names) for row in wanted[:SHOWN])
    return (f"{rows} about no source: {told}{more}{lacking}. Correct them and give the file again, unless their footage comes later.",)


def _without_rights(corpus: Corpus) -> pa.ChunkedArray:
    """Ids of the sources that no row is about."""
    sources = corpus.table("sources", columns=["source_id", "status", "license"])
    return sources.filter((pc.field("license") == UNSTATED) & (pc.field("status") != STATUS_FAILED))["source_id"]


def _names_of(found: pa.Table, sources: pa.ChunkedArray) -> list[str]:
    """By what names those files were found, as far as it is worth comparing them with what was typed."""
    names = found.filter(pc.is_in(found["source_id"], sources.combine_chunks()))["names"].to_pylist()
    return list(itertools.islice(itertools.chain.from_iterable(names), NAMES_COMPARED))


def _told(row: Mapping[str, Any], names: Sequence[str]) -> str:
    kind = next(kind for kind in ("path", *MATCHES) if row[kind])
    value = row[kind] if kind != "sha256" else f"{row[kind][:SHOWN_LETTERS]}…"
    near = difflib.get_close_matches(value, names, n=1, cutoff=0.75) if kind == "path" else []
    return f"{place(row)} names the {kind} `{value}`" + (f" (did you mean `{near[0]}`?)" if near else "")
