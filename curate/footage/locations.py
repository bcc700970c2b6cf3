"""Where footage lies: files below folders and URLs as text that names them for good, and a local copy of what is remote."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fsspec import AbstractFileSystem

from curate.footage.cache import put_in_cache, take_from_cache
from curate.storage.atomic import filesystem_of
from schemas.document import DocumentError

LOCAL_URL = "file://"
KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True)
class Location:
    """A file that was found.

    Attributes:
        uri: its name for good: an absolute path, or a URL.
        names: by which a rights file may call it: below the folder asked for, as typed, and absolute.
        stamp: changes when the file does; empty where it cannot be opened.
        problem: why it cannot be opened, if so.
    """

    uri: str
    names: tuple[str, ...]
    stamp: str = ""
    problem: str | None = None


def find_locations(footage: Sequence[str], besides: frozenset[str] = frozenset()) -> list[Location]:
    """Every file below the folders and URLs given, each once, sorted by its uri.

    Args:
        footage: files, folders or URLs.
        besides: absolute local paths that are not footage, such as the corpus and the rights file.

    Raises:
        DocumentError: one of them does not exist.
    """
    found: dict[str, Location] = {}
    for asked in footage:
        for location in _remote(asked) if "://" in asked and not asked.startswith(LOCAL_URL) else _local(_path_of(asked), asked, besides):
            before = found.get(location.uri)
            names = dict.fromkeys((before.names if before else ()) + location.names)
            found[location.uri] = Location(location.uri, tuple(names), location.stamp, location.problem)
    return [found[uri] for uri in sorted(found)]


def uri_of(path: bytes) -> str:
    """A local path as text: itself where it is UTF-8, else (or where it could be taken for a URL) a `file://` URL."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return LOCAL_URL + quote_from_bytes(path)
    return text if "://" not in text else LOCAL_URL + quote_from_bytes(path)


def is_local(uri: str) -> bool:
    """Whether a uri names a file of this machine."""
    return "://" not in uri or uri.startswith(LOCAL_URL)


@contextmanager
def local_copy(uri: str, folder: Path) -> Iterator[str]:
    """A local path for a uri, for as long as the context lasts; what is remote is copied into `folder`, and streamed once while the cache keeps it."""
    if is_local(uri):
        yield os.fsdecode(_path_of(uri))
        return
    copy = folder / f"remote-{_digest(uri)}"
    if not take_from_cache(uri, copy):
        filesystem, path = filesystem_of(uri)
        filesystem.get_file(path, str(copy))
        put_in_cache(uri, copy)
    try:
        yield str(copy)
    finally:
        os.unlink(copy)


def _path_of(uri: str) -> bytes:
    return unquote_to_bytes(uri.removeprefix(LOCAL_URL)) if uri.startswith(LOCAL_URL) else os.fsencode(uri)


def _local(asked: bytes, typed: str, besides: frozenset[str]) -> Iterator[Location]:
    root = os.path.abspath(asked)
    if not os.path.lexists(root):
        raise DocumentError(f"{typed}: there is no such file or folder")
    if not os.path.isdir(root):
        yield _examined(root, (os.path.basename(root), typed.encode(errors="surrogateescape")))
        return
    for path, problem in _walk(root, {os.fsencode(name) for name in besides}):
        below = os.path.relpath(path, root)
        names = (below, os.path.join(os.path.normpath(asked), below))
        yield Location(uri_of(path), _readable(*names, path), problem=problem) if problem else _examined(path, names)


def _walk(root: bytes, besides: set[bytes]) -> Iterator[tuple[bytes, str | None]]:
    """Files below a folder, links followed, with why a folder could not be read; a link back to a folder above it is a file with a problem."""
    waiting: list[tuple[bytes, frozenset[tuple[int, int]]]] = [(root, frozenset())]
    while waiting:
        folder, above = waiting.pop()
        try:
            status = os.stat(folder)
            entries = os.listdir(folder)
        except OSError as error:
            yield folder, f"the folder cannot be read: {(error.strerror or str(error)).lower()}"
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            yield folder, "a link that leads back to a folder above it"
            continue
        for path in (os.path.join(folder, entry) for entry in entries):
            if os.path.isdir(path) and path not in besides:
                waiting.append((path, above | {identity}))
            elif path not in besides:
                yield path, None


def _examined(path: bytes, names: tuple[bytes, ...]) -> Location:
    uri, told = uri_of(path), _readable(*names, path)
    try:
        status = os.stat(path)
    except OSError as error:
        what = "a link to nothing" if os.path.islink(path) and isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
        return Location(uri, told, problem=f"cannot be opened: {what}")
    if not stat.S_ISREG(status.st_mode):
        return Location(uri, told, problem=f"not a file but {KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}")
    told_by_system = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return Location(uri, told, _digest(repr(told_by_system)))


def _readable(*names: bytes) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.fsdecode(name).encode(errors="surrogateescape").decode(errors="backslashreplace") for name in names))


def _remote(asked: str) -> Iterator[Location]:
    filesystem, root = filesystem_of(asked)
    try:
        found = filesystem.find(root, detail=True) or {root: filesystem.info(root)}
    except (OSError, ValueError) as error:
        raise DocumentError(f"{asked}: cannot be listed: {error}") from None
    for path, told in found.items():
        below = path.removeprefix(root).lstrip("/") or path.rsplit("/", 1)[-1]
        uri = filesystem.unstrip_protocol(path)
        yield Location(uri, tuple(dict.fromkeys((below, uri))), _remote_stamp(filesystem, path, told))


def _remote_stamp(filesystem: AbstractFileSystem, path: str, told: dict[str, object]) -> str:
    known = [str(told[key]) for key in ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime", "created", "size") if told.get(key) is not None]
    return _digest(f"{path} {known}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
