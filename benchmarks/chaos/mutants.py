"""Mutants: media with bytes changed, lost and repeated; each must be in the table of sources, and read or told why not."""

import argparse
import random
import time
from pathlib import Path

import ffmpeg
import imageio_ffmpeg

from benchmarks.chaos.chain import SPLITTER
from curate.corpus import open_corpus
from curate.engine import run_here
from curate.read import ReadVideos
from curate.sources import add_sources
from curate.verify import verify
from pipelines.curate import pending_sources

CONTAINERS = {"mp4": "libx264", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4", "ts": "mpeg2video", "ogv": "libtheora"}


def mutants(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Add and read mutants of a film in several containers; what is missing, unread or unexplained."""
    rng, originals = random.Random(arguments.seed), [film(folder / f"film.{suffix}", codec) for suffix, codec in CONTAINERS.items()]
    (folder / "mutants").mkdir()
    for number in range(arguments.files):
        original = originals[number % len(originals)]
        (folder / "mutants" / f"mutant{number:05d}{original.suffix}").write_bytes(mutated(original.read_bytes(), rng))
    corpus = open_corpus(str(folder / "corpus"), create=True)
    report, began = add_sources(corpus, [str(folder / "mutants")]), time.monotonic()
    slowest_s = 0.0
    since = began
    for _ in run_here(pending_sources(corpus), [ReadVideos(corpus.url, SPLITTER)]):
        slowest_s, since = max(slowest_s, time.monotonic() - since), time.monotonic()
    sources = corpus.table("sources").to_pylist()
    listed = sum(len(row["locations"]) for row in sources)
    untold = [row["uri"] for row in sources if row["status"] == "failed" and not row["reason"]]
    left = pending_sources(corpus).num_rows
    read = sum(row["status"] == "ok" for row in sources)
    print(f"{report.files} files, {listed} listed, {read} sources read, {time.monotonic() - began:.0f} s, at most {slowest_s:.1f} s between two")
    problems = [f"{arguments.files - listed} files are not listed"] if listed != arguments.files else []
    problems += [f"{len(untold)} failed without a reason"] if untold else []
    problems += [f"{left} were never read"] if left else []
    return problems + list(verify(corpus).problems)


def film(path: Path, codec: str) -> Path:
    """Two seconds of a moving pattern and of another one, with sound."""
    first = ffmpeg.input("testsrc2=size=96x54:rate=12:duration=1.5", f="lavfi")
    second = ffmpeg.input("mandelbrot=size=96x54:rate=12", f="lavfi", t=1.5)
    made = ffmpeg.concat(first, second).output(str(path), pix_fmt="yuv420p", vcodec=codec)
    made.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    return path


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same file with something wrong with it."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 30, 300))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    kind = rng.randrange(5)
    if kind == 0:
        del changed[rng.randrange(len(changed)) :]
    elif kind == 1:
        start = rng.randrange(len(changed))
        del changed[start : start + rng.randrange(2000)]
    elif kind == 2:
        start = rng.randrange(len(changed))
        changed[start:start] = changed[start : start + 3000]
    return bytes(changed)
