"""Measures the shipped watermark scorer on generated clips, each kind of mark apart, and on a corpus with truth; writes Markdown.

`python measure.py FOLDER-OF-TEST-EXAMPLES [--corpus CORPUS --truth overlay.json] > ../results/watermark.md`
"""

import argparse
import json
from pathlib import Path

import numpy as np
from judged import judged

from curate.models import weights
from curate.scorers.watermark import MODEL, Watermark
from curate.scorers.watermark_judge import Judge

FALSE_POSITIVES = 0.05
SMALL_AREA, FAINT = 0.004, 25.0
"""A mark under this share of the frame is small; one that changes its pixels by less than this many grey levels is faint."""


def auc(positive, negative) -> float:
    """Chance that a positive outranks a negative, ties counting half."""
    positive, negative = np.asarray(positive, float)[:, None], np.asarray(negative, float)[None]
    return float((positive > negative).mean() + 0.5 * (positive == negative).mean())


def auc_interval(positive, negative, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the AUC from 1000 resamples of clips."""
    rng = np.random.default_rng(seed)
    positive, negative = np.asarray(positive, float), np.asarray(negative, float)
    drawn = [auc(rng.choice(positive, len(positive)), rng.choice(negative, len(negative))) for _ in range(1000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / max(of, 1)
    centre, half = share + z * z / (2 * of), z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return float((centre - half) / (1 + z * z / of)), float((centre + half) / (1 + z * z / of))


def table_of(rows: list[dict]) -> list[str]:
    """Markdown lines: each kind of mark against every negative, then subsets."""
    clean = np.array([row["probability"] for row in rows if not row["marked"]])
    bar = float(np.quantile(clean, 1 - FALSE_POSITIVES))
    small, faint = (lambda row: row["area"] < SMALL_AREA), (lambda row: row["strength"] < FAINT)
    marked = [row for row in rows if row["marked"]]
    kinds = {kind: [row for row in marked if row["kind"] == kind] for kind in sorted({row["kind"] for row in marked})}
    groups = {"all marks": marked, **kinds}
    groups["small"], groups["faint"] = [row for row in marked if small(row)], [row for row in marked if faint(row)]
    groups["small and faint"] = [row for row in marked if small(row) and faint(row)]
    for name, still in (("static camera", True), ("moving camera", False)):
        groups[name] = [row for row in marked if row["static"] == still]
    lines = ["| marks | clips | AUC | 95 % | recall at 5 % FP | 95 % | median box IoU |", "|---|---|---|---|---|---|---|"]
    for name, members in groups.items():
        values = [row["probability"] for row in members]
        against = [row["probability"] for row in rows if not row["marked"] and ("camera" not in name or row["static"] == members[0]["static"])]
        hits = sum(value > bar for value in values)
        overlaps = [row["overlap"] for row in members if row["overlap"] is not None]
        low, high = auc_interval(values, against)
        least, most = wilson(hits, len(values))
        told = f"{np.median(overlaps):.2f}" if overlaps else ""
        lines.append(
            f"| {name} | {len(values)} | {auc(values, against):.3f} | {low:.3f}-{high:.3f} | {hits / len(values):.2f} | {least:.2f}-{most:.2f} | {told} |"
        )
    lines += ["", "| negatives | clips | flagged at the same bar | at probability .5 |", "|---|---|---|---|"]
    negatives = {
        "all": lambda row: True,
        "static camera": lambda row: row["static"],
        "moving camera": lambda row: not row["static"],
        "captions": lambda row: row["captioned"],
        "no captions": lambda row: not row["captioned"],
    }
    for name, belongs in negatives.items():
        values = np.array([row["probability"] for row in rows if not row["marked"] and belongs(row)])
        lines.append(f"| {name} | {len(values)} | {(values > bar).mean():.3f} | {(values > 0.5).mean():.3f} |")
    lines += ["", "| probability given | clips | mean probability | share marked |", "|---|---|---|---|"]
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0001)):
        inside = [row for row in rows if low <= row["probability"] < high]
        if inside:
            mean, share = np.mean([row["probability"] for row in inside]), np.mean([row["marked"] for row in inside])
            lines.append(f"| {low:.1f}-{min(high, 1):.1f} | {len(inside)} | {mean:.2f} | {share:.2f} |")
    return lines


def truth_table(corpus: str, truth: dict, split: str) -> list[str]:
    """Markdown lines from a corpus made of films with truth: a film's score is its likeliest clip's, as `score.py overlay` has it."""
    from curate.corpus import open_corpus

    opened = open_corpus(corpus)
    names = {row["source_id"]: Path(row["uri"]).name for row in opened.table("sources").to_pylist()}
    scores: dict[str, float] = {}
    for row in opened.table("clips").to_pylist():
        if row["watermark"] is not None:
            name = names[row["source_id"]]
            scores[name] = max(scores.get(name, 0.0), row["watermark"])
    films = [video for video in truth["videos"] if video["split"] == split]
    natural = [video for video in truth["natural"] if video.get("split") == split and Path(video["file"]).name in scores]
    clean = [scores.get(Path(video["file"]).name, 2.0) for video in films if not video["variant"].startswith(("wm_", "txt_"))]
    clean += [scores[Path(video["file"]).name] for video in natural if not any(video.get(key) for key in ("watermark", "overlay_text", "text"))]
    bar = float(np.quantile(clean, 1 - FALSE_POSITIVES))
    kinds: dict[str, list[float]] = {}
    for video in films:
        if video["variant"].startswith("wm_"):
            kinds.setdefault(video["variant"], []).append(scores.get(Path(video["file"]).name, -1.0))
    kinds = {"all six": [value for values in kinds.values() for value in values], **kinds}
    lines = [f"Against {len(clean)} clean films.", "", "| marks | films | AUC | recall at 5 % FP | 95 % |", "|---|---|---|---|---|"]
    for name, values in kinds.items():
        hits = int(sum(value > bar for value in values))
        low, high = wilson(hits, len(values))
        lines.append(f"| {name} | {len(values)} | {auc(values, clean):.3f} | {hits / len(values):.2f} | {low:.2f}-{high:.2f} |")
    found = [f"{Path(video['file']).name} {scores[Path(video['file']).name]:.2f}" for video in natural if video.get("watermark")]
    texts = [scores[Path(video["file"]).name] for video in films if video["variant"].startswith("txt_") and Path(video["file"]).name in scores]
    return [*lines, "", f"Real films with a mark: {', '.join(found)}. Captioned films above the bar: {sum(value > bar for value in texts)} of {len(texts)}."]


def main() -> None:
    """Reads the command line and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--corpus")
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--split", default="open")
    given = parser.parse_args()
    path = weights(MODEL)[0]
    rows = judged(Judge.load(path), given.examples)
    print(f"# Watermark scorer `{Watermark.identity()}`\n")
    print(f"## Generated clips: other pictures, film stretches, fonts and seeds than were trained on\n\n{chr(10).join(table_of(rows))}")
    if given.corpus and given.truth:
        print(f"\n## Films with truth, split `{given.split}`\n\n{chr(10).join(truth_table(given.corpus, json.loads(given.truth.read_text()), given.split))}")


if __name__ == "__main__":
    main()
