"""How much memory packing, verifying and gathering take on tables of many clips that were made up (no footage), each in a process of its own.

    python -m benchmarks.memory --clips 100000 300000 --folder /a/folder/with/room

Pieces stand in for encoded clips: packing resumes from pieces, so all of it but encoding runs. Prints peak memory and CPU seconds of each step.
"""

import argparse
import functools
import json
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.tables.rows import CLIPS_A_SOURCE, clip_names, measure_rows, picture_rows, source_name, span_rows
from curate.corpus import Corpus, open_corpus
from curate.pack import pack
from curate.packing.cutting import encoding_digest
from curate.packing.pieces import Piece, piece_path
from curate.select import select
from curate.storage.parts import Generation, Part
from curate.storage.relations import RELATIONS
from curate.verify import verify
from schemas.recipe import Duplicates, Encoding, Recipe
from schemas.table import conform

RECIPE = Recipe(name="memory", duplicates=Duplicates(keep="all"), encoding=Encoding(shard_mb=8))
SOURCES_AT_ONCE = 2000
VIDEO = bytes(200)
LOOSE = 600


def make(folder: str, clips: int) -> None:
    """A measured corpus of so many clips with captions, selected, and a piece of each."""
    corpus, sources = open_corpus(folder, create=True), clips // CLIPS_A_SOURCE
    order = sorted(range(sources), key=source_name)
    makers: dict[str, Callable[[int], pa.Table]] = {
        "spans": spans_of,
        "shots": shots_of,
        "measures/looks@1": functools.partial(measure_rows, "aesthetic", 7.0, count=1),
        "measures/marks@1": functools.partial(measure_rows, "watermark", 1.0, count=1),
        "captions": caption_rows,
        "added": functools.partial(source_row, "added", license="CC-BY-4.0", rights_holder="Someone", uri="/footage/film.mp4"),
        "readings": functools.partial(source_row, "readings", duration_s=2.0 * CLIPS_A_SOURCE, keyframes=list(range(0, 48 * CLIPS_A_SOURCE, 48))),
    }
    for name, rows in makers.items():
        runs = (order[at : at + SOURCES_AT_ONCE] for at in range(0, sources, SOURCES_AT_ONCE))
        parts = tuple(part for run in runs for part in corpus.store.parts.write(name, [pa.concat_tables([rows(number) for number in run])]))
        corpus.store.parts.publish(functools.partial(_with_parts, name=name, parts=parts))
    select(corpus, RECIPE)
    pieces = corpus.path("shards", RECIPE.name, "pieces", encoding_digest(RECIPE.encoding))
    piece = Piece("mp4", VIDEO, {"frames": 48, "width": 1280, "height": 720, "fps": 24.0, "duration_s": 2.0}).to_bytes()
    for number in order:
        for clip_id in clip_names(number, 1):
            path = Path(piece_path(pieces, clip_id))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(piece)


def _with_parts(before: Generation, name: str, parts: tuple[Part, ...]) -> Generation:
    return replace(before, parts={**before.parts, name: parts})


def spans_of(number: int) -> pa.Table:
    """The clips of a source, which is a film."""
    rows = span_rows(number, 1)
    return rows.set_column(rows.schema.names.index("media_type"), rows.schema.field("media_type"), pa.array(["video"] * len(rows)))


def shots_of(number: int) -> pa.Table:
    """Its shots, one to a clip."""
    return conform(spans_of(number), RELATIONS["shots"])


def caption_rows(number: int) -> pa.Table:
    """A sentence for each clip of a source."""
    names = clip_names(number, 1)
    told = {"clip_id": names, "captioner": ["describe@1"] * len(names), "text": [f"a boat leaves the harbour in the evening, take {name}" for name in names]}
    return conform(pa.table(told), RELATIONS["captions"])


def source_row(relation: str, number: int, **told: Any) -> pa.Table:
    """What is known of one source."""
    return pa.Table.from_pylist([{"source_id": source_name(number), "media_type": "video", "status": "ok", **told}], schema=RELATIONS[relation])


def packing(folder: str) -> None:
    """Pack the selection, from its pieces."""
    report = pack(open_corpus(folder), RECIPE)
    assert report.fresh and not report.failed


def verifying(folder: str) -> None:
    """Verify all but pictures."""
    problems = verify(open_corpus(folder), pictures=False).problems
    assert not problems, problems


def gathering(folder: str) -> None:
    """Gather loose commits, as the worker does that draws it."""
    open_corpus(folder).gather()


def make_loose(folder: str, commits: int) -> None:
    """Commits as reading makes them: spans, and 40 pictures of 6 kB for each of 25 clips."""
    corpus: Corpus = open_corpus(folder, create=True)
    for number in range(commits):
        pictures = picture_rows(number * 40, 40)
        names = np.repeat(clip_names(number, 1), len(pictures) // CLIPS_A_SOURCE)
        pictures = pictures.set_column(0, "clip_id", pa.array(names))
        rows = conform(pictures, RELATIONS["proxies"])
        corpus.store.commit(source_name(number), {"spans": spans_of(number), "proxies": rows})


def measured(what: str, clips: int, work: Callable[[str], None], folder: str) -> None:
    """Run something in a fresh process and print what it took."""
    process = multiprocessing.get_context("spawn").Process(target=_told, args=(what, clips, work, folder))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{what} of {clips} clips failed")


def _told(what: str, clips: int, work: Callable[[str], None], folder: str) -> None:
    import webdataset  # noqa: F401 - what it brings in is no part of the question

    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    work(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {"step": what, "clips": clips, "peak_mb": round(peak / 1e3), "before_mb": round(before / 1e3), "cpu_s": round(time.process_time() - began, 1)}
    print(json.dumps({**told, "load": round(os.getloadavg()[0])}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument("--commits", type=int, nargs="+", default=[LOOSE // 3, LOOSE])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--only", choices=("tables", "gather"))
    given = parser.parse_args()
    for clips in given.clips if given.only != "gather" else ():
        folder = str(Path(given.folder) / f"corpus{clips}")
        make(folder, clips)
        measured("pack", clips, packing, folder)
        measured("verify", clips, verifying, folder)
        shutil.rmtree(folder)
    for commits in given.commits if given.only != "tables" else ():
        folder = str(Path(given.folder) / f"loose{commits}")
        make_loose(folder, commits)
        measured("gather", commits * CLIPS_A_SOURCE, gathering, folder)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
