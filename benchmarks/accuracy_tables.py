"""Tables of accuracy: each holds one kind of truth against clipmill's columns and against baselines, and returns lines of Markdown."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import baselines as off

if TYPE_CHECKING:
    from benchmarks.accuracy import Measured

Edges = Sequence[Sequence[int]]
SETS = {"composed": "shots", "natural": "natural_cuts", "uncut": "natural_cuts"}


def shots(measured: Measured) -> list[str]:
    """Shot boundaries."""
    answers: dict[str, Callable[[str], Edges]] = {"**clipmill, cascade**": ours(measured)}
    answers |= {name: lambda file, name=name: measured.baselines.ask(name, measured.media / file) for name in (off.TRANSNET, off.ADAPTIVE, off.CONTENT)}
    films = {
        "composed": {video["file"]: edges_of(video) for video in measured.truth["shots"]["videos"]},
        "natural": {video["file"]: edges_of(video) for video in measured.truth["natural_cuts"]["videos"]},
        "uncut": {file: [] for file in measured.truth["natural_cuts"]["zero_cut_files"]},
    }
    rows, kinds = [], {}
    for name, answer in answers.items():
        found = {which: tally(files, answer) for which, files in films.items()}
        f1s = [f"{f1(found[which]):.3f} ({found[which]['true']} / {found[which]['false']} / {found[which]['missed']})" for which in ("composed", "natural")]
        rows.append([name, *f1s, str(found["uncut"]["false"])])
        kinds[name] = found["composed"]["kinds"]
    every = sorted({kind for told in kinds.values() for kind in told})
    sent = [f"{which} {share(sum(measured.sent[file][0] for file in files), sum(measured.sent[file][1] for file in files))}" for which, files in films.items()]
    return [
        "## Shots",
        "",
        f"{', '.join(f'{len(files)} {which}' for which, files in films.items())} films. F1 with true / false / missed boundaries; a boundary is found "
        "by a detection within two frames of it, each counting once. Targets: .96 composed, 1.0 natural, at most one false cut on uncut films.",
        "",
        *markdown(["detector", "composed films", "natural edits", "false on uncut films"], rows),
        "",
        "Found on the composed films, by kind:",
        "",
        *markdown(["detector", *every], [[name, *(told.get(kind, "") for kind in every)] for name, told in kinds.items()]),
        "",
        f"Share of frames that the cascade shows TransNetV2 (shown twice counts twice): {', '.join(sent)}. "
        "Targets: a third on dense edits, 8 % on uncut footage.",
        "",
    ]


def ours(measured: Measured) -> Callable[[str], Edges]:
    """Boundaries of clipmill's shots, by file: from the end of a shot to the start of the next."""
    places: dict[str, list[dict[str, Any]]] = {}
    for file, row in measured.rows("shots"):
        places.setdefault(file, []).append(row)

    def answer(file: str) -> Edges:
        rows = sorted(places.get(file, []), key=lambda row: row["start_frame"])
        return [sorted((before["end_frame"], after["start_frame"])) for before, after in itertools.pairwise(rows)]

    return answer


def edges_of(video: dict[str, Any]) -> list[tuple[str, int, int]]:
    """True boundaries: kind, first and last frame."""
    told = video.get("boundaries") or [{"type": "cut", "start": at, "end": at} for at in video.get("cuts", [])]
    return [(edge["type"], edge["start"], edge["end"]) for edge in told]


def tally(films: dict[str, list[tuple[str, int, int]]], answer: Callable[[str], Edges]) -> dict[str, Any]:
    """True, false and missed boundaries over films."""
    counts: dict[str, Any] = {"true": 0, "false": 0, "missed": 0}
    kinds: dict[str, list[int]] = {}
    for file, edges in films.items():
        told, used = answer(file), set[int]()
        for kind, start, end in edges:
            hit = next((i for i, (a, b) in enumerate(told) if i not in used and a <= end + 2 and b >= start - 2), None)
            used |= {hit} if hit is not None else set()
            kinds.setdefault(kind, []).append(hit is not None)
        counts["false"] += len(told) - len(used)
    counts["true"], counts["missed"] = sum(map(sum, kinds.values())), sum(len(hits) - sum(hits) for hits in kinds.values())
    return {**counts, "kinds": {kind: f"{sum(hits)}/{len(hits)}" for kind, hits in kinds.items()}}


