"""How fast and how light the video UNet is against the same network written plainly (`benchmarks/plain_unet.py`).

Prints a markdown table of medians and ratios, plain over ours: above 1.0 is better. A step is forward and backward.
    python -m benchmarks.unet                          on the CPU, one thread, float32
    python -m benchmarks.unet --device cuda --compile  on a GPU, bfloat16 autocast, at the published sizes
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.plain_unet import PlainUNet
from train.presets import unet_config
from train.unet import VideoUNet
from train.weights import reset

# preset, stage, then batch, frames, height and width of the latents
CPU_CASES = (
    ("tiny", "base", 2, 16, 8, 8),
    ("tiny", "base", 1, 16, 16, 16),
    ("tiny", "interpolation", 1, 61, 8, 8),
    ("tiny", "vsr", 1, 8, 16, 16),
    ("compact", "base", 1, 4, 16, 16),
    ("compact", "vsr", 1, 4, 16, 16),
)
CUDA_CASES = (
    ("compact", "base", 4, 16, 40, 64),
    ("lavie", "base", 2, 16, 40, 64),
    ("lavie", "interpolation", 1, 61, 32, 32),
    ("lavie", "vsr", 1, 8, 80, 80),
)
VARIANTS = ("plain", "ours", "ours, channels last")
TEXT_TOKENS = 77
NO_HOLES = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Tells glibc to give every tensor pages of its own: what is resident then is what the network holds, without holes in the heap."""


def build(preset: Any, stage: Any, variant: str, device: str, compiled: bool) -> Callable[..., Tensor]:
    model = VideoUNet(**unet_config(preset, stage))
    reset(model, seed=0)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for parameter in model.parameters():
            if not parameter.any():  # what starts silent must count too
                nn.init.normal_(parameter, std=0.1)
    model.to(device)
    if variant == "plain":
        return PlainUNet(model.config, model.state_dict())
    if variant == "ours, channels last":
        model.use_channels_last()
    return torch.compile(model) if compiled else model


def inputs(preset: Any, stage: Any, batch: int, frames: int, height: int, width: int, device: str) -> dict[str, Tensor]:
    config = unet_config(preset, stage)
    generator = torch.Generator().manual_seed(0)
    made = {
        "sample": torch.randn(batch, config["in_channels"], frames, height, width, generator=generator),
        "timestep": torch.full((batch,), 500),
        "encoder_hidden_states": torch.randn(batch, TEXT_TOKENS, config["cross_attention_dim"], generator=generator),
    }
    if stage == "vsr":
        made["class_labels"] = torch.full((batch,), 50)
    return {name: value.to(device) for name, value in made.items()}


def step(model: Callable[..., Tensor], made: dict[str, Tensor], device: str) -> tuple[float, float]:
    """Seconds of a forward and of a forward with backward: processor time on a CPU (others may be using it too), wall time on a GPU."""
    clock: Callable[[], float] = time.process_time if device == "cpu" else synchronised_clock
    with torch.autocast("cuda", dtype=torch.bfloat16) if device == "cuda" else nullcontext():
        start = clock()
        with torch.no_grad():
            model(**made)
        middle = clock()
        model(**made).float().square().mean().backward()
    return middle - start, clock() - middle


def synchronised_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def peak_mib(model: Callable[..., Tensor], made: dict[str, Tensor], device: str) -> float:
    """Memory that a step adds to weights and inputs, at its peak, gradients included."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(model, made, device)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that importing and building reached
    before = resident_mib("VmRSS")
    step(model, made, device)
    return resident_mib("VmHWM") - before


def resident_mib(field: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 2**10


def times(case: tuple[Any, ...], device: str, compiled: bool, repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds of each variant, taken in turns so that a noisy machine is equally unfair to all; the outputs must agree first."""
    made = inputs(*case, device)
    models = {variant: build(*case[:2], variant, device, compiled) for variant in VARIANTS}
    with torch.no_grad():
        expected = models["plain"](**made)
        for variant, model in models.items():
            off = (model(**made) - expected).abs().max().item()
            if off > 1e-3:
                raise SystemExit(f"{case} {variant}: differs from the plain network by {off}; there is no point in timing it")
    seconds: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(repeats + 1):
        for variant, model in models.items():
            seconds[variant].append(step(model, made, device))
    return {variant: tuple(statistics.median(column) for column in zip(*taken[1:])) for variant, taken in seconds.items()}  # type: ignore[misc]


def memory(case: tuple[Any, ...], device: str, compiled: bool, environment: Mapping[str, str]) -> dict[str, float]:
    """Peak MiB of each variant, each in a process of its own, since a process never gives its peak back."""
    again = [sys.executable, "-m", "benchmarks.unet", "--device", device, "--case", *map(str, case), *(["--compile"] if compiled else [])]
    peaks = {}
    for variant in VARIANTS:
        printed = subprocess.run([*again, "--memory", variant], check=True, capture_output=True, text=True, env=os.environ | environment).stdout
        peaks[variant] = float(printed.split()[-1])
    return peaks


def report(cases: tuple[tuple[Any, ...], ...], device: str, compiled: bool, repeats: int) -> None:
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU, 1 thread"
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {where}{', compiled' if compiled else ''}; medians of {repeats}\n")
    print("| network | B x F x H x W | variant | forward s | step s | resident, held MiB | faster: forward, step | lighter: resident, held |")
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        taken = times(case, device, compiled, repeats)
        resident, held = (memory(case, device, compiled, environment) for environment in ({}, NO_HOLES))
        for variant in VARIANTS:
            of_plain, ours = ((*taken[one], resident[one], held[one]) for one in ("plain", variant))
            forward, whole, lighter, lighter_held = (plain / mine for plain, mine in zip(of_plain, ours))
            figures = f"{ours[0]:.3f} | {ours[1]:.3f} | {ours[2]:.0f}, {ours[3]:.0f} | {forward:.2f}, {whole:.2f} | {lighter:.2f}, {lighter_held:.2f}"
            print(f"| {case[0]} {case[1]} | {' x '.join(map(str, case[2:]))} | {variant} | {figures} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--memory", choices=VARIANTS, help="only print the peak memory of one variant on one case")
    parser.add_argument("--case", nargs=6, metavar=("PRESET", "STAGE", "B", "F", "H", "W"))
    arguments = parser.parse_args()
    torch.set_num_threads(1 if arguments.device == "cpu" else torch.get_num_threads())
    one = (*arguments.case[:2], *map(int, arguments.case[2:])) if arguments.case else None
    if arguments.memory:
        model = build(*one[:2], arguments.memory, arguments.device, arguments.compile)
        print(peak_mib(model, inputs(*one, arguments.device), arguments.device))
    else:
        report((one,) if one else CUDA_CASES if arguments.device == "cuda" else CPU_CASES, arguments.device, arguments.compile, arguments.repeats)


if __name__ == "__main__":
    main()
