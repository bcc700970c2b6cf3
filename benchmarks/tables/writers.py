"""Writers: several processes that commit to one store at once, every tenth commit tried a second time."""

import multiprocessing
import queue
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables.base import Tables
from benchmarks.tables.figures import Figures, on_disk
from benchmarks.tables.rows import reading_of, source_name

WRITERS = 4


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
