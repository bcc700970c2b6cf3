"""Rows like those of a corpus, made up: spans, measures and pictures of any number of sources."""

import numpy as np
import pyarrow as pa

from curate.storage.relations import RELATIONS
from schemas.table import conform

CLIPS_A_SOURCE = 25
PICTURE_BYTES = 6000


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
    rng, names = np.random.default_rng([first, *column.encode()]), clip_names(first, count)
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
