"""Whole files at once, on any filesystem: created if absent, or swapped, and never seen half-written."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from typing import IO

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

TEMPORARY = ".unfinished-"
"""Prefix of local files being written; nothing reads them, and whoever lists a folder skips them."""


COPIED_BYTES = 4 << 20


def filesystem_of(url: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a folder or file and its path there; a plain path is local, made absolute, and never taken for a URL."""
    if "://" not in url:
        return LocalFileSystem(), os.path.abspath(url)
    filesystem, path = url_to_fs(url, use_listings_cache=False)
    return filesystem, path.rstrip("/")


def digest_of(filesystem: AbstractFileSystem, path: str) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        FileNotFoundError: it is not there.
    """
    with filesystem.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_if_absent(filesystem: AbstractFileSystem, path: str, data: bytes) -> bool:
    """Write a file unless there is one already; whether this call wrote it.

    Exactly one of any number of racing writers gets True: by a hard link to a finished file on local disks, by a conditional
    write on object stores (`If-None-Match: *` on S3).
    """
    if isinstance(filesystem, LocalFileSystem):
        return _link_if_absent(path, lambda file: file.write(data))
    return _put_if_absent(filesystem, path, lambda: filesystem.pipe_file(path, data, mode="create"))


def create_large_if_absent(filesystem: AbstractFileSystem, path: str, write: Callable[[IO[bytes]], object]) -> bool:
    """As `create_if_absent`, for a file too large for memory: `write` writes it to a local file first, if there is none already."""
    if isinstance(filesystem, LocalFileSystem):
        return _link_if_absent(path, write)
    with tempfile.NamedTemporaryFile(prefix="clipmill-create-") as file:

        def put() -> None:
            write(file)
            file.flush()
            filesystem.put_file(file.name, path, mode="create")

        return _put_if_absent(filesystem, path, put)


def overwrite(filesystem: AbstractFileSystem, path: str, data: bytes) -> None:
    """Write a file in place of whatever is there, in one step."""
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, data)
        return
    unfinished = _write_beside(path, lambda file: file.write(data))
    os.replace(unfinished, path)
    _flush_folder(os.path.dirname(path))


def put_file(file: IO[bytes], filesystem: AbstractFileSystem, path: str) -> None:
    """As `overwrite`, of a file that is open."""
    file.seek(0)
    if not isinstance(filesystem, LocalFileSystem):
        with filesystem.open(path, "wb") as remote:
            shutil.copyfileobj(file, remote, COPIED_BYTES)
        return
    os.replace(_write_beside(path, lambda local: shutil.copyfileobj(file, local, COPIED_BYTES)), path)
    _flush_folder(os.path.dirname(path))


def names_in(filesystem: AbstractFileSystem, folder: str) -> list[str]:
    """Names of the finished files and folders in a folder, sorted; none where there is no such folder."""
    return [name for name in _all_names_in(filesystem, folder) if not name.startswith(TEMPORARY)]


def unfinished_in(filesystem: AbstractFileSystem, folder: str) -> list[str]:
    """Names of the files in a folder that are being written, or were when their writer was killed."""
    return [name for name in _all_names_in(filesystem, folder) if name.startswith(TEMPORARY)]


def _all_names_in(filesystem: AbstractFileSystem, folder: str) -> list[str]:
    try:
        entries = filesystem.ls(folder, detail=False)
    except FileNotFoundError:
        return []
    return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry.rstrip("/") != folder.rstrip("/"))


def _put_if_absent(filesystem: AbstractFileSystem, path: str, put: Callable[[], object]) -> bool:
    if filesystem.exists(path):
        return False
    try:
        put()
    except FileExistsError:
        return False
    except OSError as error:
        if "PreconditionFailed" in repr(error) or "pre-conditions" in str(error):
            return False
        raise
    return True


def _link_if_absent(path: str, write: Callable[[IO[bytes]], object]) -> bool:
    if os.path.lexists(path):
        return False
    unfinished = _write_beside(path, write)
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError:
        # Some filesystems have no hard links. There the later of two racing writers wins, still with a whole file.
        os.replace(unfinished, path)
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    _flush_folder(os.path.dirname(path))
    return True


def _write_beside(path: str, write: Callable[[IO[bytes]], object]) -> str:
    """A finished, flushed file beside `path`; nothing is left behind when the disk is full."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    unfinished = os.path.join(folder, f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        with open(unfinished, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise
    return unfinished


def _flush_folder(folder: str) -> None:
    """Make a new name survive a power cut, where the system lets folders be flushed."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
