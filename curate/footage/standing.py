"""Standing: what must be true of a source's rights on a day, by the recipe and by the corpus's policy, and of which sources it is not."""

from collections.abc import Iterable, Iterator
from datetime import date

import duckdb
import pyarrow.compute as pc

from curate.corpus import Corpus, source_of
from curate.deciding.rules import source_refusal
from curate.footage.quarantine import policy_of
from schemas.recipe import RightsTerms
from schemas.rights import GRANTED, Policy
from schemas.source import STATUS_FAILED

SOURCES_AT_ONCE = 8192
COLUMNS = ("source_id", "status", "rule", "reason", *GRANTED)


def in_force(terms: RightsTerms, policy: Policy | None) -> RightsTerms:
    """A recipe's terms, and what of the policy depends on the day; the rest of it was judged when footage was added."""
    return terms if policy is None else terms.model_copy(update={"days_left": max(terms.days_left, policy.days_left)})


def no_longer_usable(corpus: Corpus, clip_ids: Iterable[str], terms: RightsTerms, on: date) -> Iterator[tuple[str, str]]:
    """Of the sources of some clips, those that selecting on a day would refuse, by id, with the reason; a few thousand sources at a time."""
    names, refusal = sorted({source_of(clip) for clip in clip_ids}), source_refusal(in_force(terms, policy_of(corpus)), on)
    for start in range(0, len(names), SOURCES_AT_ONCE):
        rows = corpus.sources(names[start : start + SOURCES_AT_ONCE], COLUMNS)
        rows = rows.filter(pc.not_equal(rows["status"], STATUS_FAILED))
        with duckdb.connect(config={"python_enable_replacements": False}) as connection:
            connection.register("rows", rows)
            judged = connection.sql(f"SELECT source_id, {refusal} AS reason FROM rows ORDER BY source_id").fetchall()
        yield from ((source_id, reason) for source_id, reason in judged if reason is not None)
