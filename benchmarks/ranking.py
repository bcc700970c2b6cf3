"""What ranking, numbering and leading millions of clips costs `deduplicate`, on made-up tables: CPU seconds and memory of each step.

    python -m benchmarks.ranking --clips 5000000 [--pairs 2]

Nothing is compared: that is what `benchmarks.millions` measures. Half of the pairs agree.
"""

import argparse
import resource
import time

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from curate.copies.leaders import Agreement, lead
from curate.copies.rank import COMPARED, Kinship, Numbers, best_first
from curate.deduplicate import _duplicates
from curate.engine import quiet

STRETCH, PART = 200_000, 1_000_000
SCATTERED, COMMITTED = 100, 512
"""Batches of ids from all over, as many as a loose commit may hold."""


def made_up(count: int, rng: np.random.Generator) -> pa.Table:
    """Clips as `deduplicate` reads them, five to a source, sorted by id as the corpus gives them, in parts as it reads them."""
    return pa.concat_tables([_part(start, min(start + PART, count), rng) for start in range(0, count, PART)])


def _part(start: int, end: int, rng: np.random.Generator) -> pa.Table:
    numbers = np.arange(start, end)
    sources = pc.binary_join_element_wise("s", pc.utf8_lpad(pa.array(numbers // 5).cast(pa.string()), 20, "0"), "")
    starts = numbers % 5 * 120
    places = pc.binary_join_element_wise(
        *(pc.utf8_lpad(pa.array(frames).cast(pa.string()), 8, "0") for frames in (starts, starts + 120)),
        "-",
    )
    count = len(numbers)
    boxes = pa.FixedSizeListArray.from_arrays(pa.array(np.tile(np.array([0.0, 0.1, 1.0, 0.9], np.float32), count)), 4).cast(pa.list_(pa.float32()))
    columns = {
        "clip_id": pc.binary_join_element_wise(sources, places, "-"),
        "source_id": sources,
        "media_type": pa.array(["video"]).take(pa.array(np.zeros(count, np.int8))),
        "shot_index": pa.array((numbers % 5).astype(np.int32)),
        "start_s": pa.array(starts / 24),
        "end_s": pa.array(starts / 24 + rng.uniform(2, 5, count)),
        "width": pa.array(rng.choice([640, 1280, 1920], count).astype(np.int32)),
        "height": pa.array(rng.choice([360, 720, 1080], count).astype(np.int32)),
        "content_box": boxes,
        "watermark": pa.array(rng.random(count, np.float32)),
        "technical": pa.array(rng.random(count, np.float32)),
    }
    return pa.table(columns)


def main() -> None:
    """Make, rank, number, lead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=float, default=2.0, help="pairs to compare for each clip")
    given = parser.parse_args()
    count, rng, process = given.clips, np.random.default_rng(0), psutil.Process()

    def told(step: str) -> None:
        now, peak = process.memory_info().rss / 1e9, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{step}: {time.process_time():.1f} CPU s, {now:.2f} GB held, {peak:.2f} GB at most so far", flush=True)

    clips = made_up(count, rng)
    told(f"{count:,} clips made up, {clips.nbytes / 1e9:.2f} GB")
    ranked = clips.take(best_first(clips)).select(COMPARED)
    order_of_files = clips["clip_id"]
    del clips
    told("ranked")
    numbers = Numbers(ranked["clip_id"])
    told("ids sorted")
    owners = np.concatenate([numbers.of(order_of_files[start : start + STRETCH]) for start in range(0, count, STRETCH)])
    assert (np.sort(owners) == np.arange(count)).all()
    told("numbered, a stretch at a time")
    for _ in range(SCATTERED):
        asked = rng.integers(0, count, COMMITTED)
        assert (numbers.of(order_of_files.take(pa.array(asked))) == owners[asked]).all()
    del order_of_files, numbers
    told(f"{SCATTERED} times {COMMITTED} scattered ones numbered")
    pairs = np.sort(rng.integers(0, count, (int(given.pairs * count), 2)), axis=1)
    pairs = pairs[Kinship.of(ranked).comparable(pairs[:, 0], pairs[:, 1])]
    told("pairs made up")

    def load(_needed: np.ndarray) -> Agreement:
        return lambda better, clip: float((better + clip) % 2)

    led = lead(count, pairs, load, quiet, "compare")
    told("led")
    rows = _duplicates(ranked["clip_id"], led)
    told(f"{rows.num_rows:,} rows of duplicates")


if __name__ == "__main__":
    main()