def f1(counts: dict[str, int]) -> float:
    return 2 * counts["true"] / max(2 * counts["true"] + counts["false"] + counts["missed"], 1)


def motion(measured: Measured) -> list[str]:
    """Motion levels, slideshows, and the camera's part in pans."""
    videos = measured.truth["motion"]["videos"]
    clips = by_file(measured, "clips", "motion")
    values = {"**clipmill, `motion`**": {file: float(np.mean(told)) for file, told in clips.items()}}
    values |= {name: {v["file"]: measured.baselines.ask(name, measured.media / v["file"]) for v in videos} for name in (off.FLOW, off.VECTORS, off.DIFFERENCE)}
    rows = []
    for name, value in values.items():
        within, across = ordered(videos, value)
        slides = [value.get(v["file"], np.inf) for v in videos if v["kind"].startswith("slideshow")]
        burns = [value.get(v["file"], -np.inf) for v in videos if "Ken Burns" in v["kind"]]
        below = f"{sum(slide < burn for slide in slides for burn in burns)} of {len(slides) * len(burns)}"
        rows.append([name, share(sum(within), len(within)), share(sum(across), len(across)), below])
    parts = {name: by_file(measured, "clips", name) for name in ("camera_motion", "subject_motion", "pan")}
    pans = [(v["file"], found) for v in videos if (found := re.match(r"camera pan ([\d.]+) px/frame at (\d+)x", v["kind"])) and v["file"] in parts["pan"]]
    fps = {file: told[0] for file, told in by_file(measured, "clips", "fps").items()}
    measured_pans = [abs(np.mean(parts["pan"][file])) / (100 * float(told[1]) / float(told[2]) * fps[file] / 24) for file, told in pans]
    camera = [np.mean(parts["camera_motion"][file]) > 2 * np.mean(parts["subject_motion"][file]) for file, _ in pans]
    still = [v["file"] for v in measured.truth["overlay"]["natural"] if v.get("static_camera") and v["file"] in parts["pan"]]
    subject = [np.mean(parts["subject_motion"][file]) > np.mean(parts["camera_motion"][file]) for file in still]
    return [
        "## Motion",
        "",
        f"{len(videos)} clips with levels known by construction. Targets: every pair within a group, .95 of pairs across groups, "
        "slideshows below a slow zoom on a still.",
        "",
        *markdown(["measure", "pairs in order within groups", "pairs across groups with different levels", "slideshow below Ken Burns"], rows),
        "",
        f"Pans of known speed: the camera's part is over twice the subject's in {sum(camera)} of {len(camera)}; `pan` over the truth: "
        f"{', '.join(f'{ratio:.2f}' for ratio in measured_pans)}. Fixed cameras: the subject's part is larger in {sum(subject)} of {len(subject)}.",
        "",
    ]


def ordered(videos: list[dict[str, Any]], value: dict[str, float]) -> tuple[list[bool], list[bool]]:
    """Whether pairs are in order: within groups by rank, across groups by level. A file without a value is out of order."""

    def right(lower: dict[str, Any], higher: dict[str, Any]) -> bool:
        return value.get(lower["file"], np.inf) < value.get(higher["file"], -np.inf)

    within, across = [], []
    for a in videos:
        for b in videos:
            if a["group"] != b["group"]:
                across += [right(a, b)] if a["level"] < b["level"] else []
            elif a["rank_in_group"] < b["rank_in_group"] and not a["group"].endswith("slide"):
                within += [right(a, b)] if not a["group"].endswith("speed") or a["rank_in_group"] == 1 else []
    return within, across


