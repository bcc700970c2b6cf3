"""A Ray cluster simulated on one machine: a node that is removed while it works, and how the same work goes on more and more nodes."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.chaos.chain import compare, make_footage, start, undisturbed
from curate.corpus import open_corpus

NODE = {"memory": 4 << 30, "object_store_memory": 100 << 20}
MOMENTS = {"reading": "tables/loose/*spans*/*", "cutting": "shards/*/pieces/*/*", "writing": "shards/*/*.tar"}
"""When a node is removed: as soon as there is a file like this below the corpus."""
PATIENCE_S = 900.0


@contextmanager
def cluster_of(cpus: int) -> Iterator[Any]:
    """A cluster whose first node has so many CPUs; named to those who look for one."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
    os.environ.setdefault("RAY_worker_niceness", "0")  # as the engine starts Ray; with Ray's 15, workers starve on a busy machine
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False, **NODE})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def node(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The chain on a cluster of two nodes of which the larger is removed while films are read, clips cut or shards written; what differs."""
    calm, problems = undisturbed(folder, films=6), []
    with cluster_of(1) as cluster:
        for moment, sign in MOMENTS.items():
            url = folder / f"corpus-{moment}"
            doomed = cluster.add_node(num_cpus=2, **NODE)
            chain = start(calm.footage, str(url), calm.recipe, "ray", {"RAY_ADDRESS": cluster.address})
            while not any(url.glob(sign)) and chain.process.is_alive():
                time.sleep(0.02)
            alive, began = chain.process.is_alive(), time.monotonic()
            cluster.remove_node(doomed, allow_graceful=False)
            chain.finish(PATIENCE_S)
            found = compare(calm.digests, open_corpus(str(url))) + ([] if alive else ["the chain had ended before a node was removed"])
            print(
                f"a node removed while {moment}: ended {time.monotonic() - began:.0f} s later at load {os.getloadavg()[0]:.0f}, {len(found)} problems",
                flush=True,
            )
            problems += [f"a node removed while {moment}: {problem}" for problem in found]
    return problems


def scaling(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Work that waits, reading, and more bytes than the object store holds, on one node and on two, of one CPU each."""
    footage, problems = make_footage(folder / "footage", 8), []
    for nodes in (1, 2):
        with cluster_of(1) as cluster:
            for _ in range(nodes - 1):
                cluster.add_node(num_cpus=1, **NODE)
            command = [sys.executable, "-m", "benchmarks.chaos.workload", str(footage), str(folder / f"corpus{nodes}")]
            done = subprocess.run(command, env={**os.environ, "RAY_ADDRESS": cluster.address}, capture_output=True, text=True, check=False)
            told = [line for line in done.stdout.splitlines() if line.startswith("{")]
            spilled = sum(int(found) for path in _logs() for found in re.findall(r"Spilled (\d+) MiB", path.read_text(errors="replace")))
        print(
            "\n".join(json.dumps({"nodes": nodes, **json.loads(line)}) for line in told), f"spilled {spilled} MiB", f"load {os.getloadavg()[0]:.0f}", flush=True
        )
        problems += [f"{nodes} nodes: {done.stderr[-2000:]}"] if done.returncode else []
    return problems


def _logs() -> list[Path]:
    """What the nodes of the last cluster wrote."""
    return list(Path("/tmp/ray/session_latest/logs").resolve().glob("raylet*.out"))
