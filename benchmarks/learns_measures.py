"""What a trained stage is asked on combinations it never saw: does it follow its caption, and is it nearer to the truth than the plain answer?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.generated_corpus import COLOURS, DIRECTIONS, Factors, combinations, held_out
from train.cascade import Cascade, open_cascade
from train.clips import to_clip, to_frames
from train.conditions import blend_keys, noise_low_resolution, resize_clip
from train.data import ClipReader, held_out_batches
from train.draws import generator, held_out_draws
from train.metrics import held_out_losses, open_task
from train.quality import psnr
from train.shards import Shards

LEVELS = (500, 700, 800, 900, 950)
MOTION_LEVELS = (850, 950)
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
SAMPLES_EACH, STEPS, GUIDANCE = 2, 10, 3.0
CLIPS = 24
LOW_RESOLUTION_LEVELS = {"clean": 0, "noisy": 50, "heavy": 200}


@dataclass(frozen=True)
class Measured:
    """What came of one arm under one seed: `values` by measure, and the CPU seconds of training and of measuring."""

    stage: str
    arm: str
    seed: int
    cpu_s: float
    measuring_cpu_s: float
    values: dict[str, float]


def measure(stage: str, cascade: Path, held: Path, seed: int) -> dict[str, float]:
    """Every measure of a stage; the same names whatever the arm."""
    measures = {"base": measure_base, "interpolation": measure_interpolation, "vsr": measure_upscaling}
    return measures[stage](cascade, held, seed)


def measure_base(cascade: Path, held: Path, seed: int) -> dict[str, float]:
    """Held-out loss, what the right caption takes from it, and whether samples show the colour and the motion that they were asked for."""
    table = held_out_losses(cascade, str(held), "text_to_video", 0, LEVELS)
    loss, wrong = (np.asarray(table[name].to_pylist(), dtype=float) for name in ("loss", "loss_wrong_caption"))
    opened = open_cascade(cascade)
    followed = [follows(opened, factors, 100 * seed + turn) for factors in unseen_factors() for turn in range(SAMPLES_EACH)]
    shares = {f"samples of the right {name}": float(np.mean([one[name] for one in followed])) for name in ("colour", "direction")}
    motion = float(np.mean([one["motion"] for one in followed]))
    gains = {"gain of the right caption": float((wrong - loss).mean()), **directions_told(cascade, held)}
    return {"held-out loss": float(loss.mean()), **gains, **shares, "motion the right way, frame widths": motion}


@torch.no_grad()
def directions_told(cascade: Path, held: Path) -> dict[str, float]:
    """What the direction in the caption does to the loss, all else in it kept: how much more it is when turned round, and how often the
    right one of four has the least."""
    task, network, reader = open_task(cascade, str(held), "text_to_video")
    gains, right = [], []
    for batch in held_out_batches(reader, 4):
        true = [caption.rstrip(".").split()[-1] for caption in batch.captions]
        losses = {direction: torch.zeros(len(true)) for direction in DIRECTIONS}
        for level in MOTION_LEVELS:
            for direction in DIRECTIONS:
                shown = batch.with_captions([" ".join([*caption.split()[:-1], direction]) for caption in batch.captions])
                losses[direction] += task.losses(network, shown, held_out_draws(0, batch.keys, level)) / len(MOTION_LEVELS)
        for number, direction in enumerate(true):
            told = {name: float(loss[number]) for name, loss in losses.items()}
            gains.append(told[OPPOSITE[direction]] - told[direction])
            right.append(min(told, key=told.__getitem__) == direction)
    return {"gain of the right direction": float(np.mean(gains)), "right direction of four has the least loss": float(np.mean(right))}


def unseen_factors() -> list[Factors]:
    """The combinations kept from training."""
    return [factors for factors in combinations(1) if held_out(factors)]


def follows(cascade: Cascade, factors: Factors, seed: int) -> dict[str, float]:
    """Whether a sample for a caption shows its colour, moves in its direction (of four), and how far it moves that way, in frame widths."""
    frames = cascade(factors.caption, seed=seed, steps=STEPS, guidance=GUIDANCE, upto="base")
    paths = {colour: object_path(frames, value) for colour, value in COLOURS.items()}
    seen = max(paths, key=lambda colour: paths[colour][1])
    path = paths[seen][0]
    moved = path[-2:].mean(axis=0) - path[:2].mean(axis=0)
    towards = max(DIRECTIONS, key=lambda direction: float(moved @ np.array(DIRECTIONS[direction])))
    distance = float(moved @ np.array(DIRECTIONS[factors.direction]))
    return {"colour": float(seen == factors.colour), "direction": float(towards == factors.direction), "motion": distance}


def object_path(frames: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, float]:
    """Where pixels of a colour are, frame by frame (F, 2) as x, y from the centre in shares of the frame; and how much of it there is."""
    distance = np.linalg.norm(frames.astype(float) - np.array(colour), axis=-1)
    weight = np.exp(-((distance / 60) ** 2))
    height, width = weight.shape[1:]
    total = weight.sum(axis=(1, 2)) + 1e-9
    x = (weight * np.linspace(-0.5, 0.5, width)).sum(axis=(1, 2)) / total
    y = (weight * np.linspace(-0.5, 0.5, height)[:, None]).sum(axis=(1, 2)) / total
    return np.stack([x, y], axis=1), float(weight.mean())


def real_clips(cascade: Cascade, held: Path, task: str, most: int = CLIPS) -> list[tuple[np.ndarray, str]]:
    """Held-out clips in a phase's shape, uint8 (F, H, W, 3), with their captions."""
    phase = next(phase for phase in cascade.training_run.phases if phase.task == task)
    reader = ClipReader(Shards(str(held)), phase)
    shown = [reader.clip(entry, None)[:2] for entry in reader.clips[:most]]
    return [(pictures.permute(0, 2, 3, 1).numpy(), caption) for pictures, caption in shown]


