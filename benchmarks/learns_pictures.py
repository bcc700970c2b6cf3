"""What learning looks like: losses over steps, and what each stage makes beside the truth and the plain answer."""

import json
from pathlib import Path

import numpy as np

from benchmarks.learns_measures import GUIDANCE, LOW_RESOLUTION_LEVELS, STEPS, made_small, real_clips, unseen_factors, upscaled
from train.cascade import Cascade, open_cascade
from train.clips import to_clip, to_frames
from train.conditions import blend_keys
from train.draws import generator

SMOOTHED = 5
ROWS = {"base": 8, "interpolation": 2, "vsr": 2}
EARLIER = ("first", "second")
"""Folders, within a run's, of its earlier parts."""


def draw_curves(out: Path, task_of: dict[str, str], path: Path) -> None:
    """Training loss over steps, each run a line, smoothed."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(task_of), figsize=(4.5 * len(task_of), 3.2), squeeze=False)
    for axis, (stage, task) in zip(axes[0], task_of.items()):
        for folder in sorted((out / "runs").glob(f"{stage}-*")):
            steps, losses = _losses(folder, task)
            smooth = np.convolve(losses, np.ones(SMOOTHED) / SMOOTHED, mode="valid") if len(losses) > SMOOTHED else losses
            ours = "as-it-is" in folder.name
            label = folder.name.removeprefix(f"{stage}-").removesuffix("-0").replace("-", " ") if folder.name.endswith("-0") else None
            axis.plot(steps[-len(smooth) :], smooth, color="#1f6f8b" if ours else "#c8553d", alpha=0.9, linewidth=1, label=label)
        axis.set(title=stage, xlabel="step", ylabel="training loss", yscale="log")
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _losses(folder: Path, task: str) -> tuple[list[int], list[float]]:
    """Steps, counted through all parts of a run, and the loss at each."""
    steps, losses = list[int](), list[float]()
    for part in (folder / name for name in (*EARLIER, "")):
        before = steps[-1] if steps else 0
        lines = map(json.loads, (part / "metrics.jsonl").read_text().splitlines()) if part.exists() else ()
        for line in lines:
            if line["task"] == task and "loss" in line:
                steps.append(before + line["step"])
                losses.append(line["loss"])
    return steps, losses


def draw_samples(out: Path, held: Path, stages: list[str], path: Path) -> None:
    """A row of frames for each caption the base never saw; truth, plain answer and ours for the later stages."""
    plt = _pyplot()
    rows: list[tuple[str, np.ndarray]] = []
    for stage in stages:
        cascade = open_cascade(out / "runs" / f"{stage}-as-it-is-0")
        rows += {"base": _base_rows, "interpolation": _interpolation_rows, "vsr": _upscaling_rows}[stage](cascade, held)
    figure, axes = plt.subplots(len(rows), 1, figsize=(9, 1.25 * len(rows)), squeeze=False)
    for axis, (title, frames) in zip(axes[:, 0], rows):
        axis.imshow(np.concatenate(list(frames), axis=1), interpolation="nearest")
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _base_rows(cascade: Cascade, held: Path) -> list[tuple[str, np.ndarray]]:
    captions = [factors.caption for factors in unseen_factors()[: ROWS["base"]]]
    return [(caption, cascade(caption, seed=0, steps=STEPS, guidance=GUIDANCE, upto="base")) for caption in captions]


def _interpolation_rows(cascade: Cascade, held: Path) -> list[tuple[str, np.ndarray]]:
    rows = []
    for frames, caption in real_clips(cascade, held, "interpolate", ROWS["interpolation"]):
        keys = frames[::4]
        told = {"real": frames, "blended": to_frames(blend_keys(to_clip(keys), 4)), "interpolated": cascade.interpolate(keys, caption)}
        rows += [(f"{name}: {caption}", clip) for name, clip in told.items()]
    return rows


def _upscaling_rows(cascade: Cascade, held: Path) -> list[tuple[str, np.ndarray]]:
    rows = []
    for number, (frames, caption) in enumerate(real_clips(cascade, held, "upscale", ROWS["vsr"])):
        for name, level in LOW_RESOLUTION_LEVELS.items():
            small, bicubic = made_small(frames, level, generator("picture", number))
            told = {"real": frames, f"{name} input, bicubic": bicubic, f"{name} input, enlarged": upscaled(cascade, small, caption, level)}
            rows += [(f"{title}: {caption}", clip) for title, clip in told.items() if title != "real" or name == "clean"]
    return rows


def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
