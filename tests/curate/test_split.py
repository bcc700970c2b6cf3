"""Splitting: whole clusters are set aside, and the same ones again."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.deciding.split import held_out_clusters, set_aside, with_alike


def clips(clusters, alike=None):
    table = pa.table({"clip_id": pa.array([f"c{i}" for i in range(len(clusters))], pa.string()), "duplicate_cluster": pa.array(clusters, pa.string())})
    return table if alike is None else table.append_column("semantic_cluster", pa.array(alike, pa.string()))


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


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefghij") | st.none(), st.sampled_from("pqrst") | st.none()), max_size=40), st.floats(0.05, 0.95), st.integers(0, 9)
)
def test_no_semantic_cluster_lies_on_both_sides(told, share, seed):
    clusters, alike = [one for one, _ in told], [other for _, other in told]
    held = held_out_clusters(clips(clusters, alike), share, seed)
    sides = [(name, (cluster or f"c{i}") in held) for i, (cluster, name) in enumerate(zip(clusters, alike)) if name is not None]
    assert len(set(sides)) == len({name for name, _ in sides})


def test_with_what_is_alike_goes_all_that_any_chain_of_copies_and_likeness_reaches():
    clusters, alike = ["a", "b", "b", "c", "d", None], ["s", "s", "t", "t", None, None]
    assert with_alike(clips(clusters, alike), frozenset(["a"])) == {"a", "b", "c"}
    assert with_alike(clips(clusters, alike), frozenset(["d", "c5"])) == {"d", "c5"}
    assert with_alike(clips(clusters), frozenset(["a"])) == {"a"}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefghij") | st.none(), st.sampled_from("pqrst") | st.none()), max_size=40), st.floats(0.05, 0.95))
def test_a_share_that_is_set_aside_is_all_that_is_alike_to_it(told, share):
    table = clips([one for one, _ in told], [other for _, other in told])
    held = held_out_clusters(table, share, 0)
    assert with_alike(table, held) == held


def shots(table, told):
    return table.append_column("source_id", pa.array([one for one, _ in told], pa.string())).append_column(
        "shot_index", pa.array([other for _, other in told], pa.int32())
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghij") | st.none(), st.sampled_from("pqrst") | st.none(), st.sampled_from("xyz"), st.integers(0, 3) | st.none()),
        max_size=40,
    ),
    st.floats(0.05, 0.95),
    st.integers(0, 9),
)
def test_copies_look_alikes_and_parts_of_one_shot_lie_on_one_side_of_a_split(told, share, seed):
    clusters, alike, sources, numbers = [list(column) for column in zip(*told)] or [[]] * 4
    aside = set_aside(shots(clips(clusters, alike), list(zip(sources, numbers))), share, seed).tolist()
    for names in (clusters, alike, [number if number is None else (source, number) for source, number in zip(sources, numbers)]):
        sides = {(name, side) for name, side in zip(names, aside) if name is not None}
        assert len(sides) == len({name for name, _ in sides})


def test_a_split_sets_about_its_share_aside_and_adding_footage_moves_nothing():
    table = clips([f"k{i // 3}" for i in range(6000)])
    aside = set_aside(table, 0.2, 1)
    assert 0.17 < aside.mean() < 0.23
    assert (set_aside(table.slice(0, 3000), 0.2, 1) == aside[:3000]).all()
    assert (set_aside(table, 0.1, 1) <= aside).all(), "a larger share holds the smaller one"
    assert (set_aside(table, 0.2, 2) != aside).any()


def test_clips_alike_go_together_though_their_copies_lie_elsewhere():
    """One is alike to another of which there is a copy: all three are set aside, or none."""
    clusters, alike = ["a", "b", "b", *(f"u{i}" for i in range(20))], ["s", "s", None, *([None] * 20)]
    sides = {len({"a", "b"} & held_out_clusters(clips(clusters, alike), 0.3, seed)) for seed in range(20)}
    assert sides == {0, 2}
    assert {1} <= {len({"a", "b"} & held_out_clusters(clips(clusters), 0.3, seed)) for seed in range(20)}
