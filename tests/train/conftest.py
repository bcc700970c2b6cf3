"""What tests of training share: recordings of LaVie's reference network, shards made on the spot, and a cascade trained for a few steps."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
import webdataset

from schemas.run import Phase, TrainingRun
from schemas.sample import Sample, encode
from train.loop import train


@pytest.fixture(scope="session")
def recording_of(shared: Path) -> Callable[[str], dict[str, Any]]:
    """A stage's recording: config, state_dict, cases and isolated modules. Skips with a reason where there is none."""

    def load(stage: str) -> dict[str, Any]:
        return torch.load(shared / "lavie" / "parity" / f"{stage}.pt", weights_only=True)

    return load


def picture(clip: int, frame: int, width: int, height: int) -> np.ndarray:
    """A bright square that moves right by a pixel a frame over a ramp; `clip` sets its colour and height."""
    made = np.zeros((height, width, 3), np.uint8)
    made[..., 1] = np.linspace(30, 120, width, dtype=np.uint8)
    top, left = 4 + 3 * clip, 2 + frame
    made[top : top + 10, left : left + 10, clip % 3] = 220
    return made


def mp4(clip: int, frames: int, width: int = 48, height: int = 40) -> bytes:
    """A small H.264 file."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=24)
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        track.options = {"crf": "10", "threads": "1"}
        for frame in range(frames):
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture(clip, frame, width, height), format="rgb24")))
        container.mux(track.encode())
    return stream.getvalue()


def make_shards(folder: Path, clips: range, frames: int = 20, images: int = 0) -> Path:
    """A folder of two shards of videos, and one of images if asked."""
    folder.mkdir(parents=True)
    halves = [list(clips)[::2], list(clips)[1::2]]
    samples = [[Sample(f"clip{clip}", f"a square number {clip} moves right", {"num_frames": frames}, mp4(clip, frames)) for clip in half] for half in halves]
    samples.append([])
    for number in range(images):
        coded = cv2.imencode(".jpg", picture(number, 0, 48, 40))[1].tobytes()
        samples[2].append(Sample(f"still{number}", f"a still square number {number}", {"num_frames": 1}, image=coded))
    for number, part in enumerate(samples):
        if part:
            with webdataset.TarWriter(str(folder / f"shard-{number:06d}.tar"), encoder=False) as writer:
                for sample in part:
                    writer.write(encode(sample))
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of 20 frames, 48x40, and two stills."""
    return make_shards(tmp_path_factory.mktemp("shards") / "training", range(6), images=2)


@pytest.fixture(scope="session")
def held_out_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three other clips."""
    return make_shards(tmp_path_factory.mktemp("shards") / "held-out", range(6, 9))


TINY_PHASES = (
    Phase(task="autoencode", steps=3, batch=2, frames=1, height=16, width=16),
    Phase(task="text_to_video", steps=4, batch=2, frames=4, height=16, width=16, images=1, checkpoint_every=2),
    Phase(task="interpolate", steps=3, batch=2, frames=5, height=16, width=16, prediction="flow", start="plain", checkpoint_every=2),
    Phase(task="upscale", steps=3, batch=2, frames=2, height=32, width=32, prediction="flow", start="plain", noise_level=50, checkpoint_every=2),
)


@pytest.fixture(scope="session")
def tiny_run(shards: Path, held_out_shards: Path) -> TrainingRun:
    """Every phase, for a few steps."""
    return TrainingRun(name="tiny", shards=str(shards), held_out=str(held_out_shards), phases=TINY_PHASES)


@pytest.fixture(scope="session")
def trained(tiny_run: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cascade folder of that run."""
    return train(tiny_run, tmp_path_factory.mktemp("model"))
