"""Does the cascade learn what its data says? Each stage against a twin whose data lacks one thing, on footage whose factors are known.

    python -m benchmarks.learns --out DIR                        every stage, three seeds, some minutes of CPU a seed
    python -m benchmarks.learns --out DIR --stages base --share 0.25 --straight
    python -m benchmarks.learns --out DIR --real SEEN HELD       the later stages on packed footage of any kind
The footage is generated, and packed by clipmill (`--straight` leaves the mill out). Twins: the base is trained with shuffled
captions, interpolation on shuffled frames, super-resolution on the same clips with all that sees time kept silent. Plain answers:
frame blending, and bicubic enlargement. Intervals are Student's t over seeds. Prints a table; DIR keeps every run, so that more
seeds only train what is new, and gets curves.png and samples.png.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset

from benchmarks.generated_corpus import combinations, encode_mp4, held_out, packed, write_footage, write_shards
from benchmarks.learns_measures import Measured, measure
from benchmarks.learns_pictures import EARLIER, draw_curves, draw_samples
from pipelines.ablation.statistics import paired_t
from schemas.run import Phase, TrainingRun
from schemas.sample import Sample, encode
from train.draws import generator
from train.frames import decode_frames
from train.loop import train
from train.shards import Shards

COSINE: dict[str, Any] = {"learning_rate_schedule": "cosine"}
RESTARTS: dict[str, Any] = {"learning_rate_schedule": "cosine_with_restarts", "cycles": 2}
PLAIN: dict[str, Any] = {"prediction": "flow", "start": "plain", "timesteps": "last", "latent": "exact", **COSINE}
AUTOENCODE = Phase(task="autoencode", steps=60, batch=8, frames=1, height=64, width=64, **COSINE)
BASE_PARTS = (1000, 1000, 800)
"""Steps of the base's parts: direction is learned late, and these take the ten CPU minutes that a seed may cost."""
PHASES = {
    "base": Phase(task="text_to_video", steps=BASE_PARTS[0], frames=8, height=32, width=32, stride=(3, 3), timesteps="late", ema_decay=0.99, **RESTARTS),
    "interpolation": Phase(task="interpolate", steps=160, frames=5, height=24, width=24, stride=(5, 5), keys="both", ema_decay=0.98, **PLAIN),
    "vsr": Phase(task="upscale", steps=440, batch=1, frames=8, height=32, width=32, noise_level=400, ema_decay=0.98, **PLAIN),
}
IMAGES = PHASES["vsr"].model_copy(update={"steps": 220, "frames": 1, "batch": 8})
"""The image upscaler that super-resolution goes on from, as LaVie's does."""
CLEANER = PHASES["vsr"].model_copy(update={"steps": 400, "noise_level": 100})
"""Super-resolution's last part: levels to 400 leave too few steps for input that is hardly noised."""
AGAIN = 100


# What is trained on


def make_shards(out: Path, copies: int, straight: bool) -> dict[str, Path]:
    """The seen and the unseen combinations, through the mill or, to save its time, straight into shards."""
    made = {}
    for name, unseen in (("seen", False), ("unseen", True)):
        if straight:
            made[name] = out / "straight" / name
            if not made[name].exists():
                write_shards(made[name], [factors for factors in combinations(copies) if held_out(factors) == unseen], size=64)
            continue
        footage = out / "footage" / name
        if not (footage / "rights.csv").exists():
            write_footage(footage, copies, unseen=unseen)
        made[name] = packed(footage, out / name)
    return made


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
    told = sample.facts.get("encoded", sample.facts)
    frames = decode_frames(sample, told["width"], told["height"])
    order = torch.randperm(len(frames), generator=generator("shuffled frames", sample.key)).numpy()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "clip.mp4"
        encode_mp4(frames[order], path)
        return path.read_bytes()


# What is compared


@dataclass(frozen=True)
class Arm:
    """One way of training one stage; each of its parts goes on from the average of the one before."""

    stage: str
    name: str
    shards: Path
    parts: tuple[Phase, ...]


def arms(shards: Path, out: Path, share: float, stages: list[str]) -> list[Arm]:
    """Each stage and its twin, which sees the same frames in as many steps."""
    base = tuple(_shortened(PHASES["base"].model_copy(update={"steps": steps}), share) for steps in BASE_PARTS)
    interpolation, *vsr = (_shortened(phase, share) for phase in (PHASES["interpolation"], IMAGES, PHASES["vsr"], CLEANER))
    silent = [phase.model_copy(update={"trainable": "spatial"}) for phase in vsr[1:]]
    made = [
        Arm("base", "as it is", shards, base),
        Arm("base", "shuffled captions", out / "shuffled-captions", base),
        Arm("interpolation", "as it is", shards, (interpolation,)),
        Arm("interpolation", "shuffled frames", out / "shuffled-frames", (interpolation,)),
        Arm("vsr", "as it is", shards, tuple(vsr)),
        Arm("vsr", "frame by frame", shards, (vsr[0], *silent)),
    ]
    if "base" in stages:
        changed(shards, out / "shuffled-captions", with_shuffled_captions)
    if "interpolation" in stages:
        changed(shards, out / "shuffled-frames", with_shuffled_frames)
    return [arm for arm in made if arm.stage in stages]


