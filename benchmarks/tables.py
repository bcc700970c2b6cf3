"""What the tables of a corpus should live in: our commits as files, Delta and Lance, measured against what the design asks for.

    python -m benchmarks.tables [--clips 25000000] [--commits 1000] [--results benchmarks/results/tables.md]

Prints and writes a table. Seconds of CPU are those of this process and its children; wall clock suffers from whatever else runs.
Delta and Lance are not dependencies of clipmill: install `deltalake` and `pylance` to measure them; what is absent is left out.
"""

import argparse
import importlib.util
import multiprocessing
import os
import queue
import resource
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.storage.columns import clips_side_by_side
from curate.storage.lineup import line_up
from curate.storage.relations import RELATIONS
from curate.storage.store import Store
from schemas.table import conform

WRITERS = 4
CLIPS_A_SOURCE = 25
PICTURE_BYTES = 6000
QUERY = "SELECT count(*) AS clips, sum(end_s - start_s) / 3600 AS hours FROM clips WHERE aesthetic >= 5 AND motion >= 1 AND watermark < 0.5"
RANGES = (pc.field("aesthetic") >= 5) & (pc.field("motion") >= 1) & (pc.field("watermark") < 0.5)


class Tables(ABC):
    """One way to keep tables, used as well as its makers intend."""

    name: str

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def commit(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        """Commit rows of several relations under a key, once."""

    @abstractmethod
    def keys(self) -> int:
        """How many keys were committed."""

    @abstractmethod
    def load(self, name: str, rows: Iterator[pa.Table]) -> None:
        """Put a large relation in place, batch by batch."""

    @abstractmethod
    def add_measure(self, name: str, rows: Iterator[pa.Table]) -> None:
        """Add columns for clips that are there already."""

    @abstractmethod
    def tidy(self) -> None:
        """Compaction, as recommended."""

    @abstractmethod
    def query(self) -> tuple[int, float]:
        """Clips and hours within ranges of three columns that three steps wrote."""

    @abstractmethod
    def pictures(self, ids: list[str]) -> int:
        """Bytes of the pictures of some clips."""


class Ours(Tables):
    """A commit is a file; commits are gathered into sorted Parquet parts; columns line up."""

    name = "commits as files + Parquet parts"

    def __init__(self, root: Path) -> None:
        from fsspec.implementations.local import LocalFileSystem

        super().__init__(root)
        self.store = Store(LocalFileSystem(), str(root))

    def commit(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        self.store.commit(key, tables)

    def keys(self) -> int:
        return len(self.store.committed("spans"))

    def load(self, name: str, rows: Iterator[pa.Table]) -> None:
        for number, batch in enumerate(rows):
            self.store.commit(f"{number:06d}", {name: batch})
            if number % 64 == 63:
                self.store.gather()

    def add_measure(self, name: str, rows: Iterator[pa.Table]) -> None:
        self.load(f"measures/{name}", rows)

    def tidy(self) -> None:
        self.store.gather()
        line_up(self.store, sorted(name for name in self.store.now().names() if name.startswith("measures/")))

    def query(self) -> tuple[int, float]:
        makers = {"aesthetic": "aesthetic@1", "watermark": "watermark@1"}
        clips = clips_side_by_side(self.store, self.store.now(), makers, ["start_s", "end_s", "aesthetic", "motion", "watermark"])
        assert clips is not None
        return counted(clips)

    def pictures(self, ids: list[str]) -> int:
        rows = self.store.read(self.store.now(), "proxies", ids=sorted(ids), keys=frozenset())
        return image_bytes(rows)


class Delta(Tables):
    """delta-rs: a table for each relation and each scorer; a commit's key is an application transaction."""

    name = "Delta (delta-rs)"

    def commit(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

        for name, rows in tables.items():
            path = self._path(name)
            if os.path.isdir(path) and DeltaTable(path).transaction_version(key) is not None:
                continue
            write_deltalake(path, rows, mode="append", commit_properties=CommitProperties(app_transactions=[Transaction(key, 1)], max_commit_retries=100))

    def keys(self) -> int:
        # delta-rs cannot list application transactions: what is done has to be read off the rows.
        return len(self._dataset("spans").to_table(columns=["source_id"])["source_id"].unique())

    def load(self, name: str, rows: Iterator[pa.Table]) -> None:
        from deltalake import write_deltalake

        for batch in rows:
            write_deltalake(self._path(name), batch, mode="append")

    def add_measure(self, name: str, rows: Iterator[pa.Table]) -> None:
        self.load(f"measures-{name}", rows)

    def tidy(self) -> None:
        from deltalake import DeltaTable

        for path in self.root.iterdir():
            DeltaTable(str(path)).optimize.compact(target_size=256 << 20)
            DeltaTable(str(path)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
            DeltaTable(str(path)).create_checkpoint()

    def query(self) -> tuple[int, float]:
        joined = "SELECT * FROM spans JOIN aesthetic USING (clip_id) JOIN watermark USING (clip_id)"
        with duckdb.connect(config={"threads": 2, "memory_limit": "6GB"}) as connection:
            for name in ("spans", "measures-aesthetic", "measures-watermark"):
                connection.register(name.removeprefix("measures-"), self._dataset(name))
            return connection.sql(QUERY.replace("FROM clips", f"FROM ({joined})")).fetchall()[0]

    def pictures(self, ids: list[str]) -> int:
        return image_bytes(self._dataset("proxies").to_table(filter=pc.field("clip_id").isin(ids)))

    def _path(self, name: str) -> str:
        return str(self.root / name.replace("/", "-"))

    def _dataset(self, name: str) -> Any:
        from deltalake import DeltaTable

        return DeltaTable(self._path(name)).to_pyarrow_dataset()


class Lance(Tables):
    """Lance: one dataset of clips that grows columns, one of proxies with an index."""

    name = "Lance"

    def commit(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        import lance

        for name, rows in tables.items():
            path = self._path(name)
            # Lance has no key of a commit: rows carry it, and a writer has to look before it appends.
            if os.path.isdir(path) and lance.dataset(path).count_rows(f"key = '{key}'"):
                continue
            lance.write_dataset(rows.append_column("key", pa.array([key] * rows.num_rows, pa.string())), path, mode="append")

    def keys(self) -> int:
        import lance

        return len(lance.dataset(self._path("spans")).to_table(columns=["key"])["key"].unique())

    def load(self, name: str, rows: Iterator[pa.Table]) -> None:
        import lance

        for batch in rows:
            lance.write_dataset(batch, self._path(name), mode="append")
        if name == "proxies":
            lance.dataset(self._path(name)).create_scalar_index("clip_id", index_type="BTREE")

    def add_measure(self, name: str, rows: Iterator[pa.Table]) -> None:
        import lance

        first = next(rows)
        batches = (batch for table in [first, *rows] for batch in table.drop_columns(["unmeasured"]).to_batches())
        lance.dataset(self._path("spans")).merge(pa.RecordBatchReader.from_batches(first.drop_columns(["unmeasured"]).schema, batches), left_on="clip_id")

    def tidy(self) -> None:
        from datetime import timedelta

        import lance

        for path in self.root.iterdir():
            lance.dataset(str(path)).optimize.compact_files()
            lance.dataset(str(path)).cleanup_old_versions(timedelta(0))

    def query(self) -> tuple[int, float]:
        import lance

        columns = ["start_s", "end_s", "aesthetic", "motion", "watermark"]
        return counted(lance.dataset(self._path("spans")).to_table(columns=columns, filter="aesthetic >= 5 AND motion >= 1 AND watermark < 0.5"))

    def pictures(self, ids: list[str]) -> int:
        import lance

        among = ", ".join(f"'{name}'" for name in ids)
        return image_bytes(lance.dataset(self._path("proxies")).to_table(columns=["image"], filter=f"clip_id IN ({among})"))

    def _path(self, name: str) -> str:
        return str(self.root / f"{name.replace('/', '-')}.lance")


def counted(clips: pa.Table) -> tuple[int, float]:
    """Clips and hours within the ranges."""
    kept = clips.filter(RANGES)
    return kept.num_rows, (pc.sum(pc.subtract(kept["end_s"], kept["start_s"])).as_py() or 0.0) / 3600


def image_bytes(rows: pa.Table | None) -> int:
    """Bytes of the pictures in some rows."""
    return 0 if rows is None else pc.sum(pc.binary_length(rows["image"])).as_py() or 0


# Rows like those of a corpus


def source_name(number: int) -> str:
    """An id as evenly spread as a digest."""
    return f"s{(number * 0x9E3779B97F4A7C15) % 2**64:016x}{number % 2**16:04x}"


def clip_names(first: int, count: int) -> list[str]:
    """Ids of the clips of some sources, in order of source and time."""
    return [f"{source_name(number)}-{at * 48:08d}-{at * 48 + 48:08d}" for number in range(first, first + count) for at in range(CLIPS_A_SOURCE)]


def span_rows(first: int, count: int) -> pa.Table:
    """Spans of some sources."""
    rng, rows = np.random.default_rng(first), count * CLIPS_A_SOURCE
    at = np.tile(np.arange(CLIPS_A_SOURCE), count)
    names = clip_names(first, count)
    made = {
        "clip_id": names,
        "source_id": [name[:21] for name in names],
        "start_s": at * 2.0,
        "end_s": at * 2.0 + 2.0,
        "start_frame": at * 48,
        "end_frame": at * 48 + 48,
        "num_frames": np.full(rows, 48),
        "fps": np.full(rows, 24.0),
        "width": np.full(rows, 1280),
        "height": np.full(rows, 720),
        **{name: rng.random(rows).round(4) * 4 for name in ("motion", "motion_mean", "motion_peak", "camera_motion", "brightness", "overlay_evidence")},
    }
    return conform(pa.table({name: pa.array(values) for name, values in made.items()}), RELATIONS["spans"])


def measure_rows(column: str, scale: float, first: int, count: int) -> pa.Table:
    """One scorer's values for the clips of some sources."""
    rng, names = np.random.default_rng([first, len(column)]), clip_names(first, count)
    nothing = pa.nulls(len(names), pa.map_(pa.string(), pa.string()))
    return pa.table({"clip_id": names, column: (rng.random(len(names)) * scale).round(4), "unmeasured": nothing})


def picture_rows(first: int, count: int) -> pa.Table:
    """One proxy for each clip of some sources."""
    names, noise = clip_names(first, count), np.random.default_rng(first).bytes(count * CLIPS_A_SOURCE * PICTURE_BYTES)
    images = [noise[at * PICTURE_BYTES : (at + 1) * PICTURE_BYTES] for at in range(len(names))]
    return pa.table({"clip_id": names, "kind": ["frame"] * len(names), "proxy_index": pa.array([0] * len(names), pa.int32()), "image": images})


def reading_of(number: int) -> dict[str, pa.Table]:
    """What reading one source commits."""
    name = source_name(number)
    rows = {"source_id": [name] * CLIPS_A_SOURCE, "shot_index": list(range(CLIPS_A_SOURCE))}
    shots = conform(pa.table(rows), RELATIONS["shots"])
    return {"spans": span_rows(number, 1), "shots": shots, "readings": conform(pa.table({"source_id": [name]}), RELATIONS["readings"])}


# Measuring


@dataclass
class Figures:
    """What was measured of one layout: what, and the figure."""

    name: str
    told: dict[str, str] = field(default_factory=dict)

    def timed(self, what: str, work: Callable[[], Any]) -> Any:
        """Do some work and note its seconds."""
        cpu, wall = cpu_s(), time.perf_counter()
        made = work()
        self.told[what] = f"{time.perf_counter() - wall:.2f} s ({cpu_s() - cpu:.2f} CPU)"
        print(f"{self.name}: {what}: {self.told[what]}", flush=True)
        return made


def cpu_s() -> float:
    """CPU seconds of this process and of its children that ended."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def on_disk(folder: Path) -> tuple[int, float]:
    """Files, and megabytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files) / 1e6


def write_some(kind: type[Tables], root: Path, writer: int, commits: int, latencies: Any) -> None:
    """One writer: its share of the commits, every tenth of them tried a second time."""
    tables = kind(root)
    for number in range(writer, commits, WRITERS):
        began = time.perf_counter()
        tables.commit(source_name(number), reading_of(number))
        latencies.put((number, time.perf_counter() - began))
        if number % 10 == 0:
            tables.commit(source_name(number), reading_of(number))


def many_writers(kind: type[Tables], folder: Path, commits: int, figures: Figures) -> None:
    """Commit from several processes at once."""
    folder.mkdir()
    kind(folder).commit(source_name(0), reading_of(0))
    context = multiprocessing.get_context("spawn")
    latencies = context.Queue()
    workers = [context.Process(target=write_some, args=(kind, folder, writer, commits, latencies)) for writer in range(WRITERS)]

    def run() -> list[tuple[int, float]]:
        for worker in workers:
            worker.start()
        told = []
        while any(worker.is_alive() for worker in workers) or not latencies.empty():
            try:
                told.append(latencies.get(timeout=0.5))
            except queue.Empty:
                continue
        for worker in workers:
            worker.join()
        return told

    told = figures.timed(f"{commits} commits of 3 relations by {WRITERS} writers", run)
    times = [seconds for _, seconds in sorted(told)]
    tenth = max(1, len(times) // 10)
    figures.told["median commit, first tenth / last tenth"] = f"{np.median(times[:tenth]) * 1e3:.1f} / {np.median(times[-tenth:]) * 1e3:.1f} ms"
    figures.told["writers that failed"] = str(sum(worker.exitcode != 0 for worker in workers))
    made = kind(folder)
    figures.told["keys found"] = f"{figures.timed('listing what is committed', made.keys)} of {commits}"
    figures.told["files before tidying"] = str(on_disk(folder)[0])
    figures.timed("tidying the commits", made.tidy)
    figures.told["files after tidying"] = str(on_disk(folder)[0])


def many_clips(kind: type[Tables], folder: Path, clips: int, figures: Figures) -> None:
    """A large corpus: load, add a measure, query."""
    folder.mkdir()
    tables, sources, at_once = kind(folder), clips // CLIPS_A_SOURCE, 20_000

    def batches(make: Callable[[int, int], pa.Table]) -> Iterator[pa.Table]:
        for first in range(0, sources, at_once):
            yield make(first, min(at_once, sources - first))

    figures.timed(f"loading {clips:,} spans", lambda: tables.load("spans", batches(span_rows)))
    figures.timed(
        "adding a measure", lambda: tables.add_measure("aesthetic@1" if kind is Ours else "aesthetic", batches(lambda *a: measure_rows("aesthetic", 10, *a)))
    )
    before = on_disk(folder)[1]
    figures.timed(
        "adding another", lambda: tables.add_measure("watermark@1" if kind is Ours else "watermark", batches(lambda *a: measure_rows("watermark", 1, *a)))
    )
    figures.told["megabytes written for it"] = f"{on_disk(folder)[1] - before:.0f}"
    figures.timed("tidying", tables.tidy)
    found = figures.timed("query, first", tables.query)
    figures.timed("query, again", tables.query)
    figures.told["clips and hours found"] = f"{found[0]:,} and {found[1]:,.0f}"
    figures.told["files and gigabytes"] = "{} and {:.2f}".format(*(value / scale for value, scale in zip(on_disk(folder), (1, 1e3))))


def many_pictures(kind: type[Tables], folder: Path, sources: int, figures: Figures) -> None:
    """Proxies of 32 clips in a row and of 32 clips at random, out of many."""
    folder.mkdir()
    tables = kind(folder)
    figures.timed(
        f"loading {sources * CLIPS_A_SOURCE:,} proxies", lambda: tables.load("proxies", (picture_rows(first, 500) for first in range(0, sources, 500)))
    )
    if kind is Ours:
        tables.tidy()
    names = sorted(clip_names(0, sources))
    rng = np.random.default_rng(0)
    neighbours, strangers = names[5000:5032], [names[place] for place in rng.choice(len(names), 32, replace=False)]
    for what, ids in (("32 neighbouring clips", neighbours), ("32 clips at random", strangers)):
        assert figures.timed(f"proxies of {what}", lambda ids=ids: tables.pictures(ids)) == 32 * PICTURE_BYTES


def report(measured: list[Figures], arguments: argparse.Namespace) -> str:
    """The figures as Markdown."""
    rows = list(dict.fromkeys(what for figures in measured for what in figures.told))
    lines = [f"| | {' | '.join(figures.name for figures in measured)} |", f"|---|{'---|' * len(measured)}"]
    lines += [f"| {what} | {' | '.join(figures.told.get(what, '') for figures in measured)} |" for what in rows]
    about = f"{arguments.clips:,} clips, {arguments.commits:,} commits, {arguments.pictures:,} sources with proxies; {os.cpu_count()} cores"
    return "\n".join(["# Tables: measured", "", f"`python -m benchmarks.tables` with {about}. Wall clock; CPU seconds in brackets.", "", *lines, ""])


def main() -> None:
    """Measure every layout that is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=25_000_000)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=8000)
    parser.add_argument("--only", nargs="*", default=["ours", "delta", "lance"])
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    there = {"ours": (Ours, "curate"), "delta": (Delta, "deltalake"), "lance": (Lance, "lance")}
    measured = []
    for kind, package in (there[name] for name in arguments.only):
        if importlib.util.find_spec(package) is None:
            print(f"{kind.name}: {package} is not installed, left out")
            continue
        figures = Figures(kind.name)
        with tempfile.TemporaryDirectory(prefix="clipmill-tables-") as folder:
            many_writers(kind, Path(folder) / "commits", arguments.commits, figures)
            many_pictures(kind, Path(folder) / "pictures", arguments.pictures, figures)
            shutil.rmtree(Path(folder) / "pictures")
            many_clips(kind, Path(folder) / "clips", arguments.clips, figures)
        measured.append(figures)
    told = report(measured, arguments)
    print(told)
    if arguments.results:
        arguments.results.write_text(told)


if __name__ == "__main__":
    main()
