"""Verifying documents: what a corpus says of itself beside its tables and shards: its settings, its policy, its report."""

from collections.abc import Iterator

from curate.corpus import SETTINGS, Corpus, CorpusError
from curate.footage.quarantine import POLICY
from curate.storage import journal
from curate.storage.atomic import digest_of
from curate.storage.sealed import seal_is_broken

REPORT, REPORT_SEAL = "report.html", "<!-- {} -->"


def document_problems(corpus: Corpus) -> Iterator[str]:
    """Documents that are not what clipmill wrote."""
    if seal_is_broken(corpus.filesystem.cat_file(corpus.path(SETTINGS))):
        yield f"{SETTINGS}: was changed since it was written; restore it from a copy of the corpus"
    if corpus.filesystem.exists(corpus.path(REPORT)) and seal_is_broken(corpus.filesystem.cat_file(corpus.path(REPORT)), REPORT_SEAL):
        yield f"{REPORT}: was changed since it was written; `clipmill report` makes it again"
    try:
        stated = next((entry for entry in journal.newest_first(corpus) if entry.verb == "add" and "policy" in entry.facts), None)
    except CorpusError:  # an entry is not whole, which is told where the journal is checked
        return
    if stated is None:
        return
    if not corpus.filesystem.exists(corpus.path(POLICY)):
        yield f"{POLICY}: is missing, and entry {stated.number} of the journal states one; state it again: clipmill add FOOTAGE --policy FILE"
    elif digest_of(corpus.filesystem, corpus.path(POLICY)) != stated.facts["policy"]:
        yield f"{POLICY}: is not the policy that entry {stated.number} of the journal states; state it again: clipmill add FOOTAGE --policy FILE"
