"""Splitting: whole clusters are set aside, and the same ones again."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.deciding.split import held_out_clusters


def clips(clusters):
    return pa.table({"clip_id": pa.array([f"c{i}" for i in range(len(clusters))], pa.string()), "duplicate_cluster": pa.array(clusters, pa.string())})


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefghij") | st.none(), max_size=60), st.floats(0.05, 0.95), st.integers(0, 9))
def test_something_is_set_aside_and_something_left_and_every_cluster_is_whole(clusters, share, seed):
    table = clips(clusters)
    held = held_out_clusters(table, share, seed)
    names = {cluster or f"c{i}" for i, cluster in enumerate(clusters)}
    assert held <= names
    assert len(names) < 2 or 0 < len(held) < len(names)
    assert held == held_out_clusters(table.take(pa.array(range(len(clusters))[::-1], pa.int64())), share, seed)


def test_the_share_is_of_clips_not_of_clusters():
    table = clips([f"k{i // 3}" if i < 600 else f"u{i}" for i in range(1000)])
    held = held_out_clusters(table, 0.2, 1)
    taken = sum((cluster or name) in held for name, cluster in zip(*table.to_pydict().values()))
    assert 190 <= taken <= 210


def test_adding_footage_moves_few_clusters():
    few, more = clips([f"k{i}" for i in range(500)]), clips([f"k{i}" for i in range(550)])
    before, after = held_out_clusters(few, 0.2, 3), held_out_clusters(more, 0.2, 3)
    assert len(before & after) > 0.85 * len(before)


def test_another_seed_sets_others_aside():
    table = clips([f"k{i}" for i in range(200)])
    assert held_out_clusters(table, 0.2, 1) != held_out_clusters(table, 0.2, 2)
