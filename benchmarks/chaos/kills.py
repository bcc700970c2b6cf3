"""Kills: the driver and all its workers, at random moments of their work, and started again."""

import argparse
import random
import shutil
from pathlib import Path

from benchmarks.chaos.chain import compare, start, undisturbed
from curate.corpus import open_corpus


def kills(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Kill the chain with all its children, a few times for each corpus, and let it finish; what differs."""
    calm = undisturbed(folder, arguments.on)
    rng, killed, corpora, problems = random.Random(arguments.seed), 0, 0, []
    print(f"an undisturbed run takes {calm.seconds:.1f} s", flush=True)
    while killed < arguments.times:
        url = str(folder / f"corpus{corpora}")
        corpora += 1
        for _ in range(min(arguments.each, arguments.times - killed)):
            chain = start(calm.footage, url, calm.recipe, arguments.on)
            # Resumed runs are shorter: moments are drawn early more often than late, so that most find it at work.
            chain.process.join(calm.seconds * rng.random() ** 2)
            if chain.process.is_alive():
                chain.kill()
                killed += 1
        start(calm.footage, url, calm.recipe, arguments.on).finish()
        problems += [f"corpus {corpora}, after kills up to the {killed}th: {problem}" for problem in compare(calm.digests, open_corpus(url))]
        shutil.rmtree(url)
        print(f"{killed} of {arguments.times} kills, {corpora} corpora, {len(problems)} problems", flush=True)
    return problems
