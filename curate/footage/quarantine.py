"""Quarantine: what was found, joined with the rights that govern it, one row per content; what may not be used is rejected before decoding."""

import fnmatch
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from curate.corpus import Corpus
from curate.footage.credentials import forbids_training
from curate.footage.grants import Grants, conflict
from curate.storage.atomic import overwrite
from curate.storage.relations import RELATIONS
from schemas.document import DocumentError, parse_document, parse_toml
from schemas.rights import DESCRIBED, GRANTED, RIGHTS_RULE, UNSTATED, Policy, covered_territories, permitted_uses, refusal
from schemas.source import STATUS_FAILED, STATUS_OK, STATUS_REJECTED
from schemas.table import table_of

POLICY = "policy.toml"
TAKEDOWN_RULE = "takedown"


def join_rights(corpus: Corpus, on: date) -> None:
    """Make `added` anew from what was found, the grants, the policy and the tombstones.

    Args:
        on: the day on which rights must hold.
    """
    judge = Judge(corpus, on)
    rows = [judge.source(copies) for copies in _by_content(corpus.read("found").sort_by("number").to_pylist())]
    schema = RELATIONS["added"]
    corpus.replace("added", table_of([{name: row.get(name) for name in schema.names} for row in rows], schema).sort_by("source_id"))


def state_policy(corpus: Corpus, policy: bytes) -> None:
    """Let the corpus accept what a policy says from now on."""
    overwrite(corpus.filesystem, corpus.path(POLICY), policy)


def policy_of(corpus: Corpus) -> Policy | None:
    """The policy that was stated, if any."""
    try:
        told, text = parse_toml(corpus.filesystem.cat_file(corpus.path(POLICY)), corpus.path(POLICY))
        return parse_document(told, Policy, corpus.path(POLICY), text)
    except FileNotFoundError:
        return None
    except DocumentError as error:
        raise DocumentError(f"{error}; state the policy again: clipmill add FOOTAGE --policy FILE") from None


class Judge:
    """What a corpus knows of rights, applied to one source at a time."""

    def __init__(self, corpus: Corpus, on: date) -> None:
        self.on = on
        self.policy = policy_of(corpus)
        self.grants = Grants(corpus.read("grants").to_pylist())
        gone = corpus.read("tombstones")
        self.tombstones: dict[str, str] = dict(zip(gone["source_id"].to_pylist(), gone["reason"].to_pylist()))

    def source(self, copies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The row of a content that was found at one or more locations, in the order of finding."""
        first = copies[0]
        names = [name for copy in copies for name in copy["names"]]
        governing = self.grants.governing(first["source_id"], first["sha256"], names)
        row = {**first, "locations": [copy["uri"] for copy in copies], **_terms(governing)}
        if first["status"] == STATUS_OK and (refused := self._refused(row, governing)):
            row |= {"status": STATUS_REJECTED, "rule": refused[0], "reason": refused[1]}
        if forbids_training(row["content_credentials"]):
            row["warnings"] = [*(row["warnings"] or []), "its own content credentials do not allow training"]
        return row

    def _refused(self, row: Mapping[str, Any], governing: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
        if row["source_id"] in self.tombstones:
            return TAKEDOWN_RULE, f"taken down: {self.tombstones[row['source_id']]}"
        if disagreement := conflict(governing):
            return RIGHTS_RULE, disagreement
        if not governing and self.grants.rows and not self._accepts_unstated():
            return RIGHTS_RULE, "no row of the rights file is about it, by path, glob, hash or id"
        if not governing and self.policy is None:
            forbidden = forbids_training(row["content_credentials"])
            return (RIGHTS_RULE, "nobody stated its rights, and its own content credentials do not allow training") if forbidden else None
        reason = refusal(row, self.policy, self.on)
        return (RIGHTS_RULE, reason) if reason else None

    def _accepts_unstated(self) -> bool:
        return self.policy is not None and any(fnmatch.fnmatchcase(UNSTATED, pattern) for pattern in self.policy.licenses)


def _terms(governing: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rights columns of a source; where rows disagree none are taken, and what a public licence implies is spelled out."""
    described = {name: next((row[name] for row in governing if row[name]), None) for name in DESCRIBED}
    if not governing or conflict(governing):
        return {**dict.fromkeys(GRANTED), "license": None if governing else UNSTATED, **described}
    terms = {name: governing[0][name] for name in GRANTED}
    uses, places = (ask(terms["license"], terms[name]) for ask, name in ((permitted_uses, "rights_uses"), (covered_territories, "rights_territories")))
    return {**terms, "rights_uses": uses, "rights_territories": places, **described}


def _by_content(looks: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The last look at each location, grouped by content in the order of finding; content that no file holds any more stays, as failed."""
    latest = {row["uri"]: row for row in looks}
    content: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(latest.values(), key=lambda row: row["number"]):
        content.setdefault(row["source_id"], []).append(row)
    for row in looks:
        if row["status"] == STATUS_OK and row["source_id"] not in content:
            content[row["source_id"]] = [{**row, "status": STATUS_FAILED, "rule": "open", "reason": "the file that held this content was changed"}]
    return list(content.values())
