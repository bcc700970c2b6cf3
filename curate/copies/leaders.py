"""Leaders: clips that come best first each join the best one they agree with, or become one themselves.

So every member agrees with its cluster's leader, and two clips never come together through a third alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.engine import Listener

CHUNK = 512

Agreement = Callable[[int, int], float]


@dataclass(frozen=True)
class Led:
    """Who follows whom; clips are numbered from 0, the best first.

    Attributes:
        leaders: int64 (N,), the number of each clip's leader, its own where it is one.
        certainty: float64 (N,), how well a clip agrees with its leader; 1 for leaders.
        compared: how many pairs were looked at.
    """

    leaders: np.ndarray
    certainty: np.ndarray
    compared: int

    @property
    def ranks(self) -> np.ndarray:
        """int64 (N,): how many of a clip's cluster are better."""
        order = np.argsort(self.leaders, kind="stable")
        starts = np.flatnonzero(np.diff(self.leaders[order], prepend=-1))
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
        return ranks

    def columns(self, clip_ids: pa.ChunkedArray) -> Mapping[str, pa.ChunkedArray]:
        """`of` (the leader's id; null for leaders) and `cluster` (the leader's id), for the ids of the clips."""
        cluster = clip_ids.take(pa.array(self.leaders))
        follows = pa.array(self.leaders, mask=self.leaders == np.arange(len(self.leaders)))
        return {"of": clip_ids.take(follows), "cluster": cluster}


def lead(count: int, pairs: np.ndarray, load: Callable[[np.ndarray], Agreement], listener: Listener, what: str) -> Led:
    """Let clips find their leaders.

    Args:
        count: how many clips there are.
        pairs: int64 (P, 2), which may agree, the better one first.
        load: makes, for the numbers of some clips, what tells how well two of them agree, the better one given first; 0 where they do not.
        what: what the listener hears of.
    """
    leaders, certainty, compared = np.arange(count), np.ones(count), 0
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    waiting, starts = np.unique(pairs[:, 1], return_index=True)
    ends = np.append(starts[1:], len(pairs))
    for at in range(0, len(waiting), CHUNK):
        chunk = range(at, min(at + CHUNK, len(waiting)))
        near = pairs[starts[chunk[0]] : ends[chunk[-1]], 0]
        agreement = load(np.unique(np.concatenate([near, leaders[near], waiting[chunk[0] : chunk[-1] + 1]])))
        for place in chunk:
            clip = int(waiting[place])
            # The best, not the likest: two copies of one clip then find the same one, whatever else lies near them.
            for leader in np.unique(leaders[pairs[starts[place] : ends[place], 0]]).tolist():
                compared += 1
                agreed = agreement(leader, clip)
                if agreed > 0:
                    leaders[clip], certainty[clip] = leader, agreed
                    break
        listener(what, chunk[-1] + 1, len(waiting))
    return Led(leaders, certainty, compared)
