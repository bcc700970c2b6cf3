"""Workload: what is timed on a simulated cluster, run as its driver: `python -m benchmarks.chaos.workload FOOTAGE CORPUS`, with RAY_ADDRESS."""

import json
import sys
import time
from collections.abc import Callable, Iterator

import pyarrow as pa

from benchmarks.chaos.chain import SPLITTER
from curate.corpus import open_corpus
from curate.engine import run_on_ray
from curate.read import ReadVideos
from curate.sources import add_sources
from curate.stage import Resources, Stage
from pipelines.curate import pending_sources

WAITS, WAIT_S = 48, 0.5
LARGE_ROWS, LARGE_BYTES = 160, 4 << 20


class Wait(Stage):
    """Waits, as a captioner does for a server; an isolated stage of one CPU, so that a node holds one."""

    reads = writes = frozenset({"number"})
    resources = Resources(cpus=1.0, memory_gb=0.1, isolated=True)

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        time.sleep(WAIT_S)
        yield rows


class Make(Stage):
    """Makes large rows, faster than they are used."""

    reads = frozenset({"number"})
    writes = frozenset({"number", "large"})
    resources = Resources(cpus=0.3, memory_gb=0.1)
    batch_rows = 4

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        yield rows.append_column("large", pa.array([bytes(LARGE_BYTES)] * rows.num_rows, pa.binary()))


class Use(Stage):
    """Uses large rows slowly, and lets go of them."""

    reads = frozenset({"number", "large"})
    writes = frozenset({"number"})
    resources = Resources(cpus=0.3, memory_gb=0.1)
    batch_rows = 4

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        time.sleep(0.1)
        yield rows.select(["number"])


def main(footage: str, corpus_url: str) -> None:
    """Each kind of work once to warm up (workers start, modules are imported), and once timed."""
    for rows in (8, WAITS):
        _timed("wait", rows, lambda rows=rows: list(run_on_ray(numbers(rows), [Wait()])))  # type: ignore[misc]
    for rows in (8, LARGE_ROWS):
        _timed("large", rows, lambda rows=rows: list(run_on_ray(numbers(rows), [Make(), Use()])))  # type: ignore[misc]
    corpus = open_corpus(corpus_url, create=True)
    add_sources(corpus, [footage])
    waiting = pending_sources(corpus)
    for some in (waiting.slice(0, 2), waiting.slice(2)):
        _timed("read", some.num_rows, lambda some=some: list(run_on_ray(some, [ReadVideos(corpus.url, SPLITTER)])))  # type: ignore[misc]


def numbers(rows: int) -> pa.Table:
    """So many rows."""
    return pa.table({"number": list(range(rows))})


def _timed(what: str, rows: int, work: Callable[[], list[pa.Table]]) -> None:
    began = time.monotonic()
    made = work()
    print(json.dumps({"work": what, "rows": rows, "s": round(time.monotonic() - began, 1), "tables": len(made)}), flush=True)


if __name__ == "__main__":
    from benchmarks.chaos import workload  # by its name, so that workers find the stages

    workload.main(*sys.argv[1:])
