"""How often different footage is taken for copies: false pairs among real clips, each shown in many versions.

    python -m benchmarks.lookalikes --corpus FOLDER

Takes a corpus that `benchmarks.duplicates` read (`--also raw` for more scenes). Every clip is shown in versions: cropped, graded, noisy, mirrored, as
another film of the same camera would be. All versions of all clips of different footage are pairs that must not come together; what is found to be near is
compared as `deduplicate` does. Clips of one source, and of sources that are copies of one another, are not paired.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.copies import cells
from curate.copies.cells import Laid
from curate.copies.compare import same_footage
from curate.copies.compare import shown as seen
from curate.copies.fingerprint import Footage, Still, footage, miniature
from curate.copies.neighbours import Likely, all_near_pairs
from curate.copies.search import NEAR, likely_copies, views, whole
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import LEAST_ALONE, deduplicate, stills_of


def groups_of(corpus: Corpus) -> dict[str, int]:
    """Source to the number of its footage: sources with a cluster in common are one."""
    deduplicate(corpus, mirror=True)
    clips = corpus.table("clips", columns=["source_id", "duplicate_cluster"]).to_pylist()
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for row in clips:
        parent[root(row["source_id"])] = root(row["duplicate_cluster"])
    roots = sorted({root(row["source_id"]) for row in clips})
    return {row["source_id"]: roots.index(root(row["source_id"])) for row in clips}


def versions(seen: Sequence[Still], rng: np.random.Generator, count: int) -> Iterator[tuple[Still, ...]]:
    """A clip's pictures as they are, and in other versions."""
    yield tuple(seen)
    for _ in range(count - 1):
        share, left, top = rng.uniform(0.75, 1.0), *rng.uniform(0, 1, 2)
        gamma, gain, noise, mirrored = rng.uniform(0.7, 1.4), rng.uniform(0.7, 1.2), rng.uniform(0, 6), rng.random() < 0.3
        made = []
        for one in seen:
            height, width = one.luma.shape
            rows, columns = round(height * share), round(width * share)
            y, x = round(top * (height - rows)), round(left * (width - columns))
            part = cv2.resize(one.luma[y : y + rows, x : x + columns], (width, height), interpolation=cv2.INTER_AREA)
            part = 255 * (np.clip(part, 0, 255) / 255) ** gamma * gain + cv2.GaussianBlur(rng.normal(0, noise, part.shape), (0, 0), 1.0)
            made.append(Still(one.time_s, np.ascontiguousarray(part[:, ::-1] if mirrored else part, np.float32)))
        yield tuple(made)


def pairs(arguments: argparse.Namespace) -> None:
    """Count false pairs."""
    corpus, rng = open_corpus(arguments.corpus), np.random.default_rng(arguments.seed)
    groups = groups_of(corpus)
    clips = [row for row in corpus.table("clips").to_pylist() if row["media_type"] == "video"]
    found = stills_of(corpus, clips)
    shown: list[tuple[int, Footage]] = []
    for clip in clips:
        own = [Still(one.time_s - clip["start_s"], one.luma) for one in found[clip["clip_id"]]]
        for version in versions(own, rng, arguments.versions) if own else ():
            shown.append((groups[clip["source_id"]], footage(clip["end_s"] - clip["start_s"], version)))
    group = np.array([number for number, _ in shown])
    near, likely = funnel([whole for _, whole in shown], group, arguments.mirror)
    judged = likely if len(likely) <= arguments.most else likely[rng.choice(len(likely), arguments.most, replace=False)]
    false = [pair for pair in judged.tolist() if same_footage(shown[pair[0]][1], shown[pair[1]][1], arguments.mirror)]
    sizes = np.bincount(group)
    every = (len(shown) ** 2 - int((sizes.astype(np.int64) ** 2).sum())) // 2
    told: dict[str, Any] = {"clips": len(clips), "footage": len(sizes), "versions": len(shown), "pairs": every, "near": len(near)}
    told |= {"likely": len(likely), "compared": len(judged)}
    upper = (len(false) + 3 if not false else len(false) * 2 + 3) / every * len(likely) / max(len(judged), 1)
    told |= {"false": len(false), "false_per_million": len(false) / every * 1e6, "upper_95_per_million_if_independent": upper * 1e6}
    for name, found in (("near_between", near), ("likely_between", likely)):
        told[name] = Counter("-".join(map(str, sorted((int(group[a]), int(group[b]))))) for a, b in found.tolist()).most_common(12)
    told["false_between"] = sorted({tuple(sorted((int(group[a]), int(group[b])))) for a, b in false})
    print(json.dumps(told))


@dataclass(frozen=True)
class Strangers:
    """Which of many clips show different footage, by the number of each one's footage."""

    groups: np.ndarray

    def comparable(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """As `Kinship` has it: bool (P,)."""
        return self.groups[first] != self.groups[second]


def funnel(shown: Sequence[Footage], groups: np.ndarray, mirror: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of clips of different footage that are near, and those left after a glance, every picture held against every other: int64 (P, 2) each."""
    telling = [[one.luma for one in whole.stills if seen(one.luma) >= LEAST_ALONE] for whole in shown]
    miniatures = np.stack([miniature(luma) for lumas in telling for luma in lumas])
    owners, strangers = np.repeat(np.arange(len(shown)), list(map(len, telling))), Strangers(groups)
    cells.ONE_CELL_UP_TO = len(owners)

    def different(laid: Laid) -> Likely:
        return lambda first, second, _view: strangers.comparable(laid.owners[first], laid.owners[second])

    def found(likely: Callable[[Laid], Likely]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            return all_near_pairs(lambda: iter([(miniatures, owners)]), whole, NEAR, views(mirror), Path(folder), likely)

    return found(different), found(lambda laid: likely_copies(laid, strangers, mirror))


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--versions", type=int, default=20, help="of each clip")
    parser.add_argument("--most", type=int, default=4000, help="near pairs compared at most; more are drawn at random")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    pairs(parser.parse_args())


if __name__ == "__main__":
    main()
