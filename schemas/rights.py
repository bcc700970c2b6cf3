"""Rights: what an owner grants for a source, what a corpus accepts, and in words why the one does not satisfy the other."""

import fnmatch
import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from pydantic import Field, field_validator

from schemas.document import Document
from schemas.source import SOURCES
from schemas.table import column

UNSTATED = "unstated"
"""The licence of sources in a corpus that was given neither rights nor a policy."""

WORLDWIDE = "worldwide"

USES = ("train", "redistribute", "commercial", "derivatives", "display")
"""Uses that rights files and policies speak of; a contract may name further ones."""

RIGHTS_RULE = "rights"
"""The rule under which quarantined sources and their seconds are listed."""

GRANTED = ("license", "rights_holder", "rights_uses", "rights_territories", "rights_start", "rights_expires", "attribution", "releases", "rights_proof")
DESCRIBED = ("title", "description", "tags", "category")

GRANTS = pa.schema(
    [
        column("origin", pa.string(), "Rights file it was read from", by="add"),
        column("line", pa.int64(), "Line of a CSV file, or row of a Parquet file", by="add"),
        column("path", pa.string(), "Applies to the source at this path", by="add"),
        column("glob", pa.string(), "Applies to sources whose path this pattern matches; `*` crosses folders", by="add"),
        column("sha256", pa.string(), "Applies to the source with this content", by="add"),
        column("source_id", pa.string(), "Applies to this source", by="add"),
        *(SOURCES.field(name) for name in (*GRANTED, *DESCRIBED)),
    ]
)
"""The relation of grants: the rows of the rights files that a corpus was given."""

MOST_DAYS = 36_525
"""A century, in days: no rule looks further ahead."""

_CREATIVE_COMMONS = re.compile(r"CC-BY(?P<nc>-NC)?(?P<nd>-ND)?(?P<sa>-SA)?-\d\.\d(-[A-Z]{2,3})?")
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


