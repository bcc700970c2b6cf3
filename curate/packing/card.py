"""Card: the page of a set of shards for people (and the Hugging Face hub), and the attributions that its licences want shown."""

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from curate.packing.shards import KINDS

UNSTATED = "unstated"
HUB_LICENSES = frozenset(
    ["apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "odbl", "odc-by", "pddl", "cc0-1.0"]
    + [f"cc-{terms}-{version}" for terms in ("by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd") for version in ("2.0", "3.0", "4.0")]
)
"""Identifiers the hub knows; a licence outside them is told as `other`."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))

PAGE = """\
---
{{ front }}
---

# {{ name }}

{{ description }}
{% if unstated %}
> **Warning: rights unstated.** {{ unstated.clips }} clips ({{ hours(unstated.hours) }}) come from {{ unstated.sources }} sources for which nobody stated any
> rights. Do not train on them, publish them or pass them on before the rights are settled: list them in a rights file, add the footage again with it,
> and require `stated = true` under `[rights]` in the recipe.
{% endif %}
| | |
|---|---|
| clips | {{ manifest.clips }}{% if images %}, of which {{ images }} images{% endif %} |
| length | {{ hours(manifest.hours) }} |
| shards | {{ manifest.shards | length }} ({{ megabytes }} MB) |
| recipe | `{{ manifest.recipe.name }}`, seed {{ manifest.recipe.seed }} |

## What is inside

Each sample is `KEY.mp4` (an image `KEY.jpg`), {% if apart %}`KEY.flac` (its sound, exactly as long), {% endif %}`KEY.txt` (its caption) and `KEY.json`
(everything known about it: where in its source it lies, every measure, every caption, its rights). `MANIFEST` names each shard's digest and clips,
`index.parquet` where each file lies, so that one can be read alone. `croissant.json` says the same for machines.
What is unknown or empty is left out of `KEY.json`; `datasets` keeps those of its keys that the first five samples have.

```python
import glob, json, webdataset
for sample in webdataset.WebDataset(sorted(glob.glob("shard-*.tar")), shardshuffle=False):
    facts, caption, video = json.loads(sample["json"]), sample["txt"].decode(), sample.get("mp4")
```

## Rights

| licence | sources | clips | length |
|---|---|---|---|
{% for row in licenses -%}
| {{ cell(row.license) }} | {{ row.sources }} | {{ row.clips }} | {{ hours(row.hours) }} |
{% endfor %}
Each sample carries its own rights in `KEY.json`. What the licences want shown is in `ATTRIBUTION`.

## How it was chosen

| rule | asks | rejects alone | rejects in order | left |
|---|---|---|---|---|
{% for step in funnel -%}
| {{ cell(step.rule) }} | {{ cell(step.wants) }} | {{ number(step.alone_clips) }} | {{ step.rejected_clips }} | {{ step.left_clips }} |
{% endfor %}
{% if manifest.scorers %}Measured by {% for name in manifest.scorers.values() | unique | sort %}`{{ name }}`{{ "" if loop.last else ", " }}{% endfor %}.
{% endif %}{% if manifest.failed %}
{{ manifest.failed | length }} of the clips chosen could not be packed; `MANIFEST` says which, and why.
{% endif %}"""


@dataclass(frozen=True)
class Licensed:
    """What a set holds under one licence."""

    license: str
    sources: int
    clips: int
    hours: float


def licensed(packed: pa.Table) -> list[Licensed]:
    """Clips (`source_id`, `license`, `hours`) counted by licence, the most first."""
    rows = pa.table({"license": pc.fill_null(packed["license"].cast(pa.string()), UNSTATED), "hours": packed["hours"], "source_id": packed["source_id"]})
    counted = rows.group_by("license", use_threads=False).aggregate([("source_id", "count_distinct"), ("source_id", "count"), ("hours", "sum")])
    found = [Licensed(row["license"] or UNSTATED, row["source_id_count_distinct"], row["source_id_count"], row["hours_sum"]) for row in counted.to_pylist()]
    return sorted(found, key=lambda one: (-one.clips, one.license))


def card(manifest: Mapping[str, Any], licenses: Sequence[Licensed], funnel: Sequence[Mapping[str, Any]]) -> str:
    """The card, in Markdown with YAML front matter."""
    kinds = {kind: [shard["shard"] for shard in manifest["shards"] if shard["kind"] == kind] for kind in KINDS}
    images = sum(len(shard["clips"]) for shard in manifest["shards"] if shard["kind"] == "image")
    environment = jinja2.Environment(autoescape=False, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(PAGE).render(
        front=_front(manifest, licenses, kinds),
        name=manifest["name"],
        description=cell(describe(manifest)),
        manifest=manifest,
        images=images,
        apart=bool(kinds["video-audio"]),
        megabytes=f"{manifest['bytes'] / 1e6:.1f}",
        licenses=licenses,
        unstated=next((one for one in licenses if one.license == UNSTATED), None),
        funnel=funnel,
        hours=length,
        cell=cell,
        number=lambda value: "" if value is None else value,
    )


def describe(manifest: Mapping[str, Any]) -> str:
    """A sentence on what the set is."""
    told = manifest["recipe"]["description"] or f"chosen by the recipe {manifest['recipe']['name']}"
    return f"{manifest['clips']} captioned clips ({length(manifest['hours'])}) packed by clipmill: {told}"


def attribution(sources: Iterable[Mapping[str, Any]]) -> str:
    """One line for each source that wants to be named: its attribution, or its title, holder and licence."""
    lines = set()
    for source in sources:
        parts = [source.get("title"), source.get("rights_holder"), source.get("license")]
        lines.add(one_line(source.get("attribution") or ", ".join(part for part in parts if part) or source["source_id"]))
    return "".join(f"{line}\n" for line in sorted(lines))


def one_line(text: str) -> str:
    """Text without line breaks or control characters."""
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", text).strip()


def cell(text: str) -> str:
    """Text that stays text in a Markdown table, whatever it holds."""
    return re.sub(r"([\\`*_\[\]|!])", r"\\\1", html.escape(one_line(text), quote=False))


def length(hours: float) -> str:
    """Hours as people say them."""
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.1f} s"


def _front(manifest: Mapping[str, Any], licenses: Sequence[Licensed], kinds: Mapping[str, Sequence[str]]) -> str:
    """The hub's metadata, as YAML (each value is JSON, which YAML reads)."""
    known = sorted({one.license.lower() for one in licenses if one.license.lower() in HUB_LICENSES})
    others = sorted({one.license for one in licenses if one.license.lower() not in HUB_LICENSES})
    license_ = [*known, "other"] if others else known
    front: dict[str, Any] = {"license": license_[0] if len(license_) == 1 else license_}
    if others:
        front["license_name"] = one_line(", ".join(others))
    front |= {
        "pretty_name": manifest["name"],
        "task_categories": ["text-to-video"],
        "tags": ["webdataset", "video", "clipmill"],
        "size_categories": [next((size for limit, size in SIZES if manifest["clips"] < limit), "n>10M")],
        "configs": [{"config_name": kind, "data_files": list(shards)} for kind, shards in kinds.items() if shards],
    }
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items() if value)