def borders(measured: Measured) -> list[str]:
    """Bars found with their rectangle, and none invented."""
    videos = measured.truth["overlay"]["videos"]
    kinds, boxes = by_file(measured, "clips", "border"), by_file(measured, "clips", "content_box")
    barred = [video for video in videos if video.get("bars_px")]
    plain = [v["file"] for v in (*videos, *measured.truth["overlay"]["natural"]) if not v.get("bars_px") and not v.get("letterbox")]
    plain += [video["file"] for video in measured.truth["motion"]["videos"]]
    answers: dict[str, Callable[[str], Sequence[float]]] = {
        "**clipmill, `content_box`**": lambda file: boxes[file][0] if file in boxes else [0.0, 0.0, 0.0, 0.0],
        off.CROPDETECT: lambda file: measured.baselines.ask(off.CROPDETECT, measured.media / file),
    }
    sizes = {file: (row["width"], row["height"]) for file, row in measured.rows("readings")}
    rows = []
    for name, answer in answers.items():
        errors: dict[str, list[float]] = {}
        for video in barred:
            error = float(np.abs(np.array(answer(video["file"])) - content_box(video["bars_px"], *sizes[video["file"]])).max())
            errors.setdefault(video["variant"], []).append(error)
        hits = [f"{sum(error <= 0.02 for error in of)} of {len(of)} (worst {max(of):.3f})" for _, of in sorted(errors.items())]
        invented = sum(float(np.abs(np.array(answer(file)) - [0, 0, 1, 1]).max()) > 0.02 for file in plain)
        rows.append([name, *hits, f"{invented} of {len(plain)}"])
    named = sum(kinds.get(v["file"], [""])[0] == ("letterbox" if v["letterbox"] else "blurred") for v in barred)
    variants = sorted({video["variant"] for video in barred})
    unlabelled = [file.rsplit("/", 1)[-1] for file in plain if file in boxes and float(np.abs(np.array(boxes[file][0]) - [0, 0, 1, 1]).max()) > 0.02]
    return [
        "## Borders",
        "",
        "A bar is found when every side of the content rectangle is within 2 % of the truth; invented when a file without bars is cropped by over 2 %.",
        "",
        *markdown(["measure", *variants, "invented"], rows),
        "",
        f"`border` names the kind rightly in {named} of {len(barred)}. Said to have bars without a label: {', '.join(unlabelled) or 'none'}.",
        "",
    ]


def content_box(bars: dict[str, int], width: int, height: int) -> np.ndarray:
    """Left, top, right and bottom of the picture inside bars given in pixels."""
    return np.array([bars.get("left", 0) / width, bars.get("top", 0) / height, 1 - bars.get("right", 0) / width, 1 - bars.get("bottom", 0) / height])


def overlays(measured: Measured) -> list[str]:
    """Evidence of what stays, the watermark score where there is one, and text."""
    truth, boxes = measured.truth["overlay"], by_file(measured, "clips", "overlay_box")
    value = {name: {file: max(told) for file, told in by_file(measured, "clips", name).items()} for name in ("overlay_evidence", "watermark", "text_area")}
    natural = [v["file"] for v in truth["natural"] if not (v.get("watermark") or v.get("text") or v.get("overlay"))]
    variants: dict[str, list[dict[str, Any]]] = {}
    for video in truth["videos"]:
        variants.setdefault(video["variant"], []).append(video)
    negatives = [v["file"] for name, of in variants.items() if not name.startswith(("wm_", "txt_")) for v in of] + natural
    rows = []
    for variant, of in sorted(variants.items()):
        if variant.startswith(("wm_", "txt_")):
            told = [against([value[name].get(v["file"]) for v in of], [value[name].get(file) for file in negatives]) for name in value]
            boxed = [meets(boxes[v["file"]], v["bbox"], v, measured) for v in of if isinstance(v.get("bbox"), list) and v["file"] in boxes]
            rows.append([variant, *told, f"{sum(boxed)} of {len(boxed)}" if boxed else ""])
    return [
        "## Overlays and text",
        "",
        f"AUC against {len(negatives)} files without mark or text, and recall at 5 % false positives. `overlay_evidence` is what reading finds (edges "
        "that stay), an input of scorers; `watermark` and `text_area` are scorers' answers. More on scorers: [watermark](../benchmarks/results/watermark.md), "
        "[all of them](../benchmarks/results/score-accuracy.md).",
        "",
        *markdown(["variant", *(f"`{name}`" for name in value), "`overlay_box` meets the mark"], rows),
        "",
    ]


