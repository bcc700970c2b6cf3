"""Corpus: one folder that holds everything known about a body of footage; every step reads it, commits to it and resumes from it."""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from curate.storage import views
from curate.storage.atomic import create_if_absent, filesystem_of, overwrite
from curate.storage.columns import clips_side_by_side
from curate.storage.lineup import line_up
from curate.storage.parts import Rows
from curate.storage.relations import CHOSEN, RELATIONS
from curate.storage.sealed import sealed
from curate.storage.store import Snapshot, Store
from schemas.clip import CLIPS, SCORED
from schemas.table import conform, table_of

FORMAT = 1
SETTINGS = "corpus.toml"
SEARCHING = "searching"
"""Folder of a search for copies that is under way, or was interrupted."""
TABLES = ("sources", "shots", "clips", "captions", "ledger")
MEASURED = frozenset(field.name for field in SCORED)
GATHER_ONE_IN = 512
"""A commit in so many gathers loose commits, chosen by its key, so that no writer has to ask another whose turn it is."""


class CorpusError(RuntimeError):
    """Something about the corpus itself is wrong: it is absent, of another format, or has no such table."""


def open_corpus(url: str, create: bool = False) -> "Corpus":
    """Open a corpus, on a local disk or at any fsspec URL such as `s3://bucket/corpus`.

    Raises:
        CorpusError: there is none (and `create` is false), it cannot be reached, or it was made by a newer clipmill.
    """
    corpus = _reached(url, create)
    found = corpus.settings().get("corpus", {}).get("format")
    if found != FORMAT:
        raise CorpusError(f"{url}: the corpus has format {found}, and this clipmill reads format {FORMAT}")
    return corpus


def _reached(url: str, create: bool) -> "Corpus":
    """The corpus, once its storage has answered; what clients of object stores raise when it does not is of many kinds."""
    try:
        corpus = Corpus(url)
        if create:
            create_if_absent(corpus.filesystem, corpus.path(SETTINGS), f"[corpus]\nformat = {FORMAT}\n".encode())
        there = corpus.filesystem.exists(corpus.path(SETTINGS))
    except (FileExistsError, NotADirectoryError):
        raise CorpusError(f"{url}: there is a file where the folder of the corpus should be; name another folder") from None
    except Exception as error:
        if "://" not in str(url):
            raise
        raise CorpusError(f"{url}: cannot be reached: {error}; check the address and the credentials of this storage") from None
    if not there:
        raise CorpusError(f"{url}: there is no corpus here (no {SETTINGS}); `clipmill add FOOTAGE --corpus {url}` makes one")
    return corpus


