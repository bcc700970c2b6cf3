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
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

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
    """A corpus of so many clips, a twentieth of them copies."""
    corpus = open_corpus(folder, create=True)
    for start in range(0, clips, ROWS):
        count = min(ROWS, clips - start)
        tables = {name: conform(table, RELATIONS[name]) if name in RELATIONS else table for name, table in _tables(start, count)}
        sources = tables.pop("added")
        corpus.append("added", sources, f"rows{start}")
        corpus.commit(f"rows{start}", {name: tables.pop(name) for name in ("spans", "readings")})
        for name, table in tables.items():
            corpus.append(name, table, f"rows{start}")
    corpus.gather()
    corpus.line_up()
    return corpus


def _tables(start: int, count: int) -> Iterator[tuple[str, pa.Table]]:
    generator = np.random.default_rng(start)
    number = np.arange(start, start + count)
    source, place = number // CLIPS_OF_A_SOURCE, number % CLIPS_OF_A_SOURCE
    frames = int(CLIP_S * FPS)
    sources = [f"s{one:020x}" for one in source.tolist()]
    clip_ids = [f"{name}-{at * frames:08d}-{(at + 1) * frames:08d}" for name, at in zip(sources, place.tolist())]
    names = pa.array(clip_ids)
    plain = {"num_frames": np.full(count, frames), "width": np.full(count, 1280, np.int32), "height": np.full(count, 720, np.int32)}
    spans = {"clip_id": names, "source_id": sources, "start_s": place * CLIP_S, "end_s": (place + 1) * CLIP_S, "motion": _measure(generator, count, 3), **plain}
    yield "spans", pa.table(spans)
    scale = {"aesthetic": 7.0, "technical": 1.0, "text_area": 0.2, "watermark": 1.0}
    for maker, columns in SCORERS.items():
        yield f"measures/{maker}", pa.table({"clip_id": names, **{name: _measure(generator, count, scale[name]) for name in columns}})
    distinct = list(dict.fromkeys(sources))
    yield "added", pa.table({"source_id": distinct, "status": ["ok"] * len(distinct), "license": ["CC0-1.0"] * len(distinct)})
    lengths = np.bincount(source - source[0]) * CLIP_S
    yield "readings", pa.table({"source_id": distinct, "status": ["ok"] * len(distinct), "duration_s": lengths})
    copies = generator.random(count) < 0.05
    leaders = np.where(copies, np.maximum(np.arange(count) - CLIPS_OF_A_SOURCE, 0), np.arange(count))
    of = pa.array(clip_ids).take(pa.array(leaders))
    own = {"duplicate_of": pa.array([name if copy else None for name, copy in zip(of.to_pylist(), copies.tolist())]), "duplicate_cluster": of}
    yield "duplicates", pa.table({"clip_id": names, **own, "duplicate_rank": copies.astype(np.int32)})


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
        clips = corpus.table("clips", columns=sorted(columns_read(RECIPE)))
    with timed("read sources and gaps"):
        sources, gaps = corpus.table("sources", columns=SOURCE_COLUMNS), corpus.read("gaps")
    with timed("decide"):
        decision = decide(RECIPE, clips, sources, gaps, on=date(2026, 1, 1))
    with timed("write"):
        corpus.replace("selections/bench", decision.selection)
        corpus.replace("funnels/bench", funnel_table(decision.funnel))
        corpus.replace("ledger/bench", decision.ledger)


if __name__ == "__main__":
    main()
