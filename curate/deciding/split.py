"""Split: which clusters of duplicates are set aside for validation, so that no copy of a validation clip is ever trained on."""

import hashlib
from collections import Counter

import pyarrow as pa


def held_out_clusters(clips: pa.Table, share: float, seed: int) -> frozenset[str]:
    """Set aside about `share` of the clips, in whole clusters of duplicates.

    Clusters are taken in an order that depends on the seed and the cluster alone, so adding footage moves few others.

    Args:
        clips: at least clip_id and duplicate_cluster (null for a clip that was never compared: a cluster of its own).
        share: of the clips, between 0 and 1; at least one cluster is set aside and one left where there are two.
        seed: which clusters.

    Returns:
        The clusters' names, as `duplicate_cluster` has them.
    """
    columns = clips["clip_id"].to_pylist(), clips["duplicate_cluster"].to_pylist()
    sizes = Counter(cluster if cluster is not None else clip_id for clip_id, cluster in zip(*columns))
    order = sorted(sizes, key=lambda cluster: (hashlib.sha256(f"{seed}:{cluster}".encode()).digest(), cluster))
    wanted, taken = share * clips.num_rows, 0
    held: list[str] = []
    for cluster in order[: max(len(order) - 1, 0)]:
        if held and taken + sizes[cluster] / 2 > wanted:
            break
        held.append(cluster)
        taken += sizes[cluster]
    return frozenset(held)
