"""Does the cascade learn what its data says? Each stage against a twin whose data lacks one thing, on footage whose factors are known.

    python -m benchmarks.learns --out DIR                  every stage, three seeds, at most ten CPU minutes a phase and seed
    python -m benchmarks.learns --out DIR --share 0.2      a fifth of the steps, to see that it runs
The footage is generated, curated and packed by clipmill. Twins: the base is trained with shuffled captions, interpolation on
shuffled frames, super-resolution on single frames. Plain answers: frame blending, and bicubic enlargement. Intervals are over
seeds. Writes RESULTS.md, curves and a grid of samples into DIR; what was done before is found again.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset

from benchmarks.generated_corpus import COLOURS, DIRECTIONS, Factors, combinations, encode_mp4, held_out, write_footage
from pipelines.curate import curate
from schemas.recipe import Duplicates, Recipe
from schemas.run import Phase, TrainingRun
from schemas.sample import Sample, encode
from train.cascade import open_cascade
from train.distances import Estimate, estimate
from train.draws import generator
from train.evaluate import score_cascade
from train.frames import decode_frames
from train.loop import train
from train.metrics import held_out_losses
from train.shards import Shards

LEVELS = (500, 700, 800, 900, 950)
RECIPE = Recipe(name="generated", duplicates=Duplicates(keep="all"))
AUTOENCODE = Phase(task="autoencode", steps=400, batch=16, frames=1, height=64, width=64, learning_rate_schedule="cosine")
PHASES = {
    "base": Phase(task="text_to_video", steps=2500, frames=8, stride=(3, 3), learning_rate_schedule="cosine", ema_decay=0.995),
    "interpolation": Phase(task="interpolate", steps=600, frames=13, prediction="residual", learning_rate_schedule="cosine"),
    "vsr": Phase(task="upscale", steps=500, batch=2, frames=4, height=64, width=64, prediction="residual", noise_level=20, learning_rate_schedule="cosine"),
}
PROMPTS, STEPS, GUIDANCE = 12, 20, 3.0


# What is trained on


def make_shards(out: Path, copies: int) -> dict[str, Path]:
    """Footage of the seen and of the unseen combinations, curated and packed by clipmill."""
    made = {}
    for name, unseen in (("seen", False), ("unseen", True)):
        footage = out / "footage" / name
        if not (footage / "rights.csv").exists():
            write_footage(footage, 1 if unseen else copies, unseen=unseen)
        rights = str(footage / "rights.csv")
        made[name] = Path(
            curate([str(footage)], str(out / name), RECIPE, rights=rights, policy=None, profile="embedded", on="here", listener=_quiet).shards.folder
        )
    return made


def _quiet(what: str, done: float, total: float) -> None:
    """Nobody listens."""


def changed(shards: Path, out: Path, change: Callable[[list[Sample]], list[Sample]]) -> Path:
    """The same shards with something taken from them."""
    if not (out / "shard-000000.tar").exists():
        out.mkdir(parents=True, exist_ok=True)
        found = Shards(str(shards))
        partial = out / "partial"
        with webdataset.TarWriter(str(partial), encoder=False) as writer:
            for sample in change([found.read(entry) for entry in found.entries]):
                writer.write(encode(sample))
        partial.replace(out / "shard-000000.tar")
    return out


def with_shuffled_captions(samples: list[Sample]) -> list[Sample]:
    """Every caption is kept, on another clip."""
    order = torch.randperm(len(samples), generator=generator("shuffled captions")).tolist()
    return [replace(sample, caption=samples[other].caption) for sample, other in zip(samples, order)]


def with_shuffled_frames(samples: list[Sample]) -> list[Sample]:
    """Every frame is kept, in another order."""
    return [replace(sample, video=_shuffled(sample)) for sample in samples]


def _shuffled(sample: Sample) -> bytes:
    frames = decode_frames(sample, sample.facts["encoded"]["width"], sample.facts["encoded"]["height"])
    path = Path(f"/tmp/{sample.key}.mp4")
    encode_mp4(frames[torch.randperm(len(frames), generator=generator("shuffled frames", sample.key)).numpy()], path)
    data = path.read_bytes()
    path.unlink()
    return data


# What is measured


@dataclass(frozen=True)
class Arm:
    """One way of training one stage."""

    stage: str
    name: str
    shards: Path
    phase: Phase


def arms(shards: Path, out: Path, share: float) -> list[Arm]:
    """Each stage and its twin."""
    phases = {stage: phase.model_copy(update={"steps": max(1, round(phase.steps * share))}) for stage, phase in PHASES.items()}
    frame_by_frame = phases["vsr"].model_copy(update={"frames": 1, "batch": phases["vsr"].batch * phases["vsr"].frames})
    return [
        Arm("base", "as it is", shards, phases["base"]),
        Arm("base", "shuffled captions", changed(shards, out / "shuffled-captions", with_shuffled_captions), phases["base"]),
        Arm("interpolation", "as it is", shards, phases["interpolation"]),
        Arm("interpolation", "shuffled frames", changed(shards, out / "shuffled-frames", with_shuffled_frames), phases["interpolation"]),
        Arm("vsr", "as it is", shards, phases["vsr"]),
        Arm("vsr", "frame by frame", shards, frame_by_frame),
    ]


def run_arm(arm: Arm, seed: int, held: Path, out: Path, share: float) -> dict[str, Any]:
    """Train an arm under a seed and measure it, once."""
    folder = out / "runs" / f"{arm.stage}-{arm.name.replace(' ', '-')}-{seed}"
    done = folder / "measured.json"
    if done.exists():
        return json.loads(done.read_text())
    autoencode = AUTOENCODE.model_copy(update={"steps": max(1, round(AUTOENCODE.steps * share))})
    run = TrainingRun(name="learns", seed=seed, shards=str(arm.shards), held_out=str(held), phases=(autoencode, arm.phase))
    began = time.process_time()
    cascade = train(run, folder)
    told: dict[str, Any] = {"stage": arm.stage, "arm": arm.name, "seed": seed, "cpu_s": time.process_time() - began}
    told |= _measure_base(cascade, held, seed) if arm.stage == "base" else _measure_later(cascade, held, seed, arm)
    done.write_text(json.dumps(told))
    return told


def _measure_base(cascade: Path, held: Path, seed: int) -> dict[str, float]:
    table = held_out_losses(cascade, str(held), "text_to_video", 0, LEVELS)
    loss, wrong = (np.asarray(table[name].to_pylist(), dtype=float) for name in ("loss", "loss_wrong_caption"))
    followed = [follows(cascade, factors, seed) for factors in list(unseen_factors())[:PROMPTS]]
    share_of = {name: float(np.mean([one[name] for one in followed])) for name in ("colour", "direction")}
    return {"loss": float(loss.mean()), "caption_gain": float((wrong - loss).mean()), **{f"follows_{name}": share for name, share in share_of.items()}}


def _measure_later(cascade: Path, held: Path, seed: int, arm: Arm) -> dict[str, float]:
    table = score_cascade(cascade, str(held), seed, most_clips=24)
    rows = {row["metric"]: row["value"] for row in table.to_pylist() if row["stage"] == arm.stage}
    return {name: rows[name] for name in ("psnr", "psnr_of_plain", "psnr_gain", "ssim_gain", "flicker", "flicker_of_real")}


def unseen_factors() -> list[Factors]:
    """The combinations kept from training."""
    return [factors for factors in combinations(1) if held_out(factors)]


def follows(cascade: Path, factors: Factors, seed: int) -> dict[str, bool]:
    """Whether a sample for a caption shows its colour, and moves in its direction (of four)."""
    frames = open_cascade(cascade)(factors.caption, seed=seed, steps=STEPS, guidance=GUIDANCE, upto="base")
    path = {colour: object_path(frames, value) for colour, value in COLOURS.items()}
    seen = max(path, key=lambda colour: path[colour][1])
    moved = path[factors.colour][0][-2:].mean(axis=0) - path[factors.colour][0][:2].mean(axis=0)
    towards = max(DIRECTIONS, key=lambda direction: float(moved @ np.array(DIRECTIONS[direction])))
    return {"colour": seen == factors.colour, "direction": towards == factors.direction}


def object_path(frames: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, float]:
    """Where pixels of a colour are, frame by frame (F, 2) as x, y from the centre in shares of the frame; and how much of it there is."""
    distance = np.linalg.norm(frames.astype(float) - np.array(colour), axis=-1)
    weight = np.exp(-((distance / 60) ** 2))
    height, width = weight.shape[1:]
    total = weight.sum(axis=(1, 2)) + 1e-9
    x = (weight * np.linspace(-0.5, 0.5, width)).sum(axis=(1, 2)) / total
    y = (weight * np.linspace(-0.5, 0.5, height)[:, None]).sum(axis=(1, 2)) / total
    return np.stack([x, y], axis=1), float(weight.mean())


# What is told


def summary(measured: list[dict[str, Any]]) -> str:
    """Means over seeds with intervals, and paired differences from the twin."""
    lines = ["| stage | arm | measure | mean over seeds [95 % interval] | CPU s a seed |", "|---|---|---|---|---|"]
    for stage in PHASES:
        of_stage = [one for one in measured if one["stage"] == stage]
        names = list(dict.fromkeys(one["arm"] for one in of_stage))
        keys = [key for key in of_stage[0] if key not in ("stage", "arm", "seed", "cpu_s")]
        for name in names:
            chosen = [one for one in of_stage if one["arm"] == name]
            spent = np.mean([one["cpu_s"] for one in chosen])
            lines += [f"| {stage} | {name} | {key} | {_told(estimate([one[key] for one in chosen]))} | {spent:.0f} |" for key in keys]
        ours, twin = ({one["seed"]: one for one in of_stage if one["arm"] == name} for name in names)
        for key in keys:
            difference = [ours[seed][key] - twin[seed][key] for seed in ours if seed in twin]
            lines.append(f"| {stage} | {names[0]} minus {names[1]} | {key} | {_told(estimate(difference))} | |")
    return "\n".join(lines)


def _told(value: Estimate) -> str:
    return f"{value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]"


def draw_curves(out: Path, path: Path) -> None:
    """Held-out loss over steps, each run a line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(PHASES), figsize=(4 * len(PHASES), 3))
    for axis, (stage, phase) in zip(axes, PHASES.items()):
        for folder in sorted((out / "runs").glob(f"{stage}-*")):
            lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
            points = [(line["step"], line["loss"]) for line in lines if line["task"] == phase.task and "loss" in line]
            steps, losses = zip(*points)
            smooth = np.convolve(losses, np.ones(9) / 9, mode="valid")
            axis.plot(steps[: len(smooth)], smooth, label=folder.name.removeprefix(f"{stage}-"), linewidth=1)
        axis.set(title=stage, xlabel="step", ylabel="training loss", yscale="log")
        axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def draw_samples(out: Path, path: Path) -> None:
    """Samples of the base for unseen combinations, one row a caption."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cascade = open_cascade(out / "runs" / "base-as-it-is-0")
    chosen = unseen_factors()[:6]
    figure, axes = plt.subplots(len(chosen), 1, figsize=(8, 1.3 * len(chosen)))
    for axis, factors in zip(axes, chosen):
        frames = cascade(factors.caption, seed=0, steps=STEPS, guidance=GUIDANCE, upto="base")
        axis.imshow(np.concatenate(list(frames), axis=1))
        axis.set_title(factors.caption, fontsize=8)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=4, help="clips of each combination of factors")
    parser.add_argument("--share", type=float, default=1.0, help="share of the steps to train")
    parser.add_argument("--stages", nargs="+", default=list(PHASES), choices=list(PHASES))
    given = parser.parse_args()
    shards = make_shards(given.out, given.copies)
    chosen = [arm for arm in arms(shards["seen"], given.out, given.share) if arm.stage in given.stages]
    measured = []
    for seed in range(given.seeds):
        for arm in chosen:
            measured.append(run_arm(arm, seed, shards["unseen"], given.out, given.share))
            print(json.dumps(measured[-1]), flush=True)
    (given.out / "RESULTS.md").write_text(summary(measured) + "\n")
    draw_curves(given.out, given.out / "curves.png")
    if "base" in given.stages:
        draw_samples(given.out, given.out / "samples.png")
    print(summary(measured))


if __name__ == "__main__":
    main()
