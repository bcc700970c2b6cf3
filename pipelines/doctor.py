"""What this machine has for clipmill: packages, ffmpeg, models, cores, memory, disk, GPU; each with what to do if it is missing."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "open_clip_torch", "av", "pyarrow", "ray", "webdataset", "scenedetect-headless", "duckdb")
ROOM_GB = 5


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: the thing.
        found: what there is, in words.
        advice: what to do; empty when all is well.
        needed: whether clipmill cannot work without it.
    """

    what: str
    found: str
    advice: str = ""
    needed: bool = True


def examine(folder: str = ".") -> list[Finding]:
    """Everything worth knowing before a first run; decodes and trains nothing."""
    return [_python(), *(_package(name) for name in PACKAGES), _ffmpeg(), _machine(), _disk(folder), _gpu(), *_models()]


def _python() -> Finding:
    version = platform.python_version()
    good = version.startswith(("3.11.", "3.12."))
    return Finding("Python", version, "" if good else "clipmill is tested on Python 3.11 and 3.12")


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", f"pip install {name}, or reinstall clipmill")


def _ffmpeg() -> Finding:
    import imageio_ffmpeg

    try:
        path = imageio_ffmpeg.get_ffmpeg_exe()
        told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()[0]
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return Finding("ffmpeg", f"does not run: {error}", "pip install --force-reinstall imageio-ffmpeg")
    return Finding("ffmpeg", " ".join(told.split()[:3]))


def _machine() -> Finding:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    gigabytes = pages * size / 1e9
    advice = "" if gigabytes >= 6 else "the demo wants 6 GB of memory"
    return Finding("cores and memory", f"{os.cpu_count()} cores, {gigabytes:.0f} GB", advice, needed=False)


def _disk(folder: str) -> Finding:
    free_gb = shutil.disk_usage(Path(folder).resolve()).free / 1e9
    return Finding("free disk", f"{free_gb:.0f} GB", "" if free_gb > ROOM_GB else f"less than {ROOM_GB} GB is little for shards", needed=False)


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("GPU", f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")
    return Finding("GPU", "none: the `embedded` profile and the `tiny` preset need none", needed=False)


def _models() -> list[Finding]:
    from curate.models import list_models

    return [
        Finding(f"model {row['name']}", "here" if row["present"] else f"not here ({row['purpose']})", needed=row["source"].startswith("wheel"))
        for row in list_models()
    ]