def meets(boxes: list[list[float]], pixels: list[int], video: dict[str, Any], measured: Measured) -> bool:
    """Whether any box overlaps the true one, given as x, y, width, height."""
    width, height = next((row["width"], row["height"]) for file, row in measured.rows("readings") if file == video["file"])
    x, y, w, h = pixels
    return any(left * width < x + w and right * width > x and top * height < y + h and bottom * height > y for left, top, right, bottom in boxes)


def against(positive: list[float | None], negative: list[float | None]) -> str:
    """AUC and recall at 5 % false positives; what has no value ranks worst."""
    if all(value is None for value in positive):
        return "not measured"
    high = np.array([-1.0 if value is None else value for value in positive])
    low = np.array([2.0 if value is None else value for value in negative])
    auc = float((high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean())
    return f"{auc:.2f}, {float((high > np.quantile(low, 0.95)).mean()):.2f}"


def copies(measured: Measured) -> list[str]:
    """Near-duplicates within one corpus of everything."""
    truth = measured.truth["dups"]
    clusters = {file: set(told) for file, told in by_file(measured, "clips", "duplicate_cluster").items()}
    found: dict[str, list[bool]] = {}
    for pair in truth["pairs"]:
        if pair["label"] == "duplicate":
            found.setdefault(pair.get("what", ""), []).append(bool(clusters.get(pair["a"], set()) & clusters.get(pair["b"], set())))
    videos = truth["videos"]
    merged = [(a, b) for i, a in enumerate(videos) for b in videos[i + 1 :] if a["family"] != b["family"]]
    wrong = sum(bool(clusters.get(a["file"], set()) & clusters.get(b["file"], set())) for a, b in merged)
    hits = [hit for of in found.values() for hit in of]
    missed = ", ".join(f"{what} {of.count(False)} of {len(of)}" for what, of in found.items() if not all(of)) or "none"
    return [
        "## Copies",
        "",
        f"Copies found: {share(sum(hits), len(hits))} (mirrored copies count as missed unless asked for); missed: {missed}. "
        f"Different footage merged: {wrong} of {len(merged)} pairs.",
        "",
    ]


def alignment(measured: Measured) -> list[str]:
    """Whether the matching caption ranks above mismatches, by the mean over a video's clips."""
    from benchmarks.captions import Captions

    captions = Captions(measured.corpus)
    clips: dict[str, list[str]] = by_file(measured, "clips", "clip_id")
    right: dict[str, list[bool]] = {"far": [], "near": []}
    for video in measured.truth["alignment"]["videos"]:
        if video["file"] in clips:
            match = captions.fit(clips[video["file"]], video["match"])
            right["far"] += [match > captions.fit(clips[video["file"]], wrong) for wrong in video["far_mismatch"]]
            right["near"] += [match > captions.fit(clips[video["file"]], video["near_mismatch"])] if video["near_mismatch"] else []
    told = ", ".join(f"{kind} mismatches {share(sum(of), len(of))}" for kind, of in right.items())
    return ["## Captions", "", f"The matching caption ranks above the mismatch (`alignment` of profile `embedded`): {told}.", ""]


def by_file(measured: Measured, relation: str, column: str) -> dict[str, list[Any]]:
    """A column's values that are there, by file."""
    found: dict[str, list[Any]] = {}
    for file, row in measured.rows(relation):
        if row[column] is not None:
            found.setdefault(file, []).append(row[column])
    return found


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part} of {whole})" if whole else "none"


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table."""
    head = list(head)
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


TABLES = (shots, motion, borders, overlays, copies, alignment)
