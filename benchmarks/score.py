"""How fast clips are scored: proxies per second of each part and of the whole profile, against decoding and against each network's own forward pass.

    python -m benchmarks.score [--profile embedded|laion] [--clips 48] [--clip-size full|small] [--out benchmarks/results/score-cpu.md]

`laion` runs on weights drawn at random, at full size unless told otherwise: speed does not depend on what a network has learned.
Without a GPU, seconds are those the process spent on a core, so that other work on the machine does not count.
"""

import argparse
import datetime
import functools
import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from benchmarks.own_forwards import OwnForwards
from curate import models
from curate.embedding.compute import device_name
from curate.embedding.features import FEATURES
from curate.observers.overlay_maps import pictures as pictures_of
from curate.observers.overlay_maps import planes_from
from curate.scorers import PROFILES
from curate.scorers.base import ClipBatch, Picture
from schemas.clip import CLIPS

PICTURES_A_CLIP, CLIPS_A_BATCH = 4, 16


@dataclass(frozen=True)
class Timed:
    """A part, the proxies it gets through in a second, and what else there is to say."""

    part: str
    proxies_per_s: float
    told: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=list(PROFILES), default="embedded")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--clip-size", choices=("full", "small"), default="full")
    parser.add_argument("--out")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.profile == "laion":
            draw_weights(Path(folder), given.clip_size)
        rows = measured(given.profile, folder, given.clips)
    table = as_table(given.profile, rows)
    print(table)
    if given.out:
        Path(given.out).parent.mkdir(parents=True, exist_ok=True)
        Path(given.out).write_text(table)


def measured(profile: str, models_dir: str, clips: int) -> list[Timed]:
    """Every part over the same clips, batch by batch, after one batch of warming up; picture networks alone in between, on what was prepared before."""
    scorers = [cls(models_dir) for cls in PROFILES[profile]]
    wanted = {need for scorer in scorers for need in scorer.needs}
    features = [cls(models_dir) for cls in FEATURES if cls.name in wanted]
    for part in (*features, *scorers):
        part.setup()
    meter = Meter(OwnForwards((*features, *scorers), clock))
    alone: dict[str, float] = {}
    jpegs = [drawn(seed) for seed in range(clips * PICTURES_A_CLIP)]
    for start in range(-CLIPS_A_BATCH, clips, CLIPS_A_BATCH):
        batch = batch_of(jpegs, max(0, start))
        if start == 0:
            meter.spent, meter.own, alone = {}, {}, {}
        meter.run("decoding JPEG", lambda batch=batch: [batch.frames(index) for index in range(len(batch))])
        made: dict[str, Any] = {}
        for feature in features:
            made[feature.name] = meter.run(f"feature {feature.name}", lambda feature=feature, batch=batch: feature.compute(batch))
            if "proxies" in feature.needs:
                prepare, forward = feature.steps()
                prepared = np.stack([prepare(pixels) for index in range(len(batch)) for pixels in batch.frames(index)])
                began = clock()
                forward(prepared)
                alone[feature.name] = alone.get(feature.name, 0.0) + clock() - began
        ready = ClipBatch(batch.clips, batch.pictures, batch.edges, made)
        for scorer in scorers:
            meter.run(f"scorer {scorer.name}", lambda scorer=scorer, ready=ready: scorer.score(ready))
    proxies = len(range(0, clips, CLIPS_A_BATCH)) * CLIPS_A_BATCH * PICTURES_A_CLIP
    forwards = [
        Timed(f"forward pass of {name}", proxies / seconds, f"the feature reaches {seconds / meter.spent[f'feature {name}']:.0%} of it")
        for name, seconds in alone.items()
    ]
    return [*meter.rows(proxies, profile), *forwards]


class Meter:
    """The seconds that parts take, and how many of them their networks' own forward passes."""

    def __init__(self, forwards: OwnForwards) -> None:
        self.spent: dict[str, float] = {}
        self.own: dict[str, float] = {}
        self._forwards = forwards

    def run(self, part: str, work: Callable[[], Any]) -> Any:
        """What the work returns, its time added to the part's."""
        self._forwards.seconds, began = 0.0, clock()
        made = work()
        self.spent[part] = self.spent.get(part, 0.0) + clock() - began
        self.own[part] = self.own.get(part, 0.0) + self._forwards.seconds
        return made

    def rows(self, proxies: int, profile: str) -> list[Timed]:
        """One per part, and the whole."""
        spent, own = sum(self.spent.values()), sum(self.own.values())
        rows = [Timed(part, proxies / seconds, self._share(self.own[part], seconds)) for part, seconds in self.spent.items()]
        return [*rows, Timed(f"profile {profile}", proxies / spent, self._share(own, spent))]

    @staticmethod
    def _share(own: float, spent: float) -> str:
        return f"{own / spent:.1%} of its time is its networks' own forward passes" if own else ""


