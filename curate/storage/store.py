"""Where tables lie: a commit is one file, created if absent, and commits are gathered into large parts now and then.

    loose/GROUP/KEY.zip    one commit (curate/storage/commits.py)
    generations/, parts/    what commits were gathered into (curate/storage/parts.py)

Writers need no coordination: they only ever create files. Readers list the loose commits first and take the latest generation
second, so that a commit gathered meanwhile is found in the generation; a file that vanishes under a reader makes it look again.
"""

import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from curate.storage.atomic import create_large_if_absent, names_in, unfinished_in
from curate.storage.commits import Commit, StoreError, among, bundle, keys_table, relations_of, unbundle
from curate.storage.parts import TARGET_BYTES, Generation, Part, Parts, Rows

WHOLE_BYTES = 4 << 20
"""A commit of at most so much is read in one piece from an object store, where each look into it is a call of its own."""
KEYS = "keys"
"""The relation of gathered commits: their group and key, quoted as in a loose commit's path."""

RESTORE = "restore this file from a copy of the corpus and do the same again (`clipmill verify` lists all that is affected)"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Snapshot:
    """What is committed at one moment."""

    generation: Generation
    loose: tuple[Commit, ...]
    gathered: pa.Table

    def names(self) -> frozenset[str]:
        """Every relation with a commit."""
        return frozenset(self.generation.parts) - {KEYS} | {name for commit in self.loose for name in commit.relations}

    def loose_of(self, name: str) -> list[Commit]:
        """The loose commits of a relation whose key it was not committed under in another group before; of two such, the first."""
        found: dict[str, Commit] = {}
        for commit in self.loose:
            if name in commit.relations:
                found.setdefault(commit.key, commit)
        others = [group for group in pc.unique(self.gathered["group"]).to_pylist() if name in relations_of(group)]
        elsewhere = [Commit(group, commit.key) for commit in found.values() for group in others if group != commit.group]
        for commit, known in zip(elsewhere, among(elsewhere, self.gathered)):
            if known:
                found.pop(commit.key, None)
        return list(found.values())