class Policy(Document):
    """Which rights a corpus accepts. What fails it is quarantined before anything is decoded.

    Patterns of licences may hold `*`. A source without stated rights is accepted only where `licenses` names `unstated`.
    """

    name: str = "policy"
    licenses: tuple[str, ...] = Field(default=(), description="accepted licences, such as CC0-1.0, CC-BY-*, contract:*; none listed accepts every stated one")
    refused_licenses: tuple[str, ...] = Field(default=(), description="licences refused whatever else is accepted")
    uses: tuple[str, ...] = Field(default=("train",), description="every one of these uses must be permitted")
    territories: tuple[str, ...] = Field(default=(), description="every one of these must be covered (ISO 3166, or `worldwide`)")
    releases: tuple[str, ...] = Field(default=(), description="releases that must be at hand, such as people, property")
    days_left: int = Field(default=0, ge=0, le=MOST_DAYS, description="days for which the rights must still hold")
    proof: bool = Field(default=False, description="a document that proves the grant must be named")
    holder: bool = Field(default=False, description="the rights holder must be named")
    attribution: bool = Field(default=True, description="where the licence asks for attribution, the line must be given")

    @field_validator("territories")
    @classmethod
    def _are_territories(cls, territories: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(territory(name) for name in territories)

    @field_validator("licenses", "refused_licenses")
    @classmethod
    def _are_licences(cls, licences: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(licence(name) for name in licences)


def refusal(rights: Mapping[str, Any], policy: Policy | None, on: date) -> str | None:
    """Why a source may not be used on a day, in words; None when it may.

    Args:
        rights: the columns GRANTED of `sources`.
        policy: what the corpus accepts; without one, only the term and an explicit refusal of training count.
        on: the day.
    """
    name = rights["license"]
    start, expires = rights["rights_start"], rights["rights_expires"]
    if start is not None and start > on:
        return f"the rights start on {start}"
    if expires is not None and expires < on:
        return f"the rights expired on {expires}"
    uses = permitted_uses(name, rights["rights_uses"])
    if policy is None:
        return f"the rights permit {', '.join(uses) or 'no use'}, and not `train`" if uses is not None and "train" not in uses else None
    return _refused_by(policy, rights, uses, on)


def licence(text: str) -> str:
    """A licence's identifier in its usual spelling: `cc by 4.0` is `CC-BY-4.0`; what is not Creative Commons stays as it is."""
    text = text.strip()
    plain = re.sub(r"[\s_]+", "-", text.upper())
    if plain in ("CC0", "CC-0", "CC0-1.0", "CC-ZERO"):
        return "CC0-1.0"
    if plain.lower() == UNSTATED:
        return UNSTATED
    return plain if plain.startswith(("CC-", "CC0")) else text


def licence_problem(name: str) -> str | None:
    """Why a text cannot be a licence; None where it is an SPDX or Creative Commons identifier or a contract's reference."""
    if name.startswith("CC-") and not _CREATIVE_COMMONS.fullmatch(name) and not name.startswith("CC-PDDC"):
        return f"`{name}` is not a Creative Commons licence; they look like CC-BY-4.0, CC-BY-NC-SA-3.0 or CC0-1.0"
    if _SPDX.fullmatch(name) or ":" in name:
        return None
    return f"`{name}` is neither an SPDX or Creative Commons identifier nor a contract's reference such as contract:2024-17"


def permitted_uses(name: str | None, stated: list[str] | None) -> list[str] | None:
    """The uses stated, or else those that a public licence grants by itself; None where nobody knows."""
    if stated is not None:
        return stated
    if name is None or name == UNSTATED or ":" in name:
        return None
    found = _CREATIVE_COMMONS.fullmatch(name)
    refused = {"commercial"} if found and found["nc"] else set()
    refused |= {"derivatives"} if found and found["nd"] else set()
    return [use for use in USES if use not in refused]


def covered_territories(name: str | None, stated: list[str] | None) -> list[str] | None:
    """The territories stated, or else `worldwide` for public licences, which hold everywhere; None where nobody knows."""
    if stated is not None:
        return stated
    return None if name is None or name == UNSTATED or ":" in name else [WORLDWIDE]


def covering(place: str) -> tuple[str, ...]:
    """What a grant may say to cover a territory: itself, the country it is part of, or `worldwide`."""
    return tuple(dict.fromkeys((place, place.split("-")[0], WORLDWIDE)))


def wants_attribution(name: str | None) -> bool:
    """Whether a licence asks for an attribution line."""
    return name is not None and _CREATIVE_COMMONS.fullmatch(name) is not None


def territory(text: str) -> str:
    """A territory as ISO 3166-1 alpha-2 (or -2, such as `DE-BY`), or `worldwide`.

    Raises:
        ValueError: it is neither.
    """
    told = text.strip()
    if told.lower() in (WORLDWIDE, "world", "*"):
        return WORLDWIDE
    if not re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", told.upper()):
        raise ValueError(f"`{told}` is not a territory: use ISO 3166 codes such as DE or US-CA, or `{WORLDWIDE}`")
    return told.upper()


def _refused_by(policy: Policy, rights: Mapping[str, Any], uses: list[str] | None, on: date) -> str | None:
    name, told = rights["license"], f"policy `{policy.name}`"
    accepted = any(fnmatch.fnmatchcase(name or UNSTATED, pattern) for pattern in policy.licenses)
    if name in (None, UNSTATED):
        return None if accepted else f"no rights are stated, and {told} asks for them"
    if policy.licenses and not accepted:
        return f"{told} does not accept the licence {name}: it accepts {', '.join(policy.licenses)}"
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in policy.refused_licenses):
        return f"{told} refuses the licence {name}"
    missing = [use for use in policy.uses if use not in (uses or [])]
    if missing:
        return f"{told} needs the use `{missing[0]}`, and the rights permit {', '.join(uses or []) or 'no stated use'}"
    covered = rights["rights_territories"] or []
    uncovered = [place for place in policy.territories if not set(covering(place)) & set(covered)]
    if uncovered:
        return f"{told} needs the territory {uncovered[0]}, and the rights cover {', '.join(covered) or 'none that is stated'}"
    absent = [release for release in policy.releases if release not in (rights["releases"] or [])]
    if absent:
        return f"{told} needs a release for {absent[0]}"
    expires = rights["rights_expires"]
    if expires is not None and expires < on + timedelta(days=policy.days_left):
        return f"{told} needs {policy.days_left} days more, and the rights expire on {expires}"
    needed = {"rights_proof": policy.proof, "rights_holder": policy.holder, "attribution": policy.attribution and wants_attribution(name)}
    lacking = [name.removeprefix("rights_") for name, wanted in needed.items() if wanted and not rights[name]]
    return f"{told} needs the {lacking[0]}, and none is given" if lacking else None
