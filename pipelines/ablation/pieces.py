"""Pieces: what was already made, kept under the digest of what it was made from, so that nothing is made twice."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.storage.atomic import filesystem_of, overwrite

MADE_FROM, DONE = "made-from.json", "done.json"
DIGEST_CHARACTERS = 20

Facts = Mapping[str, Any]
Build = Callable[[Path], Facts]


@dataclass(frozen=True)
class Piece:
    """One finished piece.

    Attributes:
        kind: what it is, such as `shards` or `training`; the folder of its siblings.
        digest: of its kind and of everything it was made from.
        folder: where it lies.
        facts: what its builder told of it, and `seconds`, the time the last attempt took.
        fresh: whether this call made it, rather than found it.
    """

    kind: str
    digest: str
    folder: Path
    facts: Facts
    fresh: bool


def digest_of(content: Any) -> str:
    """The digest of JSON values, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]


class Pieces:
    """A folder of pieces: `KIND/DIGEST/`, each with what it was made from, and `done.json` once it is whole."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, kind: str, made_from: Facts) -> Piece | None:
        """The piece, if it was finished before."""
        digest = digest_of([kind, made_from])
        folder = self.root / kind / digest
        done = folder / DONE
        return Piece(kind, digest, folder, json.loads(done.read_text(encoding="utf-8")), fresh=False) if done.exists() else None

    def make(self, kind: str, made_from: Facts, build: Build, *, resumable: bool = False) -> Piece:
        """The piece: found, or built into its folder by `build`, which returns what is worth knowing of it.

        An interrupted piece is begun anew, or handed its folder as it was left where it says it is `resumable`.
        """
        found = self.find(kind, made_from)
        if found is not None:
            return found
        digest = digest_of([kind, made_from])
        folder = self.root / kind / digest
        if folder.exists() and not resumable:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / MADE_FROM, made_from)
        began = time.monotonic()
        facts = {**build(folder), "seconds": round(time.monotonic() - began, 3)}
        _write(folder / DONE, facts)
        return Piece(kind, digest, folder, facts, fresh=True)

    def all(self, kind: str) -> list[Piece]:
        """Every finished piece of a kind, in the order of their digests."""
        finished = sorted((self.root / kind).glob(f"*/{DONE}")) if (self.root / kind).is_dir() else []
        return [Piece(kind, done.parent.name, done.parent, json.loads(done.read_text(encoding="utf-8")), fresh=False) for done in finished]


def _write(path: Path, content: Facts) -> None:
    filesystem, where = filesystem_of(str(path))
    overwrite(filesystem, where, (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n").encode())
