"""Chaos: one kind of it at a time; ends with exit code 1 when anything differs from an undisturbed run.

    python -m benchmarks.chaos kills --times 50         SIGKILL of the driver and all its workers at random moments
    python -m benchmarks.chaos s3 --share 0.1           a corpus on an S3 server that fails a share of its calls
    python -m benchmarks.chaos disk --megabytes 0.5     a disk that is full again and again (needs the right to mount)
    python -m benchmarks.chaos node                     a Ray node that is removed while it works
    python -m benchmarks.chaos scaling                  the same work on a Ray cluster of one node and of two, of one CPU each
    python -m benchmarks.chaos mutants --files 1000     broken media: no crash, no hang, each in the table with a reason

Run it from a checkout that nobody edits meanwhile.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chaos.cluster import node, scaling
from benchmarks.chaos.kills import kills
from benchmarks.chaos.mutants import mutants
from benchmarks.chaos.storage import disk, s3

KINDS = {"kills": kills, "s3": s3, "disk": disk, "node": node, "scaling": scaling, "mutants": mutants}


def main() -> None:
    """Run one kind of chaos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("--times", type=int, default=50, help="kills in all")
    parser.add_argument("--each", type=int, default=5, help="kills of one corpus, before it may finish")
    parser.add_argument("--on", default="here", help="here or ray")
    parser.add_argument("--share", type=float, default=0.1, help="share of S3 calls that fail")
    parser.add_argument("--megabytes", type=float, default=0.5, help="size of the disk at first")
    parser.add_argument("--files", type=int, default=1000, help="mutated media files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clipmill-chaos-") as folder:
        problems = KINDS[arguments.kind](Path(folder), arguments)
    print("\n".join(problems) or "the same, byte for byte; nothing lost, nothing repeated")
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
