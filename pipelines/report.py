"""report.html: what came in, what was kept, what was not and why, as one self-contained page."""

import base64
import importlib.metadata
import importlib.resources
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from curate.corpus import Corpus
from curate.keeping.verify_documents import REPORT, REPORT_SEAL
from curate.storage.atomic import overwrite
from curate.storage.sealed import sealed
from pipelines.figures import Histogram, histogram
from schemas.clip import OUTCOME_FAILED, OUTCOME_KEPT, OUTCOME_REJECTED
from schemas.document import DocumentError
from schemas.recipe import Range, Recipe
from schemas.source import STATUS_OK

CARDS, ROWS = 12, 60
SHOWN_SCORES = ("aesthetic", "alignment", "motion", "technical", "watermark", "text_area")
SHADES = (1.0, 0.8, 0.62, 0.48, 0.36, 0.28)


@dataclass(frozen=True)
class Extras:
    """What a run made beyond the corpus, to be shown on the same page."""

    sample: Path | None = None
    sample_caption: str = ""
    verdicts: Sequence[str] = field(default_factory=tuple)


def write_report(corpus: Corpus, selection: str | None = None, extras: Extras | None = None) -> str:
    """Write the page of a selection (the last one made by default) into the corpus, and return its path."""
    page = _page(corpus, selection or _last_selection(corpus), extras or Extras())
    templates = importlib.resources.files("pipelines") / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((templates / "report.html.j2").read_text("utf-8"))
    css = jinja2.utils.markupsafe.Markup((templates / "page.css").read_text("utf-8"))
    path = corpus.path(REPORT)
    overwrite(corpus.filesystem, path, sealed(template.render(page=page, css=css), REPORT_SEAL))
    return path


def _last_selection(corpus: Corpus) -> str:
    made = corpus.selections()
    if not made:
        raise DocumentError(f"{corpus.url}: no selection was made yet; `clipmill select --corpus {corpus.url} --recipe R` makes one")
    return made[-1]


def _page(corpus: Corpus, selection: str, extras: Extras) -> dict[str, Any]:
    recipe = Recipe.model_validate_json(corpus.read(f"recipes/{selection}")["recipe"][0].as_py())
    sources = {row["source_id"]: row for row in corpus.table("sources").to_pylist()}
    clips = {row["clip_id"]: row for row in corpus.table("clips").to_pylist()}
    ledger = corpus.table("ledger", selection=selection).to_pylist()
    judged = [row for row in ledger if row["clip_id"]]
    kept = [row for row in judged if row["outcome"] == OUTCOME_KEPT]
    rejected = _one_of_each_rule_first([row for row in judged if row["outcome"] == OUTCOME_REJECTED])
    pictures = _pictures(corpus, [row["clip_id"] for row in kept[:CARDS] + rejected[:CARDS]])
    return {
        "selection": selection,
        "description": recipe.description,
        "clips": len(judged),
        "kept_clips": len(kept),
        "unstated": sum(row["license"] == "unstated" and row["status"] == STATUS_OK for row in sources.values()),
        "figures": _figures(sources, ledger, clips),
        "seconds": _seconds(ledger),
        "funnel": _funnel(corpus.read(f"funnels/{selection}").to_pylist()),
        "kept": [_card(row, clips[row["clip_id"]], pictures) for row in kept[:CARDS]],
        "kept_more": max(0, len(kept) - CARDS),
        "rejected": [_card(row, clips[row["clip_id"]], pictures) for row in rejected[:CARDS]],
        "rejected_more": max(0, len(rejected) - CARDS),
        "histograms": [_histogram(name, wanted, clips) for name, wanted in recipe.keep.items() if wanted.min is not None or wanted.max is not None],
        "sources": [_source(row, judged) for row in list(sources.values())[:ROWS]],
        "sources_more": max(0, len(sources) - ROWS),
        "shards": _shards(corpus, selection),
        "makers": _makers(corpus),
        "sample": _video(extras),
        "verdicts": list(extras.verdicts),
        "version": importlib.metadata.version("clipmill"),
    }


def _figures(sources: dict[str, dict], ledger: list[dict], clips: dict[str, dict]) -> list[dict[str, str]]:
    kept_s = sum(row["end_s"] - row["start_s"] for row in ledger if row["outcome"] == OUTCOME_KEPT)
    total_s = sum(row["end_s"] - row["start_s"] for row in ledger)
    duplicates = sum(row["duplicate_of"] is not None for row in clips.values())
    readable = sum(row["status"] == STATUS_OK for row in sources.values())
    return [
        {"value": clock(kept_s), "label": f"kept of {clock(total_s)}"},
        {"value": str(len(sources)), "label": "sources"},
        {"value": str(len(sources) - readable), "label": "sources quarantined or failed"},
        {"value": str(len(clips)), "label": "clips measured"},
        {"value": str(duplicates), "label": "near-duplicates found"},
    ]