def clock() -> float:
    """Seconds of the clock on the wall where a GPU does the work, else of the process on any core."""
    return time.perf_counter() if device_name() == "cuda" else time.process_time()


def batch_of(jpegs: list[bytes], start: int) -> ClipBatch:
    """Clips with a caption and with every number that scorers read."""
    count = CLIPS_A_BATCH
    pictures = [tuple(Picture(image) for image in jpegs[(start + at) * PICTURES_A_CLIP : (start + at + 1) * PICTURES_A_CLIP]) for at in range(count)]
    pictures = [clip or tuple(Picture(image) for image in jpegs[:PICTURES_A_CLIP]) for clip in pictures]
    maps = [Picture(image) for image in drawn_maps()]
    boxes = pa.array([[0.8, 0.1, 0.9, 0.2]] * count, CLIPS.field("overlay_box").type)
    told = {"overlay_evidence": [0.2] * count, "overlay_box": boxes, "caption": ["a boat leaves the harbour at dawn"] * count}
    return ClipBatch(pa.table({"clip_id": [f"clip{at}" for at in range(count)], **told}), pictures, [maps] * count)


def drawn(seed: int, height: int = 288, width: int = 512) -> bytes:
    """A proxy as reading stores it: 512 wide, quality 82; soft grounds, shapes, grain, and a line of text on every fourth."""
    random = np.random.default_rng(seed)
    picture = cv2.resize(random.integers(20, 230, (5, 9, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        at, colour = (int(random.integers(0, width)), int(random.integers(0, height))), [int(part) for part in random.integers(0, 255, 3)]
        cv2.circle(picture, at, int(random.integers(5, 60)), colour, -1, cv2.LINE_AA)
    if seed % 4 == 0:
        cv2.putText(picture, "Where did you put the keys?", (90, 260), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2, cv2.LINE_AA)
    picture = np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()


@functools.cache
def drawn_maps() -> list[bytes]:
    """The edge maps of one window, as reading stores them."""
    luma = [cv2.resize(cv2.imdecode(np.frombuffer(drawn(seed), np.uint8), cv2.IMREAD_GRAYSCALE), (640, 360)) for seed in range(16)]
    return [cv2.imencode(".png", each[:, :, ::-1])[1].tobytes() for each in pictures_of(planes_from(np.stack(luma)))]


def draw_weights(folder: Path, size: str) -> None:
    """CLIP ViT-L/14 and LAION's head at random, where the registry finds them."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    small = {"num_hidden_layers": 2} if size == "small" else {}
    text = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, projection_dim=768, **small)
    wide = {"num_hidden_layers": 24, **small}
    vision = CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, patch_size=14, image_size=224, projection_dim=768, **wide)
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=768)).save_pretrained(folder / "clip-vit-l-14")
    (folder / "laion-aesthetic-v2").mkdir()
    head = torch.nn.Linear(768, 1)
    torch.save(dict(head.state_dict()), folder / "laion-aesthetic-v2" / "sac+logos+ava1-l14-linearMSE.pth")
    models.MODELS = tuple(_as_drawn(each, folder) for each in models.MODELS)


def _as_drawn(model: Any, folder: Path) -> Any:
    paths = [folder / model.name / file.name for file in model.files]
    if not paths[0].is_file():
        return model
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return replace(model, files=tuple(replace(file, sha256=digest) for file, digest in zip(model.files, digests, strict=True)))


def as_table(profile: str, rows: list[Timed]) -> str:
    """Markdown."""
    lines = [
        f"# Scoring speed, profile `{profile}`",
        "",
        f"{machine()}. Proxies of 512x288, {PICTURES_A_CLIP} a clip, one worker, "
        + ("seconds on the wall." if device_name() == "cuda" else "seconds of a core, however many other programs ran."),
        "",
    ]
    lines += ["| part | proxies per second | |", "|---|---|---|", *(f"| {row.part} | {row.proxies_per_s:.1f} | {row.told} |" for row in rows)]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """What it ran on, and with which versions."""
    import onnxruntime
    import torch

    versions = f"Python {platform.python_version()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    return f"{datetime.date.today()}, {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f}), on {device_name()}, {versions}"


if __name__ == "__main__":
    main()
