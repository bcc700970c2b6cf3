"""Pictures of how a phase is doing: what its network makes now, beside what it was shown and the truth."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from schemas.run import TrainingRun
from train.cascade import Cascade, to_clip, to_frames
from train.conditions import blend_keys, resize_clip
from train.data import ClipReader
from train.tasks import Task

ROWS, COLUMNS = 3, 8
STEPS, GUIDANCE = 12, 3.0


def write_grid(path: Path, run: TrainingRun, task: Task, network: Any, reader: ClipReader) -> None:
    """Write a PNG with a band for each of the first few clips: for the base the truth and a sample for its caption; for the later
    stages the truth, the plain answer and theirs."""
    parts = {task.component: network, "autoencoder": task.encoders.latents.autoencoder}
    cascade = Cascade(**({"autoencoder": network} if task.stage is None else parts), run=run.model_dump(mode="json"))
    bands = []
    for number, entry in enumerate(reader.clips[:ROWS]):
        tensor, caption, _ = reader.clip(entry, None)
        true = tensor.permute(0, 2, 3, 1).numpy()
        bands += [_strip(clip) for clip in (true, *_made(cascade, task, true, caption, number))]
    grid = np.concatenate(bands)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    cv2.imwrite(str(partial), cv2.cvtColor(grid, cv2.COLOR_RGB2BGR))
    partial.replace(path)


def _made(cascade: Cascade, task: Task, true: np.ndarray, caption: str, seed: int) -> list[np.ndarray]:
    phase = task.phase
    if task.component == "base":
        return [cascade(caption, seed=seed, steps=STEPS, guidance=GUIDANCE, upto="base")]
    if task.component == "interpolation":
        keys = true[:: phase.scale]
        return [to_frames(blend_keys(to_clip(keys), phase.scale)), cascade.interpolate(keys, caption, seed)]
    if task.component == "vsr":
        small = to_frames(resize_clip(to_clip(true), phase.height // phase.scale, phase.width // phase.scale))
        return [to_frames(resize_clip(to_clip(small), phase.height, phase.width)), cascade.upscale(small, caption, seed)]
    return [to_frames(cascade.latents.decode(cascade.latents.encode(to_clip(true))))]


def _strip(clip: np.ndarray) -> np.ndarray:
    """Up to eight frames, evenly spread, side by side: (H, 8·W, 3); a shorter clip is followed by black."""
    chosen = clip[np.linspace(0, len(clip) - 1, min(COLUMNS, len(clip))).round().astype(int)]
    black = np.zeros((COLUMNS - len(chosen), *clip.shape[1:]), np.uint8)
    return np.concatenate([*chosen, *black], axis=1)
