"""How fast training is: seconds a step, clips a second, memory and model FLOP utilisation of each preset and phase; and the loader alone.

    python -m benchmarks.train                          the tiny preset on the CPU, one thread
    python -m benchmarks.train --device cuda --compile  the compact and lavie presets on a GPU, bfloat16, generated weights
Writes a markdown table. Utilisation is of the measured peak of a large matrix product, at equal precision.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.generated_corpus import combinations, write_shards
from schemas.run import Phase, TrainingRun
from train import checkpoint
from train.attention import TemporalAttention
from train.data import ClipReader, training_batches
from train.encoders import Encoders, LatentSpace, open_latent_space, open_text
from train.loop import PhaseTraining
from train.shards import Shards
from train.tasks import TASKS
from train.world import World

LATENT_OF_STABLE_DIFFUSION: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}


@dataclass(frozen=True)
class Case:
    """One phase of one preset, at one size."""

    preset: Any
    phase: Phase

    @property
    def title(self) -> str:
        phase = self.phase
        return f"{self.preset} {phase.task} {phase.batch}x{phase.frames}x{phase.height}x{phase.width}"


CPU_CASES = (
    Case("tiny", Phase(task="autoencode", steps=1, batch=8, frames=1, height=64, width=64)),
    Case("tiny", Phase(task="text_to_video", steps=1, batch=4, frames=16, height=32, width=32)),
    Case("tiny", Phase(task="interpolate", steps=1, batch=4, frames=13, height=32, width=32, prediction="flow", start="plain")),
    Case("tiny", Phase(task="upscale", steps=1, batch=2, frames=4, height=128, width=128, prediction="flow", start="plain")),
)
CUDA_CASES = tuple(
    Case(preset, phase)
    for preset, batch in (("compact", 8), ("lavie", 4))
    for phase in (
        Phase(task="text_to_video", steps=1, batch=batch, frames=16, height=320, width=512, optimizer="adamw-fused"),
        Phase(task="interpolate", steps=1, batch=max(1, batch // 4), frames=61, height=256, width=256, optimizer="adamw-fused"),
        Phase(task="upscale", steps=1, batch=max(1, batch // 2), frames=8, height=320, width=320, optimizer="adamw-fused"),
    )
)


def build(case: Case, device: torch.device, compiled: bool, shards: Path, folder: Path) -> PhaseTraining:
    """A phase ready to step. On a GPU the latent space is Stable Diffusion's, with weights drawn at random: speed does not depend on them."""
    on_gpu = device.type == "cuda"
    run = TrainingRun(
        name="benchmark",
        shards=str(shards),
        preset=case.preset,
        precision="bfloat16" if on_gpu else "float32",
        compile=compiled,
        device="cuda" if on_gpu else "cpu",
        phases=(case.phase,),
    )
    found = Shards(run.shards)
    checkpoint.begin(folder, run, found)
    space = LatentSpace(AutoencoderKL(**LATENT_OF_STABLE_DIFFUSION).eval().requires_grad_(False)) if on_gpu else open_latent_space(run)
    encoders = Encoders(space.to(device), open_text("embedded", None, str(device)))
    return PhaseTraining(run, TASKS[case.phase.task](case.phase, encoders), found, folder, device, World())


def measure(case: Case, device: torch.device, compiled: bool, repeats: int, peak: float) -> dict[str, float | str]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as scratch:
        shards = Path(scratch) / "shards"
        phase = case.phase
        size = max(phase.height, phase.width)
        write_shards(shards, list(combinations(1))[: phase.batch], frames=phase.frames, size=size)
        training = build(case, device, compiled, shards, Path(scratch) / "run")
        places = range(phase.batch)
        batch = next(training_batches(training.reader, 0, places, 0, 0))
        flops = _flops(training, batch)
        seconds = [_timed(lambda: training.advance(batch, places), device) for _ in range(repeats + 2)][2:]
        memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        step = statistics.median(seconds)
        return {
            "case": case.title,
            "step_s": step,
            "clips_per_s": phase.batch / step,
            "memory_gb": memory / 2**30,
            "flop_utilisation": flops / step / peak,
            "temporal_share": _temporal_seconds(training, batch, device) / step,
        }