class Store:
    """The tables below one folder of a filesystem."""

    def __init__(self, filesystem: AbstractFileSystem, root: str) -> None:
        self.filesystem = filesystem
        self.root = root
        self.parts = Parts(filesystem, root)
        self._gathered: tuple[int, pa.Table] = (0, keys_table([]))

    def commit(self, key: str, tables: Mapping[str, pa.Table | Path]) -> bool:
        """Commit rows of one or more relations under a key, all or nothing; False where that was done before.

        Rows may lie in a Parquet file, so that they need not fit in memory.
        """
        commit = Commit.of(list(tables), key)
        return create_large_if_absent(self.filesystem, f"{self.root}/{commit.path}", lambda file: bundle(tables, file))

    def replace(self, name: str, rows: Rows, *, in_order: bool = False) -> None:
        """Swap all rows of a relation in one step; rows that are `in_order` already are not sorted."""
        self.replace_together({name: rows}, frozenset([name] if in_order else []))

    def replace_together(self, relations: Mapping[str, Rows], in_order: frozenset[str] = frozenset()) -> None:
        """Swap all rows of several relations in one step: nobody sees some of them new and others old. Those `in_order` already are not sorted."""
        superseded = [commit for commit in self.now().loose if len(commit.relations) == 1 and commit.relations[0] in relations]
        fresh = self.parts.write_all(relations, in_order)
        keys = tuple(self.parts.write(KEYS, [keys_table(superseded)])) if superseded else ()

        def swapped(before: Generation) -> Generation:
            parts = {**before.parts, **fresh, KEYS: before.parts.get(KEYS, ()) + keys}
            return dataclasses.replace(before, parts=parts, replaced={**before.replaced, **dict.fromkeys(relations, before.number + 1)})

        before = self.parts.publish(swapped) or Generation()
        self.parts.remove(part.path for name in relations for part in before.parts.get(name, ()))
        self.parts.remove(commit.path for commit in superseded)

    def snapshot(self) -> Snapshot:
        """One look at what is committed; consistent without locks, see the head of this file."""
        listed = self._listed()
        generation = self.parts.latest()
        if self._gathered[0] != generation.number:
            found = [self.parts.read(part) for part in generation.parts.get(KEYS, ())]
            self._gathered = (generation.number, pa.concat_tables([keys_table([]), *found]))
        known = among(listed, self._gathered[1])
        return Snapshot(generation, tuple(commit for commit, old in zip(listed, known) if not old), self._gathered[1])

    def now(self) -> Snapshot:
        """What is committed now."""
        return self.consistently(lambda snapshot: snapshot)

    def consistently(self, ask: Callable[[Snapshot], Answer]) -> Answer:
        """Answer a question about a snapshot, looking again when a file is gathered away meanwhile."""
        missing: FileNotFoundError | None = None
        for _ in range(5):
            try:
                return ask(self.snapshot())
            except FileNotFoundError as error:
                missing = error
        raise StoreError(f"{self.root}: a file that the tables are made of is missing: {missing}; `clipmill verify` lists what is affected")

    def committed(self, name: str) -> frozenset[str]:
        """The keys under which rows of a relation were committed."""
        snapshot = self.now()
        groups = [group for group in pc.unique(snapshot.gathered["group"]).to_pylist() if name in relations_of(group)]
        gathered = snapshot.gathered.filter(pc.is_in(snapshot.gathered["group"], value_set=pa.array(groups, pa.string())))
        keys = {commit.key for commit in snapshot.loose_of(name)}.union(gathered["key"].to_pylist())
        return frozenset(unquote(key) for key in keys)

    def read(
        self,
        snapshot: Snapshot,
        name: str,
        columns: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        keys: frozenset[str] | None = None,
        of: str = "clip_id",
    ) -> pa.Table | None:
        """The rows of a relation; None where it has no commit.

        Args:
            columns: only these.
            ids: only rows with one of these as `of`; sorted.
            keys: of loose commits, only those under these keys.
            of: `clip_id`, or `source_id` of relations about sources.
        """
        if name not in snapshot.names():
            return None
        parts = [part for part in snapshot.generation.parts.get(name, ()) if part.may_hold(ids)]
        loose = [commit for commit in snapshot.loose_of(name) if keys is None or unquote(commit.key) in keys]
        where = None if ids is None else among_ids(of, ids)
        with ThreadPoolExecutor(8) as pool:
            large = list(pool.map(lambda part: self.parts.read(part, columns, where), parts))
            small = list(pool.map(lambda commit: self.read_loose(commit, name, columns, ids, of), loose))
        return pa.concat_tables([*large, *small], promote_options="default") if large or small else None

    def batches(self, snapshot: Snapshot, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of a relation a stretch at a time: a row group of a part, or a loose commit."""
        for part in snapshot.generation.parts.get(name, ()):
            yield from self.parts.groups(part, columns)
        for commit in snapshot.loose_of(name):
            yield self.read_loose(commit, name, columns)

    def columns(self, snapshot: Snapshot, name: str) -> list[str]:
        """Names of a relation's columns."""
        for part in snapshot.generation.parts.get(name, ()):
            return self.parts.columns(part)
        return [column for commit in snapshot.loose_of(name)[:1] for column in self.read_loose(commit, name).column_names]

    def read_loose(self, commit: Commit, name: str, columns: Sequence[str] | None = None, ids: Sequence[str] | None = None, of: str = "clip_id") -> pa.Table:
        """One relation's rows of a loose commit, or only those with one of the ids as `of`."""
        path = f"{self.root}/{commit.path}"
        with self.filesystem.open(path, "rb") as opened:
            whole = not isinstance(self.filesystem, LocalFileSystem) and opened.size <= WHOLE_BYTES
            rows = unbundle(io.BytesIO(opened.read()) if whole else opened, name, path, ids if of == "clip_id" else None)
        rows = rows if ids is None else rows.filter(among_ids(of, ids))
        return rows if columns is None else rows.select([column for column in columns if column in rows.column_names])

    def gather(self, least: int = 1, target_bytes: int = TARGET_BYTES) -> int:
        """Gather loose commits into large parts when there are at least `least`; how many were gathered.

        Safe beside writers, readers and other gatherers: nothing is removed before the generation that holds it is published.
        """
        snapshot = self.now()
        if len(snapshot.loose) < least:
            return 0
        names = sorted({name for commit in snapshot.loose for name in commit.relations} | {KEYS})
        small = {name: [part for part in snapshot.generation.parts.get(name, ()) if part.bytes < target_bytes // 4] for name in names}
        fresh = self._gather_rows(snapshot, small, target_bytes)

        def gathered(before: Generation) -> Generation | None:
            if any(before.parts.get(name, ()) != snapshot.generation.parts.get(name, ()) for name in small):
                return None
            kept = {name: tuple(part for part in before.parts.get(name, ()) if part not in small[name]) for name in small}
            return dataclasses.replace(before, parts={**before.parts, **{name: kept[name] + tuple(fresh[name]) for name in small}})

        if not fresh or self.parts.publish(gathered) is None:
            self.parts.remove(part.path for parts in fresh.values() for part in parts)
            return 0
        self.parts.remove(part.path for parts in small.values() for part in parts)
        listed = self._listed()
        self.parts.remove(commit.path for commit, known in zip(listed, among(listed, self.now().gathered)) if known)
        return len(snapshot.loose)

    def rewrite(self, change: Mapping[str, Callable[[pa.Table], pa.Table]], about: str | None = None) -> None:
        """Change gathered rows of relations in one step; parts whose rows stay the same keep their files. Gather first.

        Args:
            change: relation to what makes its rows from those before.
            about: only look at parts that may hold ids that begin so.
        """
        removed: list[Part] = []

        def rewritten(before: Generation) -> Generation:
            removed.clear()
            parts = dict(before.parts)
            for name in change.keys() & before.parts.keys():
                parts[name] = ()
                for part in before.parts[name]:
                    rows = self.parts.read(part) if about is None or part.may_begin(about) else None
                    changed = rows if rows is None else change[name](rows)
                    same = rows is None or changed is None or changed.equals(rows)
                    if same:
                        parts[name] += (part,)
                        continue
                    self._let_pass(part, name)
                    parts[name] += tuple(self.parts.write(name, [changed]))
                    removed.append(part)
            return dataclasses.replace(before, parts=parts)

        self.parts.publish(rewritten)
        self.parts.remove(part.path for part in removed)

    def forget(self, names: frozenset[str]) -> None:
        """Drop relations and the keys they were committed under, in one step, so that they can be made anew.

        Raises:
            StoreError: one of them was committed together with a relation that is to stay.
        """
        self.gather()
        groups = pc.unique(self.snapshot().gathered["group"]).to_pylist()
        torn = [group for group in groups if names & set(relations_of(group)) and not set(relations_of(group)) <= names]
        if torn:
            raise StoreError(f"cannot forget {sorted(names)} alone: {torn} were committed together")
        doomed = pa.array([group for group in groups if set(relations_of(group)) <= names], pa.string())
        emptied: dict[str, Callable[[pa.Table], pa.Table]] = {name: lambda rows: rows.slice(0, 0) for name in names}
        self.rewrite({**emptied, KEYS: lambda keys: keys.filter(pc.invert(pc.is_in(keys["group"], value_set=doomed)))})

    def remember_entry(self, number: int, digest: str, holds: Callable[[int, str], bool]) -> None:
        """Keep number and digest of the journal's last entry with what is committed.

        Args:
            holds: whether an entry is still what it was; one that is not stays remembered, which is the proof that the journal was changed.
        """

        def remembering(before: Generation) -> Generation | None:
            later = before.journal is None or (before.journal[0] < number and holds(*before.journal))
            return dataclasses.replace(before, journal=(number, digest)) if later else None

        self.parts.publish(remembering)

    def sweep(self) -> int:
        """Remove what killed writers left: files never finished, and parts that no generation names; how many. Only while nothing else writes."""
        folders = [f"{kind}/{name}" for kind in ("loose", "parts") for name in names_in(self.filesystem, f"{self.root}/{kind}")]
        left = [f"{folder}/{name}" for folder in folders for name in unfinished_in(self.filesystem, f"{self.root}/{folder}")]
        self.parts.remove(left)
        return len(left) + self.parts.sweep()

    def _let_pass(self, part: Part, name: str) -> None:
        """Stop a damaged part before its rows are written anew, which would make the damage look whole.

        Raises:
            StoreError: it is damaged.
            FileNotFoundError: it is gone; gathered away, or lost.
        """
        if damage := self.parts.damage(part):
            raise StoreError(f"{self.root}/{part.path}: {damage}, and with it {part.rows} rows of {name}; {RESTORE}")

    def _listed(self) -> list[Commit]:
        """Every loose commit's file, those that an interrupted gathering left behind included."""
        groups = names_in(self.filesystem, f"{self.root}/loose")
        return [Commit(group, file.removesuffix(".zip")) for group in groups for file in names_in(self.filesystem, f"{self.root}/loose/{group}")]

    def _gather_rows(self, snapshot: Snapshot, small: Mapping[str, Sequence[Part]], target_bytes: int) -> dict[str, list[Part]]:
        """New parts of each relation; none at all where another gatherer was faster. Leaves no file behind when it fails."""
        fresh: dict[str, list[Part]] = {name: [] for name in small}
        try:
            for name in small:
                for part in self.parts.write(name, self._rows_of(snapshot, name, small[name]), target_bytes):
                    fresh[name].append(part)
        except BaseException as error:
            self.parts.remove(part.path for parts in fresh.values() for part in parts)
            if isinstance(error, FileNotFoundError):
                return {}
            raise
        return fresh

    def _rows_of(self, snapshot: Snapshot, name: str, small: Sequence[Part]) -> Iterator[pa.Table]:
        """What gathering writes anew: parts too small to stay, then the loose commits."""
        for part in small:
            self._let_pass(part, name)
            yield from self.parts.groups(part)
        if name == KEYS:
            yield keys_table(snapshot.loose)
        for commit in snapshot.loose_of(name):
            yield self.read_loose(commit, name)


def among_ids(column: str, ids: Sequence[str]) -> pc.Expression:
    """Rows with one of the sorted ids; the ends are told as well, by which groups of rows without any are not read."""
    if not ids:
        return pc.scalar(False)
    field = pc.field(column)
    return (field >= ids[0]) & (field <= ids[-1]) & field.isin(pa.array(ids, pa.string()))
