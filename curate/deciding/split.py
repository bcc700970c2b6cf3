"""Split: which clusters of duplicates are set aside for validation, so that no copy of a validation clip, and nothing alike, is ever trained on."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa


def held_out_clusters(clips: pa.Table, share: float, seed: int) -> frozenset[str]:
    """Set aside about `share` of the clips, in whole clusters of duplicates; clusters that a semantic cluster joins go together.

    They are taken in an order that depends on the seed and their names alone, so adding footage moves few others.

    Args:
        clips: at least clip_id and duplicate_cluster (null for a clip that was never compared: a cluster of its own); semantic_cluster too where it is known.
        share: of the clips, between 0 and 1; at least one group of clusters is set aside and one left where there are two.
        seed: which clusters.

    Returns:
        The clusters' names, as `duplicate_cluster` has them.
    """
    clusters, groups = _grouped(clips)
    sizes = Counter(groups[cluster] for cluster in clusters)
    order = sorted(sizes, key=lambda group: (hashlib.sha256(f"{seed}:{group}".encode()).digest(), group))
    held = frozenset(_about(order, sizes, share * clips.num_rows))
    return frozenset(cluster for cluster in groups if groups[cluster] in held)


def with_alike(clips: pa.Table, clusters: frozenset[str]) -> frozenset[str]:
    """Clusters of duplicates, and all that semantic clusters join to them: what may not be trained on where they are evaluated.

    Args:
        clips: as for `held_out_clusters`.
    """
    _, groups = _grouped(clips)
    held = {groups[cluster] for cluster in clusters}
    return frozenset(cluster for cluster in groups if groups[cluster] in held)


def _grouped(clips: pa.Table) -> tuple[list[str], dict[str, str]]:
    """The cluster of duplicates of each clip, and the group of each cluster: what goes to one side together."""
    columns = clips["clip_id"].to_pylist(), clips["duplicate_cluster"].to_pylist()
    clusters = [cluster if cluster is not None else clip_id for clip_id, cluster in zip(*columns)]
    alike = clips["semantic_cluster"].to_pylist() if "semantic_cluster" in clips.column_names else [None] * len(clusters)
    return clusters, _joined(clusters, alike)


def _about(order: Sequence[str], sizes: Mapping[str, int], wanted: float) -> Iterator[str]:
    """Groups in this order until so many clips are taken; never all of them."""
    taken = 0.0
    for number, group in enumerate(order[: max(len(order) - 1, 0)]):
        if number and taken + sizes[group] / 2 > wanted:
            return
        taken += sizes[group]
        yield group


def _joined(clusters: Sequence[str], alike: Sequence[str | None]) -> dict[str, str]:
    """The group of each cluster of duplicates, named by the first of its clusters: those with clips in one semantic cluster are together."""
    leader = {cluster: cluster for cluster in clusters}
    met: dict[str, str] = {}

    def root(cluster: str) -> str:
        while leader[cluster] != cluster:
            leader[cluster] = cluster = leader[leader[cluster]]
        return cluster

    for cluster, name in zip(clusters, alike):
        if name is not None:
            one, other = sorted((root(cluster), root(met.setdefault(name, cluster))))
            leader[other] = one
    return {cluster: root(cluster) for cluster in leader}
