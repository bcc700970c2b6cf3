"""Footage for the ablation benchmark: real files cut into short spans and crops until there are a few hundred clips."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.generated_corpus import encode_mp4
from curate.caption import caption_corpus
from curate.captioners import captioner_named
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import deduplicate
from curate.engine import run_here
from curate.read import ReadVideos
from curate.score import score_corpus
from curate.sources import add_sources
from pipelines.curate import pending_sources

SIDE, FRAMES = 128, 24
CROPS = ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.6, 0.6), (0.4, 0.4, 1.0, 1.0), (0.4, 0.0, 1.0, 0.6), (0.0, 0.4, 0.6, 1.0))
"""Left, top, right and bottom as shares of the frame."""


def cut_up(films: Sequence[Path], folder: Path, clips: int) -> int:
    """Write about `clips` files of one second, spread over all films, spans and crops, and a rights table; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for name, frames in _in_turn([_spans(film) for film in films]):
        if len(names) >= clips:
            break
        encode_mp4(frames, folder / name)
        names.append(name)
    with (folder / "rights.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "license", "rights_holder", "uses"])
        writer.writerows([name, "benchmark-only", "as the originals", "train"] for name in names)
    return len(names)


def _in_turn(flows: list[Iterator[tuple[str, np.ndarray]]]) -> Iterator[tuple[str, np.ndarray]]:
    """One from each flow, again and again, until all are dry."""
    while flows:
        for flow in list(flows):
            made = next(flow, None)
            if made is None:
                flows.remove(flow)
            else:
                yield made


def _spans(film: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Another crop of every second of a film, uint8 (FRAMES, SIDE, SIDE, 3); what does not decode ends it."""
    try:
        with av.open(str(film)) as container:
            held: list[np.ndarray] = []
            for number, frame in enumerate(container.decode(video=0)):
                held.append(_cropped(frame.to_ndarray(format="rgb24"), CROPS[number // FRAMES % len(CROPS)]))
                if len(held) == FRAMES:
                    yield f"{film.stem}-{number // FRAMES:03d}.mp4", np.stack(held)
                    held = []
    except (av.FFmpegError, IndexError):
        return


def _cropped(frame: np.ndarray, crop: tuple[float, float, float, float]) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3): cropped at once, since all films are open together and large frames would fill the memory."""
    height, width, _ = frame.shape
    left, top, right, bottom = (round(share * size) for share, size in zip(crop, (width, height, width, height)))
    return cv2.resize(frame[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def described(footage: Path, corpus_url: Path) -> Corpus:
    """Footage added, read, labelled, captioned from that, and compared for copies; no other score is asked for."""
    corpus = open_corpus(str(corpus_url), create=True)
    add_sources(corpus, [str(footage)], str(footage / "rights.csv"), None)
    for _ in run_here(pending_sources(corpus), [ReadVideos(corpus.url)]):
        pass
    score_corpus(corpus, "embedded", run_here, only="labels")
    caption_corpus(corpus, [captioner_named("describe")], "embedded", run_here)
    deduplicate(corpus)
    return corpus
