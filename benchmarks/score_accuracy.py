"""How right scorers are, on footage with truth: captions ranked, text found, quality falling as pictures are spoilt, labels claimed.

    python -m benchmarks.score_accuracy --media ../shared/media --folder FOLDER [--split open] [--out benchmarks/results/score_accuracy.md]

Reads the footage into a corpus in FOLDER once; running again goes on from there.
"""

import argparse
import hashlib
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from curate.corpus import Corpus, open_corpus
from curate.embedding.features import CaptionEmbedding, EfficientNet
from curate.engine import run_here
from curate.read import ReadVideos, Splitter
from curate.score import batch_of, score_corpus
from curate.scorers.alignment import ConseAlignment
from curate.scorers.base import ClipBatch
from curate.scorers.technical import Ranker, features, weights
from curate.sources import add_sources

SPOILT: dict[str, tuple[float, ...]] = {
    "blur": (0, 0.8, 1.5, 2.5, 4, 6),
    "noise": (0, 6, 12, 20, 32, 48),
    "JPEG": (101, 60, 40, 25, 15, 8),
    "darkening": (1, 0.75, 0.55, 0.4, 0.25, 0.15),
    "upscaling": (1, 1.5, 2, 3, 4, 6),
}
"""Radius in 640ths of the width, grey levels, JPEG quality, gain, factor; the first step of each changes nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--split", default="open")
    parser.add_argument("--detector", default="cascade", help="how shots are found; a plain one reads faster, and no figure here is about shots")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    truth = {name: json.loads((given.media / "truth" / f"{name}.json").read_text()) for name in ("alignment", "overlay")}
    corpus, name_of = corpus_of(given.media, given.folder, truth, given.detector)
    parts = [aligned(corpus, name_of, truth["alignment"], given.split), texts(corpus, name_of, truth["overlay"], given.split), spoiling(given.media)]
    table = "\n".join(["# Scorers against truth, profile `embedded`", "", *(line for part in parts for line in (*part, ""))])
    print(table)
    if given.out:
        given.out.write_text(table)


def corpus_of(media: Path, folder: str, truth: dict[str, Any], detector: str) -> tuple[Corpus, dict[str, str]]:
    """A corpus of every file that the truth speaks of, read and scored; and the file of each source."""
    corpus = open_corpus(folder, create=True)
    asked = (*truth["overlay"]["videos"], *truth["alignment"]["videos"], *truth["overlay"]["natural"])
    files = list(dict.fromkeys(video["file"] for video in asked))
    name_of = {f"s{hashlib.sha256((media / file).read_bytes()).hexdigest()[:20]}": file for file in files}
    add_sources(corpus, [str(media / file) for file in files], None, None)
    read = corpus.committed("readings")
    rows = [{"source_id": source, "uri": str(media / file), "media_type": "video"} for source, file in name_of.items() if source not in read]
    for number, _ in enumerate(run_here(pa.Table.from_pylist(rows), [ReadVideos(corpus.url, Splitter(detector))]) if rows else ()):
        print(f"read {number + 1}", flush=True)
    print(score_corpus(corpus, "embedded", run_here, only=["watermark", "text"]).summary(), flush=True)
    return corpus, name_of


def aligned(corpus: Corpus, name_of: dict[str, str], truth: dict[str, Any], split: str) -> list[str]:
    """Whether the matching caption ranks above each mismatch, by the mean over a video's clips."""
    parts = [EfficientNet(), CaptionEmbedding(), ConseAlignment()]
    for part in parts:
        part.setup()
    clips = corpus.table("clips", columns=["clip_id", "source_id"]).to_pylist()
    source_of = {file: source for source, file in name_of.items()}
    right: dict[str, list[bool]] = {"far": [], "near": []}
    for video in truth["videos"]:
        ids = [clip["clip_id"] for clip in clips if clip["source_id"] == source_of[video["file"]]]
        if video["split"] == split and ids:
            seen = batch_of(corpus, pa.table({"clip_id": ids}), {"frame"})
            seen = ClipBatch(seen.clips, seen.pictures, features={"efficientnet": parts[0].compute(seen)})
            match = conse(seen, video["match"], *parts[1:])
            right["far"] += [match > conse(seen, wrong, *parts[1:]) for wrong in video["far_mismatch"]]
            right["near"] += [match > conse(seen, video["near_mismatch"], *parts[1:])] if video["near_mismatch"] else []
    lines = [f"- {kind} mismatches ranked below the match: {shared(values)}" for kind, values in right.items()]
    return ["## Alignment (`conse`), per video", "", *lines]


def conse(seen: ClipBatch, caption: str, sentences: CaptionEmbedding, scorer: ConseAlignment) -> float:
    """Mean alignment of a caption over clips."""
    clips = pa.table({"clip_id": seen.clips["clip_id"], "caption": [caption] * len(seen)})
    batch = ClipBatch(clips, seen.pictures)
    found = {**seen.features, "caption_embedding": sentences.compute(batch)}
    values = scorer.score(ClipBatch(clips, seen.pictures, features=found))["alignment"].drop_null().to_pylist()
    return float(np.mean(values))


