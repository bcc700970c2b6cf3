"""A Ray cluster simulated on one machine: a node that is removed while it works, and how the same work goes on more and more nodes."""

import argparse
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.chaos.chain import compare, make_footage, start, undisturbed
from curate.corpus import open_corpus

NODE = {"memory": 4 << 30, "object_store_memory": 100 << 20}


@contextmanager
def cluster_of(cpus: int) -> Iterator[Any]:
    """A cluster whose first node has so many CPUs; named to those who look for one."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False, **NODE})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def node(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The chain on a cluster of two nodes of which one is removed while it works; what differs."""
    calm = undisturbed(folder, films=6)
    with cluster_of(1) as cluster:
        doomed = cluster.add_node(num_cpus=2, **NODE)
        chain = start(calm.footage, str(folder / "corpus"), calm.recipe, "ray", {"RAY_ADDRESS": cluster.address})
        spans = folder / "corpus" / "tables" / "loose"
        while not any("spans" in path.name for path in spans.glob("*")) and chain.process.is_alive():
            time.sleep(0.05)
        time.sleep(random.Random(arguments.seed).uniform(0, 1))
        before = len(open_corpus(str(folder / "corpus")).committed("readings"))
        print(f"removing a node while the chain runs ({chain.process.is_alive()}), {before} of 6 films read", flush=True)
        cluster.remove_node(doomed, allow_graceful=False)
        chain.finish()
    return compare(calm.digests, open_corpus(str(folder / "corpus")))


def scaling(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Reading on clusters of one, two and four nodes of one CPU each, which share the cores that there are: what the cluster adds to the work."""
    footage = make_footage(folder / "footage", 24)
    for nodes in (1, 2, 4):
        with cluster_of(1) as cluster:
            for _ in range(nodes - 1):
                cluster.add_node(num_cpus=1, **NODE)
            began, cpu = time.monotonic(), _cpu_s()
            recipe = folder / "chaos.toml"
            recipe.write_text('name = "chaos"\n')
            start(footage, str(folder / f"corpus{nodes}"), recipe, "ray", {"RAY_ADDRESS": cluster.address}).finish()
            print(f"{nodes} nodes: {time.monotonic() - began:.1f} s, load {os.getloadavg()[0]:.1f}, {cpu:.1f}", flush=True)
    return []


def _cpu_s() -> float:
    """CPU seconds of this machine in all."""
    user, nice, system, *_ = (int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")
