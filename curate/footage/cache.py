"""A bounded folder with copies of remote footage, so that measuring and packing need not stream again what adding has streamed."""

import contextlib
import hashlib
import os
import shutil
import uuid
from pathlib import Path

MOST_BYTES = 20e9


def cache_folder() -> Path:
    """`$CLIPMILL_CACHE/media`, or below the user's cache folder; removing it costs nothing but time."""
    home = os.environ.get("CLIPMILL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clipmill"
    return Path(home) / "media"


def take_from_cache(uri: str, to: Path) -> bool:
    """Give the cached copy of a uri the further name `to`; False where there is none."""
    kept = cache_folder() / _name(uri)
    try:
        _link(kept, to)
        os.utime(kept)
    except OSError:
        return to.exists()
    return True


def put_in_cache(uri: str, copy: Path, most_bytes: float = MOST_BYTES) -> None:
    """Keep a copy, and let go of those unused the longest beyond `most_bytes`. A cache that cannot be written is no error."""
    with contextlib.suppress(OSError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".unfinished-{uuid.uuid4().hex}"
        _link(copy, unfinished)
        os.replace(unfinished, folder / _name(uri))
        _shrink(folder, most_bytes)


def forget(uri: str) -> None:
    """Remove the cached copy of a uri."""
    (cache_folder() / _name(uri)).unlink(missing_ok=True)


def _link(existing: Path, to: Path) -> None:
    try:
        os.link(existing, to)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(existing, to)  # another disk, or one without hard links


def _shrink(folder: Path, most_bytes: float) -> None:
    entries = sorted(((entry.stat(), entry) for entry in os.scandir(folder)), key=lambda pair: pair[0].st_mtime, reverse=True)
    total = 0.0
    for status, entry in entries:
        total += status.st_size
        if total > most_bytes:
            os.unlink(entry.path)


def _name(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()