def _timed(act: Any, device: torch.device) -> float:
    """Seconds that something takes; on a CPU those of this process alone, so that a busy machine changes little."""
    if device.type == "cpu":
        began = time.process_time()
        act()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    act()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def _flops(training: PhaseTraining, batch: Any) -> float:
    """Floating-point operations of the network's forward and backward pass, without the frozen encoders'."""
    seen: dict[str, Any] = {}
    hook = training.network.register_forward_pre_hook(lambda module, given, named: seen.update(given=given, named=named), with_kwargs=True)
    plain, training.callable = training.callable, training.network
    training.advance(batch, range(training.phase.batch))
    training.callable = plain
    hook.remove()
    with FlopCounterMode(display=False) as counter, training._precision():
        training.network(*seen["given"], **seen["named"]).float().square().mean().backward()
    training.network.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def _temporal_seconds(training: PhaseTraining, batch: Any, device: torch.device) -> float:
    """Seconds that attention over time takes in a step: each such layer forward and backward by itself, on the input it had."""
    inputs: list[tuple[Any, torch.Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda layer, given: inputs.append((layer, given[0].detach())))
        for module in training.network.modules()
        if isinstance(module, TemporalAttention)
    ]
    plain, training.callable = training.callable, training.network
    training.advance(batch, range(training.phase.batch))
    training.callable = plain
    for hook in hooks:
        hook.remove()

    def all_layers() -> None:
        for layer, given in inputs:
            with training._precision():
                layer(given.requires_grad_(True)).float().sum().backward()

    return min(_timed(all_layers, device) for _ in range(3)) if inputs else 0.0


def measured_peak(device: torch.device) -> float:
    """Floating-point operations a second of a large matrix product."""
    side, kind = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    left, right = torch.randn(2, side, side, device=device, dtype=kind)
    best = min(_timed(lambda: left @ right, device) for _ in range(10))
    return 2 * side**3 / best


def loader_rate(case: Case, workers: int) -> float:
    """Clips a second that the loader gives by itself, in the steady state of clips already decoded once."""
    with tempfile.TemporaryDirectory() as scratch:
        write_shards(Path(scratch), list(combinations(1))[:24], frames=max(24, case.phase.frames), size=max(case.phase.height, case.phase.width))
        phase = case.phase.model_copy(update={"steps": 60})
        batches = training_batches(ClipReader(Shards(scratch), phase), 0, range(phase.batch), 0, workers)
        for _ in range(20):
            next(batches)
        return 40 * phase.batch / _timed(lambda: list(batches), torch.device("cpu"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--case", type=int, default=None, help="one case, in this process, as JSON")
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(1)
    cases = CUDA_CASES if given.device == "cuda" else CPU_CASES
    if given.case is not None:
        found = measure(cases[given.case], device, given.compile, given.repeats, measured_peak(device))
        print(json.dumps({**found, "loader": loader_rate(cases[given.case], 8 if given.device == "cuda" else 0)}))
        return
    print("Seconds are processor time of one thread on a CPU, wall time on a GPU.\n")
    print("| phase | s a step | clips/s | loader alone, clips/s | memory GiB | FLOP utilisation | attention over time, share of a step |")
    print("|---|---|---|---|---|---|---|")
    for number in range(len(cases)):  # each in a process of its own, so that peak memory is its own
        told = subprocess.run([sys.executable, "-m", "benchmarks.train", *sys.argv[1:], "--case", str(number)], capture_output=True, text=True, check=True)
        row = json.loads(told.stdout.splitlines()[-1])
        cells = f"{row['step_s']:.3f} | {row['clips_per_s']:.1f} | {row['loader']:.1f} | {row['memory_gb']:.2f} | {row['flop_utilisation']:.0%}"
        print(f"| {row['case']} | {cells} | {row['temporal_share']:.0%} |", flush=True)


if __name__ == "__main__":
    main()