def _shortened(phase: Phase, share: float) -> Phase:
    return phase.model_copy(update={"steps": max(1, round(phase.steps * share))})


def train_autoencoder(shards: Path, out: Path) -> Path:
    """The decoder of the base's latent space, which all arms and seeds share: it is not what is asked about."""
    run = TrainingRun(name="learns", shards=str(shards), phases=(AUTOENCODE,))
    return train(run, out / "autoencoder") / "autoencoder"


def run_arm(arm: Arm, seed: int, held: Path, autoencoder: Path, out: Path) -> Measured:
    """Train an arm under a seed and measure it, once."""
    folder = out / "runs" / f"{arm.stage}-{arm.name.replace(' ', '-')}-{seed}"
    done = folder / "measured.json"
    if done.exists():
        return Measured(arm.stage, arm.name, seed, **json.loads(done.read_text()))
    began, init, places = time.process_time(), "scratch", [*(folder / name for name in EARLIER[: len(arm.parts) - 1]), folder]
    for number, (phase, place) in enumerate(zip(arm.parts, places, strict=True)):
        # A part that sees what an earlier one saw would meet the same clips with the same noise.
        again = sum(earlier.frames == phase.frames for earlier in arm.parts[:number])
        cascade = train_part(arm, phase, seed + AGAIN * again, init, autoencoder, place)
        init = f"run:{cascade}"
    trained = time.process_time()
    told = measure(arm.stage, cascade, held, seed)
    found = {"cpu_s": trained - began, "measuring_cpu_s": time.process_time() - trained, "values": told}
    done.write_text(json.dumps(found))
    return Measured(arm.stage, arm.name, seed, **found)


def train_part(arm: Arm, phase: Phase, seed: int, init: str, autoencoder: Path, folder: Path) -> Path:
    """Train one phase of an arm; the base with the latent space that all share."""
    part, phases = folder / "cascade" / "autoencoder", (phase,)
    if arm.stage == "base":
        phases = (AUTOENCODE, phase)
        if not part.exists():
            shutil.copytree(autoencoder, part)
    return train(TrainingRun(name="learns", seed=seed, shards=str(arm.shards), init=init, phases=phases), folder)


# What is told


def summary(measured: list[Measured]) -> str:
    """Means over seeds with intervals, and paired differences from the twin."""
    lines = ["| stage | measure | as it is | twin | difference, paired by seed |", "|---|---|---|---|---|"]
    costs = []
    for stage in PHASES:
        of_stage = [one for one in measured if one.stage == stage]
        names = list(dict.fromkeys(one.arm for one in of_stage))
        if len(names) < 2:
            continue
        ours, twin = ({one.seed: one for one in of_stage if one.arm == name} for name in names)
        seeds = sorted(ours.keys() & twin.keys())
        for key in of_stage[0].values:
            one, other = (np.array([arm[seed].values[key] for seed in seeds]) for arm in (ours, twin))
            lines.append(f"| {stage} | {key} | {_told(one)} | {_told(other)} | {_told(one - other)} |")
        spent = [f"{name}: {np.mean([one.cpu_s for one in of_stage if one.arm == name]):.0f} s" for name in names]
        costs.append(f"{stage}, {len(seeds)} seeds; CPU time of training, a seed: {', '.join(spent)}.")
    return "\n".join([*lines, "", *costs])


def _told(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values.mean():.4f}"
    found = paired_t(values)
    return f"{found.estimate:.4f} [{found.low:.4f}, {found.high:.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--straight", action="store_true", help="write clips straight into shards, without the mill")
    parser.add_argument("--copies", type=int, default=2, help="clips of each combination of factors")
    parser.add_argument("--share", type=float, default=1.0, help="share of the steps to train")
    parser.add_argument("--stages", nargs="+", default=list(PHASES), choices=list(PHASES))
    parser.add_argument("--real", type=Path, nargs=2, metavar=("SEEN", "HELD"), help="packed footage instead; not for the base, which is asked for factors")
    given: Any = parser.parse_args()
    if given.real:
        given.stages = [stage for stage in given.stages if stage != "base"]
    shards = dict(zip(("seen", "unseen"), given.real)) if given.real else make_shards(given.out, given.copies, given.straight)
    chosen = arms(shards["seen"], given.out, given.share, given.stages)
    autoencoder = train_autoencoder(shards["seen"], given.out) if "base" in given.stages else given.out
    measured = []
    for seed in given.seeds:
        for arm in chosen:
            measured.append(run_arm(arm, seed, shards["unseen"], autoencoder, given.out))
            print(json.dumps(measured[-1].__dict__), flush=True)
    draw_curves(given.out, {stage: PHASES[stage].task for stage in given.stages}, given.out / "curves.png")
    draw_samples(given.out, shards["unseen"], given.stages, given.out / "samples.png")
    print(summary(measured))


if __name__ == "__main__":
    main()
