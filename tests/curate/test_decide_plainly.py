"""Deciding in bulk comes to what a plain loop over the clips comes to, however the tables are cut."""

import hashlib
import math
from collections import defaultdict
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.deciding.decide import decide
from schemas.clip import CLIPS, GAPS, clip_id
from schemas.recipe import Recipe
from schemas.source import SOURCES
from schemas.table import table_of

TODAY = date(2026, 1, 1)

measures = st.none() | st.sampled_from([0.0, 1.0, 2.5, 5.0, math.nan, math.inf])
made = st.lists(st.tuples(st.integers(0, 3), measures, measures, st.none() | st.integers(0, 11)), max_size=24)


def clips_of(told):
    """Clips of 4 s; the last number says of which other one a clip is a copy."""
    names = [clip_id(f"s{source}", 100 * place, 100 * place + 100) for place, (source, *_) in enumerate(told)]
    for place, (source, motion, aesthetic, copied) in enumerate(told):
        copy = copied is not None and copied < place and told[copied][3] is None
        times = {"start_frame": 100 * place, "end_frame": 100 * place + 100, "start_s": 4.0 * place, "end_s": 4.0 * place + 4.0}
        measured = {"motion": motion, "aesthetic": aesthetic, "duplicate_of": names[copied] if copy else None, "duplicate_rank": place if copy else 0}
        yield {"clip_id": names[place], "source_id": f"s{source}", "num_frames": 100, "media_type": "video", **times, **measured}


def plainly(clips, least, most, cap, wanted, seed):
    """What the recipe below keeps, one clip at a time, in the order of packing."""

    def hashed(what, clip):
        return int.from_bytes(hashlib.md5(f"{what}:{seed}:{clip['clip_id']}".encode()).digest()[8:], "little")

    left = [row for row in clips if row["motion"] is not None and least <= row["motion"] <= 1e308 and row["aesthetic"] is not None and row["aesthetic"] <= most]
    copies = defaultdict(list)
    for row in left:
        copies[row["duplicate_of"] or row["clip_id"]].append(row)
    left = [min(group, key=lambda row: (row["duplicate_rank"], row["clip_id"])) for group in copies.values()]
    left.sort(key=lambda row: (-math.log((hashed("draw", row) + 0.5) / 2**64), row["clip_id"]))
    of_source = defaultdict(list)
    for row in left:
        of_source[row["source_id"]].append(row)
    chosen = [row for row in left if row in of_source[row["source_id"]][:cap]][:wanted]
    return [row["clip_id"] for row in sorted(chosen, key=lambda row: (hashed("order", row), row["clip_id"]))]


@settings(max_examples=60, deadline=None)
@given(made, st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([1.0, 5.0]), st.integers(1, 4), st.integers(1, 9), st.integers(0, 3), st.integers(1, 7))
def test_a_decision_is_that_of_a_plain_loop_however_clips_are_cut(told, least, most, cap, wanted, seed, rows):
    clips = sorted(clips_of(told), key=lambda row: row["clip_id"])
    ranges = {"motion": {"min": least}, "aesthetic": {"max": most}}
    recipe = Recipe(name="r", seed=seed, keep=ranges, caps={"clips": cap}, sample={"clips": wanted})
    table = table_of(clips, CLIPS)
    cut = pa.concat_tables([table.slice(start, rows) for start in range(0, table.num_rows, rows)] or [table])
    sources = table_of([{"source_id": f"s{number}", "status": "ok", "duration_s": 100.0} for number in range(4)], SOURCES)
    decision = decide(recipe, cut, sources, GAPS.empty_table(), on=TODAY)
    kept = decision.selection.sort_by("order")["clip_id"].to_pylist()
    assert kept == plainly(clips, least, most, cap, wanted, seed)
    ledger = decision.ledger.filter(pc.is_valid(decision.ledger["clip_id"]))
    assert sorted(ledger["clip_id"].to_pylist()) == [row["clip_id"] for row in clips]
    assert ledger.filter(pc.equal(ledger["outcome"], "kept")).num_rows == len(kept)
    assert decision.funnel[-1].left_clips == len(kept)
