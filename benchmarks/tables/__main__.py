"""What the tables of a corpus should live in: our commits as files, Delta and Lance, measured against what the design asks for.

    python -m benchmarks.tables [--clips 25000000] [--commits 1000] [--results benchmarks/results/tables-cpu.md]

Prints and writes a table. Seconds of CPU are those of this process and its children; wall clock suffers from whatever else runs.
Delta and Lance are not dependencies of clipmill: install `deltalake` and `pylance` to measure them; what is absent is left out.
"""

import argparse
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.tables.base import Tables
from benchmarks.tables.delta import Delta
from benchmarks.tables.figures import Figures, on_disk
from benchmarks.tables.lance import Lance
from benchmarks.tables.ours import Ours
from benchmarks.tables.rows import CLIPS_A_SOURCE, PICTURE_BYTES, clip_names, measure_rows, picture_rows, span_rows
from benchmarks.tables.writers import killed_writers, many_writers


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
    names = [name for first in np.random.default_rng(0).choice(sources, 32, replace=False) for name in clip_names(int(first), 1)[:1]]
    assert figures.timed("spans of 32 clips at random", lambda: tables.spans_of(names)) == 32
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
            killed_writers(kind, Path(folder) / "killed", figures)
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