class Corpus:
    """A corpus at `url`; cheap to open, safe to use from several processes, pickles."""

    def __init__(self, url: str) -> None:
        self.filesystem, self._root = filesystem_of(str(url))
        self.url = self._root if "://" not in str(url) else str(url).rstrip("/")
        self.store = Store(self.filesystem, self.path("tables"))

    def __reduce__(self) -> tuple[type["Corpus"], tuple[str]]:
        return Corpus, (self.url,)

    def path(self, *parts: str) -> str:
        """The path of something below the corpus, on its filesystem."""
        return "/".join((self._root, *parts))

    @property
    def folder(self) -> Path | None:
        """Where it lies; None where it is not on a file system."""
        return Path(self._root) if isinstance(self.filesystem, LocalFileSystem) else None

    # Writing

    def append(self, name: str, rows: pa.Table, key: str) -> None:
        """Commit rows of one relation; the same key twice is one commit."""
        self.commit(key, {name: rows})

    def commit(self, key: str, tables: Mapping[str, pa.Table | Path]) -> None:
        """Commit rows of several relations at once, all or nothing; the same key twice is one commit.

        Relations that are committed together once should always be. Rows too many for memory may lie in a Parquet file.
        """
        drawn = int(hashlib.sha256(key.encode()).hexdigest(), 16) % GATHER_ONE_IN == 0
        if self.store.commit(key, tables) and drawn:
            self.gather(GATHER_ONE_IN)

    def replace(self, name: str, rows: Rows, *, in_order: bool = False) -> None:
        """Swap a derived relation as a whole; rows that are `in_order` are kept in theirs."""
        self.store.replace(name, rows, in_order=in_order)

    def replace_together(self, relations: Mapping[str, Rows], in_order: frozenset[str] = frozenset()) -> None:
        """Swap several derived relations in one step; those `in_order` are kept in theirs."""
        self.store.replace_together(relations, in_order)

    def choose(self, makers: Mapping[str, str]) -> None:
        """State which scorer's values columns of `clips` show; columns not named keep what was stated before."""
        chosen = {**self._stated(), **makers}
        self.replace("chosen", table_of([{"column": name, "maker": maker} for name, maker in sorted(chosen.items())], CHOSEN))

    def forget(self, *names: str) -> None:
        """Drop relations with their keys, to have them made anew (after a change of splitter, say). What was committed together goes together."""
        self.store.forget(frozenset(names))

    def note(self, section: str, values: Mapping[str, str]) -> None:
        """Record facts in a section of `corpus.toml`, such as the versions that measured the corpus; one writer at a time."""
        settings = self.settings()
        settings[section] = {**settings.get(section, {}), **values}
        lines = [line for name, told in sorted(settings.items()) for line in (f"[{name}]", *_toml_lines(told), "")]
        overwrite(self.filesystem, self.path(SETTINGS), sealed("\n".join(lines)))

    def gather(self, least: int = 1) -> int:
        """Gather at least so many small commits into large files; how many were. Never needed, but it makes reading fast."""
        return self.store.gather(least)

    def line_up(self) -> list[str]:
        """Sort the relations about clips alike, so that columns of millions of clips are read without a join; those that were rewritten.

        Worth it before decisions on a large corpus, and quick where nothing changed.
        """
        return line_up(self.store, [*self.names("measures/"), *self.names("duplicates"), *self.names("semantic")])

    # Reading

    def committed(self, name: str) -> frozenset[str]:
        """The keys under which rows of a relation were committed: what a step need not do again."""
        return self.store.committed(name)

    def names(self, prefix: str = "") -> list[str]:
        """The relations that have been written, such as `measures/…`."""
        return sorted(name for name in self.store.now().names() if name.startswith(prefix))

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A stored relation as it is, in no particular order; empty where nothing was committed yet.

        Raises:
            CorpusError: there can be no such relation, or a selection or embedding of that name was never made.
        """
        rows = self.store.consistently(lambda snapshot: self.store.read(snapshot, name, columns))
        if rows is None:
            return self._empty(name, columns)
        schema = RELATIONS.get(name)
        return rows if schema is None or columns is not None else conform(rows, schema)

    def batches(self, name: str, columns: list[str]) -> Iterator[pa.Table]:
        """A stored relation a stretch at a time, for what does not fit in memory; nothing where it was not written. Only while nobody gathers."""
        snapshot = self.store.now()
        return self.store.batches(snapshot, name, columns) if name in snapshot.names() else iter(())

    def table(self, name: str, selection: str | None = None, columns: Sequence[str] | None = None, *, encoded: bool = False) -> pa.Table:
        """A table people query, each row once, sorted, committed rows only.

        Args:
            name: `sources`, `shots`, `clips`, `captions` or `ledger`.
            selection: whose ledger; the last one made when None.
            columns: only these; fewer columns are faster.
            encoded: of clips, `source_id` may come as a dictionary, which is ten times smaller.
        """
        if name == "clips" and columns is not None:
            return self.store.consistently(lambda snapshot: self._clips(snapshot, columns, encoded))
        view = views.sources(columns) if name == "sources" else self._view(name, selection)
        return views.run(view, {relation: self._needed(relation, only) for relation, only in view.reads.items()}, columns)

    def about(self, name: str, clip_ids: Sequence[str]) -> pa.Table:
        """The rows of `sources`, `clips` or `captions` that are about some clips (sorted by id); reads only what can hold them."""
        if name == "sources":
            return self.sources(sorted({source_of(clip_id) for clip_id in clip_ids}))
        return self._about(self._view(name, None), "clip_id", clip_ids)

    def sources(self, source_ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of some sources (sorted by id), or only these columns of them; reads only what can hold them."""
        return self._about(views.sources(columns), "source_id", source_ids)

    def _about(self, view: views.View, of: str, ids: Sequence[str]) -> pa.Table:
        def relation(name: str, columns: Sequence[str] | None) -> pa.Table:
            rows = self.store.consistently(lambda snapshot: self.store.read(snapshot, name, columns, ids, of=of))
            known = RELATIONS.get(name, CLIPS)
            nothing = pa.schema([field for field in known if columns is None or field.name in columns]).empty_table()
            return self._formed(name, columns, nothing if rows is None else rows)

        return views.run(view, {name: relation(name, columns) for name, columns in view.reads.items()})

    def makers(self) -> dict[str, str]:
        """Column of `clips` to the scorer (`name@version-digest8`) whose values it shows: the one stated, or the latest version."""
        snapshot, stated = self.store.now(), self._stated()
        found: dict[str, str] = {}
        for relation in sorted(self.names("measures/"), key=version_order):
            maker = relation.removeprefix("measures/")
            columns = self.store.columns(snapshot, relation)
            found.update({name: maker for name in columns if name in MEASURED and stated.get(name, maker) == maker})
        return found

    def selections(self) -> list[str]:
        """Names of the selections made, the last one last."""
        made = self.store.now().generation.replaced
        names = sorted(self.names("verdicts/"), key=lambda name: (made.get(name, 0), name))
        return [name.removeprefix("verdicts/") for name in names]

    def proxies(self, clip_ids: Sequence[str], kind: str = "frame") -> pa.Table:
        """Proxies of some clips (schema PROXIES), clips in the order asked, then by `proxy_index`.

        Proxies are committed under their source's id, which is what makes this quick on a corpus of any size.
        """
        place = {clip_id: number for number, clip_id in enumerate(clip_ids)}
        keys = frozenset(source_of(clip_id) for clip_id in clip_ids)
        rows = self.store.consistently(lambda snapshot: self.store.read(snapshot, "proxies", ids=sorted(place), keys=keys))
        rows = conform(rows if rows is not None else self._empty("proxies"), RELATIONS["proxies"])
        rows = rows.filter(pc.equal(rows["kind"], kind))
        rows = rows.append_column("place", pa.array([place[clip_id] for clip_id in rows["clip_id"].to_pylist()], pa.int64()))
        return rows.sort_by([("place", "ascending"), ("proxy_index", "ascending")]).drop_columns(["place"])

    def settings(self) -> dict[str, dict[str, Any]]:
        """What `corpus.toml` says.

        Raises:
            CorpusError: it cannot be understood.
        """
        try:
            return tomllib.loads(self.filesystem.cat_file(self.path(SETTINGS)).decode())
        except ValueError as error:
            raise CorpusError(f"{self.path(SETTINGS)}: is damaged ({error}); restore it from a copy of the corpus") from None

    def export(self, folder: str | Path) -> list[Path]:
        """Write every table people query as plain Parquet, and the ledger of each selection; the files written."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        wanted: list[tuple[str, str, str | None]] = [(name, name, None) for name in TABLES if name != "ledger"]
        wanted += [(f"ledger-{selection}", "ledger", selection) for selection in self.selections()]
        written = []
        for file, name, selection in wanted:
            written.append(folder / f"{file}.parquet")
            pq.write_table(self.table(name, selection).combine_chunks(), written[-1], compression="zstd")
        return written

    def _clips(self, snapshot: Snapshot, columns: Sequence[str], encoded: bool) -> pa.Table:
        """Some columns of `clips`: put side by side where relations line up, which takes seconds for millions of clips, else joined."""
        makers = self.makers()
        found = clips_side_by_side(self.store, snapshot, makers, columns, encoded)
        if found is not None:
            return found
        view = views.clips(makers, columns)
        return views.run(view, {relation: self._needed(relation, only) for relation, only in view.reads.items()}, columns)

    def _needed(self, relation: str, columns: Sequence[str] | None) -> pa.Table:
        """A relation with at least the columns a view reads, null where it was stored without them."""
        return self._formed(relation, columns, self.read(relation, None if columns is None else list(columns)))

    def _formed(self, relation: str, columns: Sequence[str] | None, rows: pa.Table) -> pa.Table:
        """Rows with exactly the columns asked for, where it is known which type they have."""
        schema = RELATIONS.get(relation)
        return rows if schema is None else conform(rows, schema if columns is None else pa.schema([schema.field(name) for name in columns]))

    def _stated(self) -> dict[str, str]:
        chosen = self.read("chosen")
        return dict(zip(chosen["column"].to_pylist(), chosen["maker"].to_pylist()))

    def _view(self, name: str, selection: str | None) -> views.View:
        if name == "clips":
            return views.clips(self.makers())
        if name in ("shots", "captions"):
            return views.stored(name)
        if name != "ledger":
            raise CorpusError(f"there is no table `{name}`; the tables are {', '.join(TABLES)}")
        made = self.selections()
        if not made or selection not in (None, *made):
            told = f"the selections are {', '.join(made)}" if made else "no selection was made yet"
            raise CorpusError(f"{self.url}: there is no ledger{f' of `{selection}`' if selection else ''}: {told} (`clipmill select --recipe R` makes one)")
        return views.ledger(selection or made[-1])

    def _empty(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        if name not in RELATIONS:
            family = name.split("/")[0]
            made = ", ".join(self.names(f"{family}/")) or "none"
            raise CorpusError(f"{self.url}: there is no relation `{name}`; of `{family}/` there are: {made}")
        schema = RELATIONS[name]
        return pa.schema([field for field in schema if columns is None or field.name in columns]).empty_table()


def source_of(clip_id: str) -> str:
    """The source a clip was cut from; its id is the first part of the clip's."""
    return clip_id.rsplit("-", 2)[0]


def version_order(relation: str) -> tuple[str, tuple[int, ...], str]:
    """Scorers by name, then by version as numbers, so that 10 comes after 9."""
    name, _, version = relation.partition("@")
    return name, tuple(int(number) for number in re.findall(r"\d+", version.split("-")[0])), version


def _toml_lines(values: Mapping[str, Any]) -> list[str]:
    """Text and numbers as TOML; JSON's way of quoting is TOML's too."""
    return [f"{json.dumps(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in sorted(values.items())]