def texts(corpus: Corpus, name_of: dict[str, str], truth: dict[str, Any], split: str) -> list[str]:
    """Text laid over the picture: how much is found at 5 % of clean files, and what kind it is said to be."""
    area: dict[str, float] = {}
    kinds: dict[str, list[str]] = {}
    for row in corpus.table("clips", columns=["source_id", "text_area", "text_kind"]).to_pylist():
        file = name_of[row["source_id"]]
        area[file] = max(area.get(file, 0.0), row["text_area"] or 0.0)
        kinds.setdefault(file, []).append(row["text_kind"])
    videos = [video for video in truth["videos"] if video["split"] == split]
    clean = [area[video["file"]] for video in videos if not video["overlay_text"] and not video["watermark"]]
    natural = [area[video["file"]] for video in truth["natural"] if video.get("split") == split and plain(video) and video["file"] in area]
    bar = float(np.quantile(clean, 0.95))
    lines = []
    for variant in ("txt_subtitles", "txt_title_banner"):
        of = [video["file"] for video in videos if video["variant"] == variant]
        told = sorted((kind for file in of for kind in kinds[file]), key=str)
        lines.append(
            f"- {variant}: found {shared([area[file] > bar for file in of])}; called {', '.join(f'{kind} {told.count(kind)}' for kind in dict.fromkeys(told))}"
        )
    composed, untouched = (shared([value > 0 for value in values]) for values in (clean, natural))
    lines.append(f"- clean composed files with text laid over: {composed}; natural files without: {untouched}")
    return ["## Text (`text`), per file", "", *lines]


def plain(video: dict[str, Any]) -> bool:
    """Whether a natural file has neither text nor mark laid over it."""
    return not (video.get("watermark") or video.get("overlay_text") or video.get("text"))


def spoiling(media: Path) -> list[str]:
    """The share of steps at which `technical` falls, of one frame of each file: spoilt at full size and stored, and spoilt as a proxy."""
    ranker = Ranker.load(weights("technical-ranker")[0])
    frames = [frame for path in sorted((media / "raw").iterdir()) if (frame := first_frame(path)) is not None]
    falls: dict[tuple[str, str], list[bool]] = {}
    for number, frame in enumerate(frames):
        for where, base in (("full size", frame), ("proxy", stored(frame))):
            for kind, steps in SPOILT.items():
                grain = np.random.default_rng(number).standard_normal(base.shape)
                figures = [round(ranker(features(stored(spoilt(base, kind, step, grain)))), 4) for step in steps]
                falls.setdefault((where, kind), []).extend(after < before for before, after in itertools.pairwise(figures))
    rows = [f"| {where} | {kind} | {shared(values)} |" for (where, kind), values in falls.items()]
    every = shared([fall for values in falls.values() for fall in values])
    return [
        f"## Technical quality (`technical`), {len(frames)} frames",
        "",
        "| spoilt at | how | steps that fall |",
        "|---|---|---|",
        *rows,
        f"| both | all | {every} |",
    ]


def first_frame(path: Path) -> np.ndarray | None:
    """The 25th frame of a file, or its last before, RGB and at most 1280 wide; None where nothing is seen."""
    reader, frame = cv2.VideoCapture(str(path)), None
    for _ in range(25):
        ok, read = reader.read()
        frame = read if ok else frame
    if frame is None or min(frame.shape[:2]) < 100 or frame.std() < 12:
        return None
    scale = min(1.0, 1280 / max(frame.shape[:2]))
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    return np.ascontiguousarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)[:, :, ::-1])


def spoilt(picture: np.ndarray, kind: str, step: float, grain: np.ndarray) -> np.ndarray:
    """One step of one kind of damage."""
    height, width = picture.shape[:2]
    unit = max(height, width) / 640
    if kind == "blur" and step:
        return cv2.GaussianBlur(picture, (0, 0), step * unit)
    if kind == "noise":
        return np.clip(picture + grain * step, 0, 255).astype(np.uint8)
    if kind == "JPEG" and step < 101:
        return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(step)])[1], cv2.IMREAD_COLOR)
    if kind == "darkening":
        return (picture * step).astype(np.uint8)
    if kind == "upscaling" and step > 1:
        small = cv2.resize(picture, (max(8, int(width / step / max(1, unit))), max(8, int(height / step / max(1, unit)))), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return picture


def stored(picture: np.ndarray) -> np.ndarray:
    """The picture as a proxy: at most 512 wide, JPEG of quality 82."""
    scale = min(1.0, 512 / max(picture.shape[:2]))
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 82])[1], cv2.IMREAD_COLOR)


def shared(values: Iterable[bool]) -> str:
    """A share with its 95 % Wilson interval."""
    found = list(values)
    count, share, z = len(found), float(np.mean(found)) if found else 0.0, 1.96
    if not count:
        return "none"
    middle, reach = (share + z**2 / (2 * count)) / (1 + z**2 / count), z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return f"{share:.3f} ({sum(found)} of {count}; {max(0.0, middle - reach):.3f} to {min(1.0, middle + reach):.3f})"


if __name__ == "__main__":
    main()