def _seconds(ledger: list[dict]) -> list[dict[str, Any]]:
    """The parts of the bar: kept, then each rule's rejections, then failures, largest first."""
    amounts: Counter[tuple[str, str]] = Counter()
    for row in ledger:
        amounts[row["outcome"], "kept" if row["outcome"] == OUTCOME_KEPT else row["rule"]] += row["end_s"] - row["start_s"]
    total = sum(amounts.values()) or 1.0
    order = {OUTCOME_KEPT: 0, OUTCOME_REJECTED: 1, OUTCOME_FAILED: 2}
    parts = []
    seen: Counter[str] = Counter()
    for (outcome, label), amount in sorted(amounts.items(), key=lambda item: (order[item[0][0]], -item[1])):
        shade = SHADES[min(seen[outcome], len(SHADES) - 1)]
        seen[outcome] += 1
        if amount > 0:
            parts.append({"outcome": outcome, "label": label, "amount": clock(amount), "share": round(100 * amount / total, 3), "shade": shade})
    return parts


def _funnel(steps: list[dict]) -> list[dict[str, Any]]:
    first = max(1, steps[0]["left_clips"])
    return [
        {
            "rule": step["rule"],
            "asks": step["wants"],
            "rejected": step["rejected_clips"],
            "seconds": f"{step['rejected_hours'] * 3600:.1f}",
            "alone": "" if step["alone_clips"] is None else step["alone_clips"],
            "left": step["left_clips"],
            "left_share": round(100 * step["left_clips"] / first, 2),
        }
        for step in steps
    ]


def _one_of_each_rule_first(rows: list[dict]) -> list[dict]:
    """Rejections so ordered that every rule shows an example before any rule shows a second one."""
    turn: Counter[str] = Counter()
    keyed = []
    for row in rows:
        keyed.append((turn[row["rule"]], row))
        turn[row["rule"]] += 1
    return [row for _, row in sorted(keyed, key=lambda item: item[0])]


def _card(row: dict, clip: dict, pictures: dict[str, str]) -> dict[str, str]:
    scores = " · ".join(f"{name.replace('_', ' ')} {clip[name]:.2f}" for name in SHOWN_SCORES if clip[name] is not None)
    why = "" if row["outcome"] == OUTCOME_KEPT else row["detail"] or row["rule"]
    return {"picture": pictures.get(row["clip_id"], ""), "caption": clip["caption"] or "", "scores": scores, "why": why}


def _pictures(corpus: Corpus, clip_ids: list[str]) -> dict[str, str]:
    """The middle proxy of each clip, as a data URL."""
    frames: dict[str, list[bytes]] = {}
    for row in corpus.proxies(clip_ids).select(["clip_id", "image"]).to_pylist():
        frames.setdefault(row["clip_id"], []).append(row["image"])
    return {clip_id: _data_url("image/jpeg", images[len(images) // 2]) for clip_id, images in frames.items()}


def _histogram(name: str, wanted: Range, clips: dict[str, dict]) -> Histogram:
    return histogram(name, [row[name] for row in clips.values()], wanted.min, wanted.max)


def _source(row: dict, judged: list[dict]) -> dict[str, Any]:
    mine = [entry for entry in judged if entry["source_id"] == row["source_id"]]
    remarks = [row["reason"] or "", *(row["warnings"] or [])]
    return {
        "name": Path(row["uri"]).name,
        "source_id": row["source_id"],
        "status": row["status"],
        "seconds": f"{row['duration_s'] or 0:.1f}",
        "clips": len(mine),
        "kept": sum(entry["outcome"] == OUTCOME_KEPT for entry in mine),
        "rights": ", ".join(part for part in (row["license"], row["rights_holder"]) if part),
        "remarks": "; ".join(part for part in remarks if part),
    }


def _makers(corpus: Corpus) -> list[dict[str, str]]:
    columns: dict[str, list[str]] = {}
    for column, maker in corpus.makers().items():
        columns.setdefault(maker, []).append(column)
    return [{"columns": ", ".join(sorted(made)), "identity": maker} for maker, made in sorted(columns.items())]


def _shards(corpus: Corpus, selection: str) -> list[dict[str, Any]]:
    manifest = corpus.path("shards", selection, "MANIFEST")
    if not corpus.filesystem.exists(manifest):
        return []
    with corpus.filesystem.open(manifest) as file:
        told = json.load(file)
    return [
        {"name": shard["shard"], "samples": len(shard["clips"]), "size": f"{shard['bytes'] / 1e6:.1f} MB", "digest": shard["sha256"]}
        for shard in told["shards"]
    ]


def _video(extras: Extras) -> dict[str, str] | None:
    if extras.sample is None:
        return None
    return {"caption": extras.sample_caption, "source": _data_url("video/mp4", extras.sample.read_bytes())}


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def clock(seconds: float) -> str:
    """Seconds as people read them: `12.3 s`, `4:05`, `3:12:09`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
