"""Writers: several processes that commit to one store at once, every tenth commit tried a second time."""

import multiprocessing
import queue
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables.base import Tables
from benchmarks.tables.figures import Figures, on_disk
from benchmarks.tables.rows import CLIPS_A_SOURCE, reading_of, source_name

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


def killed_writers(kind: type[Tables], folder: Path, figures: Figures, kills: int = 6, commits: int = 100) -> None:
    """Kill a writer at random moments and let the next do all again: what was torn in between, and whether every row is there once at the end."""
    folder.mkdir()
    context, rng, torn = multiprocessing.get_context("spawn"), np.random.default_rng(0), 0
    for _ in range(kills):
        latencies = context.Queue()
        writer = context.Process(target=write_some, args=(kind, folder, 0, commits * WRITERS, latencies))
        writer.start()
        latencies.get()
        time.sleep(float(rng.uniform(0.0, 0.2)))
        writer.kill()
        writer.join()
        counts = {name: kind(folder).rows(name) for name in ("spans", "shots")}
        torn += counts["spans"] != counts["shots"]
    write_some(kind, folder, 0, commits * WRITERS, queue.SimpleQueue())
    told = {name: kind(folder).rows(name) for name in ("spans", "shots", "readings")}
    expected = {"spans": commits * CLIPS_A_SOURCE, "shots": commits * CLIPS_A_SOURCE, "readings": commits}
    figures.told[f"writer killed {kills} times: relations of one commit apart"] = f"{torn} times"
    figures.told["rows too many or too few once done again"] = str(sum(abs(told[name] - expected[name]) for name in told))
    print(figures.name, figures.told[f"writer killed {kills} times: relations of one commit apart"], told, flush=True)
