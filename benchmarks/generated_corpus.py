"""Footage with known factors: an object of some shape and colour crosses a varied background in a stated direction, fast or slowly.

The yardstick for "does it learn": because every clip is drawn from its factors, a sample can be checked against its caption by measurement, and
combinations can be held out exactly. Written as MP4 files with a rights table, so that clipmill itself curates and packs it.
"""

import csv
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import webdataset

from curate.caption import WriteCaptions, pending
from curate.captioners import captioner_named
from curate.corpus import Corpus, open_corpus
from curate.engine import run_here
from curate.pack import pack
from curate.read import ReadVideos
from curate.select import select
from curate.sources import add_sources
from pipelines.curate import pending_sources
from schemas.clip import CAPTIONS
from schemas.recipe import Duplicates, Encoding, Recipe
from schemas.sample import Sample, encode

RECIPE = Recipe(name="generated", duplicates=Duplicates(keep="all"), encoding=Encoding(height=128, crf=16))
"""Every clip, alike as they are: what differs between them is known."""

SHAPES = ("ball", "box", "cross")
COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 80, 230), "yellow": (235, 215, 50)}
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
SPEEDS = {"slowly": 0.3, "fast": 0.55}  # share of the frame crossed in the clip
SIZE, FPS = 128, 24


@dataclass(frozen=True)
class Factors:
    """What one clip shows. `index` varies what the caption does not say: background, path, size."""

    shape: str
    colour: str
    direction: str
    speed: str
    index: int

    @property
    def caption(self) -> str:
        return f"a {self.colour} {self.shape} moves {self.speed} {self.direction}"

    @property
    def name(self) -> str:
        return f"{self.colour}-{self.shape}-{self.direction}-{self.speed}-{self.index:03d}"


def held_out(factors: Factors) -> bool:
    """Whether a combination of factors is kept from training: one in eight, each value of each factor still seen with many others."""
    shape, colour = SHAPES.index(factors.shape), list(COLOURS).index(factors.colour)
    direction, speed = list(DIRECTIONS).index(factors.direction), list(SPEEDS).index(factors.speed)
    return (shape + 3 * colour + 5 * direction + 4 * speed) % 8 == 0


def combinations(copies: int) -> Iterator[Factors]:
    """Every combination of factors, `copies` times with different backgrounds and paths."""
    for index in range(copies):
        for shape, colour, direction, speed in itertools.product(SHAPES, COLOURS, DIRECTIONS, SPEEDS):
            yield Factors(shape, colour, direction, speed, index)


def render(factors: Factors, frames: int, size: int = SIZE) -> np.ndarray:
    """The clip, uint8 (frames, size, size, 3). The path begins at the centre of the frame, give or take a twentieth."""
    draw = np.random.default_rng([factors.index, *factors.name.encode()])
    across, down = np.meshgrid(np.linspace(-0.5, 0.5, size), np.linspace(-0.5, 0.5, size))
    background = _background(draw, across, down)
    centre, radius = draw.uniform(-0.05, 0.05, 2), draw.uniform(0.17, 0.22)
    step = np.array(DIRECTIONS[factors.direction]) * SPEEDS[factors.speed]
    edge = 1.0 / size
    clip = np.empty((frames, size, size, 3), np.uint8)
    for number in range(frames):
        x, y = centre + step * number / max(1, frames - 1)
        distance = _distance(factors.shape, across - x, down - y, radius)
        cover = np.clip(0.5 - distance / edge, 0, 1)[..., None]
        clip[number] = np.round(background * (1 - cover) + np.array(COLOURS[factors.colour]) * cover)
    return clip


def _background(draw: np.random.Generator, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """A still, muted ramp with a few waves: float (size, size, 3)."""
    base, ramp = draw.uniform(60, 190), draw.uniform(-40, 40, 2)
    tint = draw.uniform(-18, 18, 3)
    angles = draw.uniform(0, np.pi, 3)
    waves = [draw.uniform(4, 12) * np.sin(draw.uniform(5, 16) * (across * np.cos(angle) + down * np.sin(angle)) + draw.uniform(0, 6)) for angle in angles]
    return np.clip(base + ramp[0] * across + ramp[1] * down + sum(waves), 0, 255)[..., None] + tint


def _distance(shape: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance to the shape's edge, negative inside."""
    if shape == "ball":
        return np.hypot(x, y) - radius
    if shape == "box":
        return np.maximum(np.abs(x), np.abs(y)) - 0.85 * radius
    arm = 0.35 * radius
    return np.minimum(np.maximum(np.abs(x) - arm, np.abs(y) - 1.1 * radius), np.maximum(np.abs(x) - 1.1 * radius, np.abs(y) - arm))


def encode_mp4(clip: np.ndarray, path: Path | str, fps: int = FPS) -> None:
    """Write frames as H.264, near-lossless: compression is not what this footage is about."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = clip.shape[1], clip.shape[2], "yuv420p"
        stream.options = {"crf": "12", "preset": "veryfast", "threads": "1"}
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_footage(folder: Path, copies: int, frames: int = 24, unseen: bool = False) -> int:
    """Write the seen (or the unseen) combinations and their rights table with captions as titles; returns how many clips there are."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [factors for factors in combinations(copies) if held_out(factors) == unseen]
    for factors in chosen:
        encode_mp4(render(factors, frames), folder / f"{factors.name}.mp4")
    with (folder / "rights.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "license", "holder", "uses", "title"])
        writer.writerows([f"{factors.name}.mp4", "CC0-1.0", "clipmill", "train;redistribute;commercial", factors.caption] for factors in chosen)
    return len(chosen)


def write_shards(folder: Path, chosen: list[Factors], frames: int = 24, size: int = SIZE) -> None:
    """Clips straight into one WebDataset shard, where what matters is the trainer and not the curation."""
    folder.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(folder / "shard-000000.tar"), encoder=False) as writer, tempfile.TemporaryDirectory() as scratch:
        for factors in chosen:
            path = Path(scratch) / "clip.mp4"
            encode_mp4(render(factors, frames, size), path)
            writer.write(encode(Sample(factors.name, factors.caption, {"num_frames": frames, "width": size, "height": size}, path.read_bytes())))


def curated(footage: Path, corpus_url: Path) -> Corpus:
    """Footage added, read and captioned by its titles; nothing is scored, since what its clips show is known."""
    corpus = open_corpus(str(corpus_url), create=True)
    add_sources(corpus, [str(footage)], str(footage / "rights.csv"), None)
    for _ in run_here(pending_sources(corpus), [ReadVideos(corpus.url)]):
        pass
    titles = captioner_named("metadata")
    for number, made in enumerate(run_here(pending(corpus, titles), [WriteCaptions(corpus.url, titles)])):
        corpus.append("captions", made.select(CAPTIONS.names), f"titles-{number}")
    return corpus


def packed(footage: Path, corpus_url: Path) -> Path:
    """Footage curated, selected and packed; returns the folder of shards."""
    corpus = curated(footage, corpus_url)
    select(corpus, RECIPE)
    return Path(pack(corpus, RECIPE, run=run_here).folder)
