"""Verifying the journal: its chain, and whatever remembers more of it than it tells: tables, sets of shards, signed reports, checkpoints."""

import contextlib
from collections.abc import Iterator

from curate.corpus import Corpus, CorpusError
from curate.keeping.signing import checked
from curate.storage import journal
from curate.storage.atomic import names_in
from curate.takedown import FOLDER as TAKEDOWNS
from curate.trace import manifests, read_lineage

NAMED_BY = {"select": "name", "pack": "name", "takedown": "source_id", "train": "checkpoint"}
"""The fact by which an entry names what was made."""


def journal_problems(corpus: Corpus) -> Iterator[str]:
    """Where the chain is broken or was cut, by its own word and by that of what was made since."""
    heads, made = list(_heads(corpus)), list(_made(corpus))  # before any entry is read, since those only become more
    yield from journal.problems(corpus)
    try:
        entries = journal.entries(corpus)
    except CorpusError:  # one is not whole, which was told
        return
    digests, told = {entry.digest for entry in entries}, {(entry.verb, entry.facts.get(NAMED_BY.get(entry.verb, ""))) for entry in entries}
    for where, head in heads:
        if head and head not in digests:
            yield f"{where}: names a head of the journal that is not in it: the journal was cut or rewritten, or this comes from another corpus"
    for what, verb, name in made:
        if (verb, name) not in told:
            yield f"{what}: the journal does not tell of it: the last {verb} was interrupted (do it again, which completes it), or the journal was cut"


def _heads(corpus: Corpus) -> Iterator[tuple[str, str | None]]:
    """Where a head of the journal was copied to, and what it was; a checkpoint that cannot be reached has none."""
    for name, manifest in manifests(corpus):
        yield f"shards/{name}/MANIFEST", manifest.get("journal_head")
    for name in names_in(corpus.filesystem, corpus.path(TAKEDOWNS)):
        yield f"{TAKEDOWNS}/{name}", (checked(corpus.filesystem.cat_file(corpus.path(TAKEDOWNS, name))) or {}).get("journal_head")
    for row in corpus.read("trainings", ["checkpoint", "manifest_sha256"]).to_pylist():
        with contextlib.suppress(OSError, ValueError, ImportError):
            shards = (read_lineage(row["checkpoint"]) or {"shards": {}})["shards"]
            if shards.get("manifest_sha256") == row["manifest_sha256"]:
                yield row["checkpoint"], shards.get("journal_head")


def _made(corpus: Corpus) -> Iterator[tuple[str, str, str]]:
    """What an entry must tell of: what it is called here, by which verb it was made, and under which name."""
    yield from ((f"selection {name}", "select", name) for name in corpus.selections())
    yield from ((f"takedown of {name}", "takedown", name) for name in corpus.read("tombstones", ["source_id"])["source_id"].to_pylist())
    yield from ((f"checkpoint {name}", "train", name) for name in corpus.read("trainings", ["checkpoint"])["checkpoint"].to_pylist())
