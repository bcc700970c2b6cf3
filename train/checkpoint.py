"""What a run leaves on disk: each file and folder whole or absent, and enough to go on, to sample, and to say what was trained on.

FOLDER/run.json            the run file, as it was understood
FOLDER/metrics.jsonl       one line for each logged step and validation
FOLDER/state/TASK.pt       a phase under way: step, weights, their average, optimizer
FOLDER/cascade/            what can be sampled: a folder for each part, run.json, lineage.json, model_index.json
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from schemas.document import DocumentError, parse_document
from schemas.run import TrainingRun
from train.autoencoder import PatchAutoencoder
from train.shards import Shards
from train.unet import VideoUNet

RUN, LINEAGE = "run.json", "lineage.json"
PARTIAL = ".partial"
UNET, AUTOENCODER = ("train.unet", "VideoUNet"), ("train.autoencoder", "PatchAutoencoder")
COMPONENTS = {"autoencoder": AUTOENCODER, "base": UNET, "interpolation": UNET, "vsr": UNET}


def write_json(path: Path, value: Any) -> None:
    """Write JSON under its name in one step."""
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, ensure_ascii=False, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def begin(folder: Path, run: TrainingRun, shards: Shards) -> None:
    """Make the folder of a run, or check that it is this run's.

    Raises:
        DocumentError: the folder holds another run, or the same run on other shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    (folder / "cascade").mkdir(exist_ok=True)
    told = run.model_dump(mode="json")
    lineage = {"shards": shards.lineage(), "run": told, "versions": versions(), "commit": commit()}
    if (folder / RUN).exists():
        before = json.loads((folder / "cascade" / LINEAGE).read_text())
        # Read as a document, so that settings that came after it have their defaults.
        known = parse_document(before["run"], TrainingRun, str(folder / "cascade" / LINEAGE)).model_dump(mode="json")
        changed = sorted(name for name in told if told[name] != known[name])
        if changed:
            raise DocumentError(f"{folder} holds another run (it differs in {', '.join(changed)}); give a new folder, or the run file it was made with")
        if before["shards"] != lineage["shards"]:
            raise DocumentError(f"{folder} was trained on other shards than {run.shards} now holds; give a new folder")
        return
    write_json(folder / "cascade" / LINEAGE, lineage)
    write_json(folder / "cascade" / RUN, told)
    write_json(folder / RUN, told)


def read_run(cascade: Path) -> TrainingRun:
    """The run that made a cascade.

    Raises:
        DocumentError: the folder is no cascade.
    """
    path = next((found for found in (cascade / RUN, cascade / "cascade" / RUN) if found.exists()), None)
    if path is None:
        raise DocumentError(f"{cascade}: not a checkpoint (no {RUN} in it); give the folder that `clipmill train` printed")
    return parse_document(json.loads(path.read_text()), TrainingRun, str(path))


def mapped(state: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A state of nested dictionaries and lists with every tensor changed."""
    if isinstance(state, torch.Tensor):
        return change(state)
    if isinstance(state, dict):
        return {key: mapped(value, change) for key, value in state.items()}
    return [mapped(value, change) for value in state] if isinstance(state, list) else state


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Replace a phase's state in one step, so that a crash leaves the former or the new one."""
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def load_state(path: Path, device: torch.device) -> dict[str, Any] | None:
    """A phase's state, or None where it has none. Runs no code from the file."""
    return torch.load(path, map_location=device, weights_only=True) if path.exists() else None


def save_component(network: Any, folder: Path) -> None:
    """Write a finished part of the cascade, whole or not at all."""
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    network.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def write_index(cascade: Path, run: TrainingRun) -> None:
    """Say which parts there are, in the form `Cascade.from_pretrained` reads."""
    there = {name: (cascade / name).exists() for name in COMPONENTS}
    parts = {name: list(COMPONENTS[name]) if present else [None, None] for name, present in there.items()}
    told = {"_class_name": "Cascade", "_diffusers_version": importlib.metadata.version("diffusers"), **parts, "run": run.model_dump(mode="json")}
    write_json(cascade / "model_index.json", told)


def load_component(cascade: Path, component: str) -> Any:
    """A finished part of a cascade, in eval mode.

    Raises:
        DocumentError: the run has not trained that part.
    """
    folder = cascade / component
    if not folder.exists():
        there = sorted(found.name for found in cascade.iterdir() if (found / "config.json").exists())
        raise DocumentError(f"{cascade} has no `{component}`; it has {', '.join(there) or 'nothing yet'}. Train that phase first")
    kind: Any = PatchAutoencoder if component == "autoencoder" else VideoUNet
    return kind.from_pretrained(folder, local_files_only=True).eval()


def versions() -> dict[str, str]:
    """What the numbers depend on, by name and version."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "transformers", "av", "opencv-python-headless", "numpy")}
    return {"python": platform.python_version(), "machine": platform.machine(), **packages}


def commit() -> str | None:
    """The commit of the checkout that clipmill runs from, marked where files differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        told = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=here, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()
