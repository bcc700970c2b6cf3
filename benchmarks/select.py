"""How long a recipe takes over millions of clips: makes a corpus of measured clips (no footage), then selects from it.

    python -m benchmarks.select --clips 25000000 --folder /a/folder/with/10/GB

Prints seconds and CPU seconds for reading the columns a recipe rules on, deciding, and writing selection and ledger, with the peak memory of each.
The claim: under 10 s for 25 million clips on 2 idle cores. Give the same folder again to reuse the corpus.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus, open_corpus
from curate.deciding.decide import SOURCE_COLUMNS, columns_read, decide
from curate.deciding.funnel import funnel_table
from curate.select import select
from curate.storage.views import RELATIONS
from schemas.recipe import Recipe
from schemas.table import conform

CLIPS_OF_A_SOURCE, CLIP_S, FPS = 25, 5.0, 25
ROWS = 1_000_000
SCORERS = {"looks@1": ("aesthetic", "technical"), "words@1": ("text_area",), "marks@1": ("watermark",)}
RECIPE = Recipe(
    name="bench",
    keep={"motion": {"min": 0.5}, "aesthetic": {"min": 5}, "watermark": {"max": 0.3}, "text_area": {"max": 0.05}},
    caps={"clips": 20},
    sample={"clips": 500_000},
)


def make(folder: str, clips: int) -> Corpus:
    """A corpus of so many clips, a twentieth of them copies, laid down relation by relation as lining up leaves one."""
    corpus = open_corpus(folder, create=True)
    clips -= clips % CLIPS_OF_A_SOURCE
    for name in ("spans", *(f"measures/{maker}" for maker in SCORERS), "duplicates", "added", "readings"):
        parts = tuple(part for first in range(0, clips, ROWS) for part in corpus.store.parts.write(name, [_rows(name, first, min(ROWS, clips - first))]))
        corpus.store.parts.publish(lambda before, name=name, parts=parts: replace(before, parts={**before.parts, name: parts}))
    return corpus


def _rows(relation: str, first: int, count: int) -> pa.Table:
    """The rows of one relation that are about so many clips."""
    generator = np.random.default_rng([first, *relation.encode()])
    number = np.arange(first, first + count)
    source, place = number // CLIPS_OF_A_SOURCE, number % CLIPS_OF_A_SOURCE
    frames = int(CLIP_S * FPS)
    if relation == "spans":
        whole = {"start_frame": place * frames, "end_frame": (place + 1) * frames, "num_frames": np.full(count, frames)}
        size = {"width": np.full(count, 1280, np.int32), "height": np.full(count, 720, np.int32)}
        seconds = {"start_s": place * CLIP_S, "end_s": (place + 1) * CLIP_S, "motion": _measure(generator, count, 3)}
        return conform(pa.table({"clip_id": _clip_ids(source, place), "source_id": _source_ids(source), **seconds, **whole, **size}), RELATIONS[relation])
    if relation.startswith("measures/"):
        scale = {"aesthetic": 7.0, "technical": 1.0, "text_area": 0.2, "watermark": 1.0}
        columns = SCORERS[relation.removeprefix("measures/")]
        return pa.table({"clip_id": _clip_ids(source, place), **{name: _measure(generator, count, scale[name]) for name in columns}})
    if relation == "duplicates":
        copies = generator.random(count) < 0.05
        leader = np.where(copies, np.maximum(source - 1, 0), source)
        best = _clip_ids(leader, place)
        of = pc.if_else(pa.array(copies), best, pa.scalar(None, pa.string()))
        return pa.table({"clip_id": _clip_ids(source, place), "duplicate_of": of, "duplicate_cluster": best, "duplicate_rank": copies.astype(np.int32)})
    ids = _source_ids(np.unique(source))
    told: dict[str, Any] = {"source_id": ids, "status": ["ok"] * len(ids)}
    told |= {"license": ["CC0-1.0"] * len(ids)} if relation == "added" else {"duration_s": np.full(len(ids), CLIPS_OF_A_SOURCE * CLIP_S)}
    return conform(pa.table(told), RELATIONS[relation])


def _source_ids(source: np.ndarray) -> pa.Array:
    """Ids like those of sources, in the order of their numbers: `s` and 20 hexadecimal digits."""
    return _texts([b"s", *_digits(source, 20, 16)], len(source))


def _clip_ids(source: np.ndarray, place: np.ndarray) -> pa.Array:
    frames = int(CLIP_S * FPS)
    start, end = place * frames, (place + 1) * frames
    return _texts([b"s", *_digits(source, 20, 16), b"-", *_digits(start, 8, 10), b"-", *_digits(end, 8, 10)], len(source))


def _digits(number: np.ndarray, width: int, base: int) -> list[np.ndarray | bytes]:
    """Columns of digits, as bytes of text."""
    figures = np.frombuffer(b"0123456789abcdef", np.uint8)
    made: list[np.ndarray | bytes] = []
    for _ in range(width):
        made.append(figures[number % base] if number.any() else b"0")
        number = number // base
    return made[::-1]


def _texts(columns: Sequence[np.ndarray | bytes], rows: int) -> pa.Array:
    """Texts of one width, from columns of bytes."""
    text = np.empty((rows, len(columns)), np.uint8)
    for place, column in enumerate(columns):
        text[:, place] = column if isinstance(column, np.ndarray) else column[0]
    offsets = np.arange(rows + 1, dtype=np.int32) * len(columns)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))


def _measure(generator: np.random.Generator, count: int, scale: float) -> np.ndarray:
    return np.round(generator.random(count) * scale, 4)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Prints what the block took."""
    began, cpu = time.perf_counter(), time.process_time()
    yield
    told = {"s": round(time.perf_counter() - began, 2), "cpu_s": round(time.process_time() - cpu, 2)}
    print(json.dumps({"step": what, **told, "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=25_000_000)
    parser.add_argument("--folder", required=True, help="where to make the corpus, or one made before")
    parser.add_argument("--steps", action="store_true", help="time reading, deciding and writing apart, instead of `select` as a whole")
    given = parser.parse_args()
    print(json.dumps({"clips": given.clips, "cores": os.cpu_count(), "load": os.getloadavg()[0]}))
    if not Path(given.folder, "corpus.toml").exists():
        with timed("make the corpus"):
            make(given.folder, given.clips)
    corpus = open_corpus(given.folder)
    if not given.steps:
        with timed("select"):
            selection = select(corpus, RECIPE)
        print(json.dumps({"kept": selection.clips, "of": selection.funnel[0].left_clips}))
        return
    with timed("read the columns"):
        clips = corpus.table("clips", columns=sorted(columns_read(RECIPE)), encoded=True)
    with timed("read sources and gaps"):
        sources, gaps = corpus.table("sources", columns=SOURCE_COLUMNS), corpus.read("gaps")
    with timed("decide"):
        decision = decide(RECIPE, clips, sources, gaps, on=date(2026, 1, 1))
    with timed("write"):
        corpus.replace("selections/bench", decision.selection)
        corpus.replace("funnels/bench", funnel_table(decision.funnel))
        corpus.replace("verdicts/bench", decision.verdicts.pieces(), in_order=True)


if __name__ == "__main__":
    main()
