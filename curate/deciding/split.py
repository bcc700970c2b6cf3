"""Split: which footage is set aside for validation, so that no copy of a validation clip, and nothing alike, is ever trained on.

What goes to one side together is a group: clusters of duplicates, joined by semantic clusters and by shots where these are known.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.deciding.rules import literal

READS = ("clip_id", "source_id", "shot_index", "duplicate_cluster", "semantic_cluster")
"""Columns of clips by which they are grouped; shots and semantic clusters count where these are there and known."""
UNITS = """CREATE TEMP VIEW units AS SELECT position, clip_id, coalesce(duplicate_cluster, clip_id) AS cluster, semantic_cluster AS alike,
    coalesce(source_id || '/' || shot_index, duplicate_cluster, clip_id) AS unit FROM clips"""
LINKS = " UNION ALL ".join(
    f"SELECT unit, '{name}/' || {name} AS joining FROM units WHERE {name} IN (SELECT {name} FROM units WHERE {name} <> clip_id)"
    for name in ("cluster", "alike")
)
"""Which units lie in which clusters; of clusters of one clip, which are most, there are none."""


def set_aside(clips: pa.Table, share: float, seed: int) -> np.ndarray:
    """bool (N,): the clips of about `share` of the groups. Each group is judged by a digest of its name alone, so adding footage moves only what it joins.

    Args:
        clips: clip_id and duplicate_cluster, and of the other columns READS those that count.
    """
    digest = f"md5_number_lower({literal(f'split:{seed}:')} || name)::DOUBLE / 18446744073709551616.0"
    with _grouped(clips) as groups:
        return groups.sql(f"SELECT {digest} < {share!r} AS aside FROM groups ORDER BY position").to_arrow_table()["aside"].to_numpy()


def held_out_clusters(clips: pa.Table, share: float, seed: int) -> frozenset[str]:
    """Set aside about `share` of the clips, however few there are, in whole groups.

    They are taken in an order that depends on the seed and their names alone, so adding footage moves few others.

    Args:
        clips: as for `set_aside`.
        share: of the clips, between 0 and 1; at least one group is set aside and one left where there are two.
        seed: which groups.

    Returns:
        The names of their clusters, as `duplicate_cluster` has them.
    """
    with _grouped(clips) as groups:
        found = groups.sql("SELECT name, count(*), list(DISTINCT cluster) FROM groups GROUP BY name").fetchall()
    order = sorted(found, key=lambda group: (hashlib.sha256(f"{seed}:{group[0]}".encode()).digest(), group[0]))
    return frozenset(cluster for _, _, clusters in _about(order, share * clips.num_rows) for cluster in clusters)


def with_alike(clips: pa.Table, clusters: frozenset[str]) -> frozenset[str]:
    """Clusters of duplicates, and all others of their groups: what may not be trained on where they are evaluated.

    Args:
        clips: as for `set_aside`.
    """
    with _grouped(clips) as groups:
        groups.register("wanted", pa.table({"cluster": pa.array(sorted(clusters), pa.string())}))
        asked = "SELECT DISTINCT cluster FROM groups WHERE name IN (SELECT name FROM groups JOIN wanted USING (cluster))"
        return frozenset(cluster for (cluster,) in groups.sql(asked).fetchall())


@contextmanager
def _grouped(clips: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the view `groups`: the position, the cluster of duplicates and the name of the group of each clip.

    A unit is a shot, or where that is not known a cluster; a group is the units that clusters join, and is called after the lowest of them.
    """
    absent = {name: pa.nulls(clips.num_rows, pa.string()) for name in READS if name not in clips.column_names}
    given = {name: clips[name] for name in READS if name not in absent}
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        connection.register("clips", pa.table({"position": np.arange(clips.num_rows), **given, **absent}))
        connection.execute(UNITS)
        connection.register("heads", _heads(connection.sql(f"SELECT DISTINCT unit, joining FROM ({LINKS})").to_arrow_table()))
        connection.execute("CREATE TEMP VIEW groups AS SELECT position, cluster, coalesce(head, unit) AS name FROM units LEFT JOIN heads USING (unit)")
        yield connection


def _heads(links: pa.Table) -> pa.Table:
    """For each `unit` in links, the `head`: the lowest of those that it can be reached from."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    units, joinings = (links[name].combine_chunks().dictionary_encode() for name in ("unit", "joining"))
    ends = units.indices.to_numpy(), joinings.indices.to_numpy() + len(units.dictionary)
    nodes = len(units.dictionary) + len(joinings.dictionary)
    _, parts = connected_components(coo_matrix((np.ones(links.num_rows, bool), ends), shape=(nodes, nodes)), directed=False)
    of_units = pa.table({"unit": units.dictionary, "part": parts[: len(units.dictionary)]})
    heads = of_units.group_by("part").aggregate([("unit", "min")])
    at = pc.index_in(of_units["part"], heads["part"].combine_chunks())
    return pa.table({"unit": of_units["unit"], "head": heads["unit_min"].take(at)})


def _about(order: Sequence[tuple[str, int, list[str]]], wanted: float) -> Iterator[tuple[str, int, list[str]]]:
    """Groups (name, clips, clusters) in this order until so many clips are taken; never all of them."""
    taken = 0.0
    for number, group in enumerate(order[: max(len(order) - 1, 0)]):
        if number and taken + group[1] / 2 > wanted:
            return
        taken += group[1]
        yield group
