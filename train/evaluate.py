"""A trained cascade measured on clips it was not trained on: each stage against the truth and against the plain answer, with intervals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas.run import Phase
from schemas.table import column
from train.cascade import STAGES, Cascade, open_cascade, to_clip, to_frames
from train.conditions import blend_keys, resize_clip
from train.data import ClipReader
from train.distances import Estimate, estimate, frechet, kernel_distance, resampled
from train.features import EmbeddedFeatures, FeatureModel, clip_features
from train.metrics import LEVELS, held_out_losses
from train.quality import flicker, lpips, perceptual_distance, psnr, ssim, temporal_consistency
from train.shards import Shards

SCORES = pa.schema(
    [
        column("stage", pa.string(), "Which stage of the cascade", by="train"),
        column("metric", pa.string(), "What was measured; `_gain` is over the plain answer (blending, or bicubic), clip by clip", by="train"),
        column("value", pa.float64(), "Mean over clips, or the distance", by="train"),
        column("low", pa.float64(), "Lower end of the 95 % bootstrap interval over clips", by="train"),
        column("high", pa.float64(), "Upper end", by="train"),
        column("count", pa.int64(), "Clips", by="train"),
        column("model", pa.string(), "The feature model it depends on; null if none", by="train"),
    ]
)
Listener = Callable[[str, float, float], None]


def score_cascade(
    checkpoint: Path | str,
    shards: str,
    seed: int = 0,
    most_clips: int = 16,
    steps: int = 20,
    guidance: float = 3.0,
    features: FeatureModel | None = None,
    listener: Listener = lambda what, done, total: None,
) -> pa.Table:
    """Every stage's metrics on held-out shards, as a table of schema SCORES.

    Base: samples for the captions of real clips, against those clips. Interpolation: every `scale`-th real frame given, against
    the real frames between. Super-resolution: real frames made small, against the originals.

    Args:
        most_clips: how many clips are used, the first in packing order.
        steps, guidance: of the base; the later stages answer in one step, which is their best guess.
    """
    cascade, model = open_cascade(checkpoint), features or EmbeddedFeatures()
    rows: list[dict[str, object]] = []
    measured = {"base": _score_base, "interpolation": _score_interpolation, "vsr": _score_upscaling}
    for stage in cascade.stages:
        phase = next(phase for phase in cascade.training_run.phases if phase.task == STAGES[stage])
        reader = ClipReader(Shards(shards), phase)
        clips = [reader.clip(entry, None)[:2] for entry in reader.clips[:most_clips]]
        told = [(frames.permute(0, 2, 3, 1).numpy(), caption) for frames, caption in clips]
        found = measured[stage](cascade, phase, told, model, seed, (steps, guidance), listener)
        found |= _losses_by_level(checkpoint, shards, phase.task, seed, most_clips)
        rows += [_row(stage, metric, value, named) for metric, (value, named) in found.items()]
    return pa.Table.from_pylist(rows, schema=SCORES)


Found = dict[str, tuple[Estimate, str | None]]
Clips = list[tuple[np.ndarray, str]]


def _row(stage: str, metric: str, value: Estimate, named: str | None) -> dict[str, object]:
    return {"stage": stage, "metric": metric, "value": value.mean, "low": value.low, "high": value.high, "count": value.count, "model": named}


def _losses_by_level(checkpoint: Path | str, shards: str, task: str, seed: int, most_clips: int) -> Found:
    """The held-out loss at each diffusion time, over clips."""
    rows = held_out_losses(checkpoint, shards, task, seed, most_clips=most_clips).to_pylist()
    return {f"held_out_loss_at_{level}": (estimate([row["loss"] for row in rows if row["level"] == level]), None) for level in LEVELS}


def _score_base(cascade: Cascade, phase: Phase, clips: Clips, model: FeatureModel, seed: int, asked: tuple[int, float], listener: Listener) -> Found:
    made = []
    for number, (_, caption) in enumerate(clips):
        made.append(cascade(caption, seed=seed + number, steps=asked[0], guidance=asked[1], upto="base"))
        listener("score base", number + 1, len(clips))
    real = [frames for frames, _ in clips]
    made_frames, real_frames = (np.concatenate([model.frames(clip) for clip in part]) for part in (made, real))
    made_clips, real_clips = (clip_features(model, part) for part in (made, real))
    found: Found = {
        "frechet_frames": (resampled(frechet, made_frames, real_frames), model.name),
        "frechet_clips": (resampled(frechet, made_clips, real_clips), model.name),
        "kernel_clips": (resampled(kernel_distance, made_clips, real_clips), model.name),
        "temporal_consistency": (estimate([temporal_consistency(model, clip) for clip in made]), model.name),
        "temporal_consistency_of_real": (estimate([temporal_consistency(model, clip) for clip in real]), model.name),
        "flicker": (estimate([flicker(clip) for clip in made]), None),
        "flicker_of_real": (estimate([flicker(clip) for clip in real]), None),
    }
    if isinstance(model, EmbeddedFeatures):
        found["alignment"] = (estimate([model.alignment(clip, caption) for clip, (_, caption) in zip(made, clips)]), model.name)
        found["alignment_of_real"] = (estimate([model.alignment(clip, caption) for clip, caption in clips]), model.name)
    return found


def _score_interpolation(cascade: Cascade, phase: Phase, clips: Clips, model: FeatureModel, seed: int, asked: tuple[int, float], listener: Listener) -> Found:
    between = np.arange(phase.frames) % phase.scale != 0
    made, plain, true = [], [], []
    for number, (frames, caption) in enumerate(clips):
        keys = frames[:: phase.scale]
        made.append(cascade.interpolate(keys, caption, seed)[between])
        plain.append(to_frames(blend_keys(to_clip(keys), phase.scale))[between])
        true.append(frames[between])
        listener("score interpolation", number + 1, len(clips))
    return _against_truth(made, plain, true, model)


def _score_upscaling(cascade: Cascade, phase: Phase, clips: Clips, model: FeatureModel, seed: int, asked: tuple[int, float], listener: Listener) -> Found:
    made, plain, true = [], [], []
    for number, (frames, caption) in enumerate(clips):
        clip = to_clip(frames)
        small = to_frames(resize_clip(clip, phase.height // phase.scale, phase.width // phase.scale))
        made.append(cascade.upscale(small, caption, seed, noise_level=0))
        plain.append(to_frames(resize_clip(to_clip(small), phase.height, phase.width)))
        true.append(frames)
        listener("score super-resolution", number + 1, len(clips))
    return _against_truth(made, plain, true, model)


def _against_truth(made: list[np.ndarray], plain: list[np.ndarray], true: list[np.ndarray], model: FeatureModel) -> Found:
    """Metrics of pairs, those of the plain answer, and the gain, clip by clip."""
    measures: dict[str, tuple[Callable[[np.ndarray, np.ndarray], float | None], str | None]] = {
        "psnr": (psnr, None),
        "ssim": (ssim, None),
        "lpips": (lpips, "alexnet"),
        "perceptual_distance": (lambda one, other: perceptual_distance(model, one, other), model.name),
    }
    found: Found = {}
    for name, (measure, named) in measures.items():
        ours, theirs = ([measure(clip, truth) for clip, truth in zip(part, true)] for part in (made, plain))
        if None in ours or None in theirs:
            continue
        one, other = np.array(ours, dtype=float), np.array(theirs, dtype=float)
        found |= {name: (estimate(one), named), f"{name}_of_plain": (estimate(other), named), f"{name}_gain": (estimate(one - other), named)}
    found["flicker"] = (estimate([flicker(clip) for clip in made]), None)
    found["flicker_of_real"] = (estimate([flicker(clip) for clip in true]), None)
    return found