def measure_interpolation(cascade: Path, held: Path, seed: int) -> dict[str, float]:
    """The frames between key frames against the real ones, and against blending."""
    opened, scale = open_cascade(cascade), 4
    rows = []
    for number, (frames, caption) in enumerate(real_clips(opened, held, "interpolate")):
        keys, between = frames[::scale], np.arange(len(frames)) % scale != 0
        made, plain = opened.interpolate(keys, caption, seed + number), to_frames(blend_keys(to_clip(keys), scale))
        rows.append(_against(made[between], plain[between], frames[between], "blending"))
    return _means(rows)


def measure_upscaling(cascade: Path, held: Path, seed: int) -> dict[str, float]:
    """Enlarged frames against the originals, and against bicubic; and their changes from frame to frame, which a twin that sees
    each frame alone cannot keep together."""
    opened, rows = open_cascade(cascade), []
    for number, (frames, caption) in enumerate(real_clips(opened, held, "upscale")):
        told: dict[str, float] = {}
        for name, level in LOW_RESOLUTION_LEVELS.items():
            small, plain = made_small(frames, level, generator(seed, "low resolution", number))
            made = upscaled(opened, small, caption, level)
            steps = psnr(*(np.diff(clip.astype(np.int16), axis=0) / 2 + 127.5 for clip in (made, frames)))
            found = {**_against(made, plain, frames, "bicubic"), "change between frames, dB": steps}
            told |= {f"{name} input: {measure}": value for measure, value in found.items()}
        rows.append(told)
    return _means(rows)


def made_small(frames: np.ndarray, level: int, chance: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames at a quarter of their size, noised to a level, and those enlarged by bicubic interpolation."""
    height, width = frames.shape[1:3]
    low = resize_clip(to_clip(frames), height // 4, width // 4).clamp(-1, 1)
    small = to_frames(noise_low_resolution(low, torch.randn(low.shape, generator=chance), torch.tensor([level])))
    return small, to_frames(resize_clip(to_clip(small), height, width))


def upscaled(cascade: Cascade, small: np.ndarray, caption: str, level: int) -> np.ndarray:
    """Frames enlarged that are as noisy as the level says already: none is added."""
    return cascade.upscale(small, caption, noise_level=level, add_noise=False)


def _against(made: np.ndarray, plain: np.ndarray, true: np.ndarray, plain_name: str) -> dict[str, float]:
    ours, theirs = psnr(made, true), psnr(plain, true)
    return {"PSNR, dB": ours, f"PSNR over {plain_name}, dB": ours - theirs}


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
