"""Examining a file: which content it is, by its digest, and what its header says; or why it cannot be read."""

import hashlib
import os
from pathlib import Path
from typing import Any

from curate.footage.credentials import MARK, read_credentials
from curate.footage.locations import Location, local_copy
from curate.storage.relations import FROM_HEADER
from curate.video import MediaError, probe
from schemas.source import STATUS_FAILED, STATUS_OK

BLOCK_BYTES = 4 << 20


def examine(location: Location, folder: Path) -> dict[str, Any]:
    """One row of FOUND, without its number; a remote file is copied below `folder` for the while."""
    row: dict[str, Any] = {"uri": location.uri, "stamp": location.stamp, "names": list(location.names), "source_id": provisional_id(location.uri)}
    if location.problem:
        return {**row, "status": STATUS_FAILED, "rule": "open", "reason": location.problem}
    try:
        with local_copy(location.uri, folder) as path:
            row["sha256"], row["bytes"], marked = _digest(path)
            told = probe(path)
            credentials = read_credentials(path) if marked else None
    except MediaError as error:
        return {**row, "status": STATUS_FAILED, "rule": "probe", "reason": str(error)}
    except OSError as error:
        return {**row, "status": STATUS_FAILED, "rule": "open", "reason": f"cannot be read: {(error.strerror or str(error)).lower()}"}
    known = {name: getattr(told, name) for name in FROM_HEADER}
    return {
        **row,
        **known,
        "source_id": source_id(row["sha256"]),
        "warnings": list(told.warnings),
        "content_credentials": credentials,
        "status": STATUS_OK,
    }


def source_id(sha256: str) -> str:
    """The id of a source, from the digest of its content."""
    return "s" + sha256[:20]


def provisional_id(uri: str) -> str:
    """The id of a source whose content cannot be read, from its location."""
    return "p" + hashlib.sha256(uri.encode()).hexdigest()[:20]


def _digest(path: str) -> tuple[str, int, bool]:
    """sha256, size in bytes, and whether the content bears the mark of content credentials; in one pass."""
    digest, size, marked, tail = hashlib.sha256(), 0, False, b""
    # Since the folder was listed a pipe may have taken the file's place: opening it must not hold us up.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            marked = marked or MARK in tail + block
            tail = block[-len(MARK) :]
    return digest.hexdigest(), size, marked
