"""How often different footage is taken for copies, and what looking for copies among millions costs.

    python -m benchmarks.lookalikes pairs --corpus FOLDER     false pairs among real clips, each shown in many versions
    python -m benchmarks.lookalikes index --corpus FOLDER --clips 1000000  memory, time and recall of the search on clips mixed from real ones

`pairs` takes a corpus that `benchmarks.duplicates` read (`--also raw` for more scenes). Every clip is shown in versions: cropped, graded, noisy,
mirrored, as another film of the same camera would be. All versions of all clips of different footage are pairs that must not come together; what the
index holds to be near is compared as `deduplicate` does. Clips of one source, and of sources that are copies of one another, are not paired.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.copies import neighbours
from curate.copies.compare import same_footage
from curate.copies.compare import shown as seen
from curate.copies.fingerprint import SIDE, Described, Footage, Still, footage, miniature, window
from curate.copies.neighbours import near_pairs
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import LEAST_ALONE, NEAR, _likely, _views, deduplicate, stills_of

PICTURES = 4
"""Of a clip, as reading keeps them."""
CUTS = 24
"""Pieces of a real clip's frame that generated clips are mixed from."""


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
    neighbours.ONE_CELL_UP_TO = len(owners)

    def different(first: np.ndarray, second: np.ndarray, _view: int) -> np.ndarray:
        return strangers.comparable(owners[first], owners[second])

    ways = (different, _likely(miniatures, owners, strangers, mirror))
    near, likely = (near_pairs(Described(miniatures), owners, NEAR, _views(mirror), way) for way in ways)
    return near, likely


def sequences(corpus: Corpus, rng: np.random.Generator) -> np.ndarray:
    """The pictures of real clips as miniatures, each clip in CUTS cuts of its frame: float32 (S, PICTURES, SIDE, SIDE)."""
    clips = [row for row in corpus.table("clips").to_pylist() if row["media_type"] == "video" and row["duplicate_of"] is None]
    made = []
    for stills in stills_of(corpus, clips).values():
        for _ in range(CUTS if len(stills) >= PICTURES else 0):
            (height, width), share, down, across, turned = stills[0].luma.shape, rng.uniform(0.4, 1.0), *rng.uniform(0, 1, 2), rng.random() < 0.5
            top, left = round(down * (1 - share) * height), round(across * (1 - share) * width)
            parts = [one.luma[top : top + round(share * height), left : left + round(share * width)] for one in stills[:PICTURES]]
            made.append([miniature(np.ascontiguousarray(part[:, ::-1] if turned else part)) for part in parts])
    return np.array(made, np.float32)


def generated(real: np.ndarray, clips: int, file: Path, rng: np.random.Generator) -> np.ndarray:
    """Miniatures of clips, uint8 (clips * PICTURES, SIDE, SIDE) in a file, the last hundredth of the clips copies of the first.

    A clip is three real ones in one, none of them nearly all of it; a copy is cropped by up to 12 %, graded and noisy.
    """
    made = np.memmap(file, np.uint8, "w+", shape=(clips, PICTURES, SIDE, SIDE))
    for start in range(0, clips, 1 << 12):
        count = min(1 << 12, clips - start)
        shares = rng.dirichlet((5, 5, 5), count).astype(np.float32) * rng.choice((-1, 1), (count, 3))
        mixed = np.einsum("ns,nspyx->npyx", shares, real[rng.integers(0, len(real), (count, 3))])
        mixed -= mixed.mean(axis=(1, 2, 3), keepdims=True)
        made[start : start + count] = np.clip(128 + 50 * mixed / (mixed.std(axis=(1, 2, 3), keepdims=True) + 1), 0, 255)
    copies = clips // 100
    for number in range(copies):
        share, edges = rng.uniform(0.88, 1.0), rng.uniform(0, 1, 2)
        down, across = (window((1 - share) * edge, share) for edge in edges)
        copy = 255 * (np.clip(down @ made[number] @ across.T, 0, 255) / 255) ** rng.uniform(0.7, 1.4)
        made[clips - copies + number] = np.clip(copy + rng.normal(0, 2, copy.shape), 0, 255)
    return made.reshape(-1, SIDE, SIDE)


def index(arguments: argparse.Namespace) -> None:
    """Look for copies among generated clips, of which a hundredth are; time, memory, how many are found, and how many others are left to compare."""
    clips, rng = arguments.clips, np.random.default_rng(0)
    copies, owners = clips // 100, np.repeat(np.arange(clips), PICTURES)
    counted, spent = {"near": 0, "clips": 0}, {"likely": 0.0}
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        miniatures = generated(sequences(open_corpus(arguments.corpus), rng), clips, Path(folder) / "miniatures", rng)
        glance = _likely(miniatures, owners, Strangers(owners), False)

        def likely(first: np.ndarray, second: np.ndarray, view: int) -> np.ndarray:
            began = time.process_time()
            counted["near"] += len(first)
            counted["clips"] += len(np.unique(owners[first] << 32 | owners[second]))
            told = glance(first, second, view)
            spent["likely"] += time.process_time() - began
            return told

        began, cpu = time.perf_counter(), time.process_time()
        found = near_pairs(Described(miniatures), owners, NEAR, _views(False), likely, Path(folder), _progress)
        told: dict[str, Any] = {"clips": clips, "pictures": len(miniatures), "wall_s": round(time.perf_counter() - began, 1)}
        told |= {"cpu_s": round(time.process_time() - cpu, 1), "of_which_glances_s": round(spent["likely"], 1)}
        rows = np.concatenate([np.arange(copies * PICTURES), np.arange(len(miniatures) - copies * PICTURES, len(miniatures))])
        neighbours.ONE_CELL_UP_TO = len(rows)
        one_cell = near_pairs(Described(miniatures[rows]), owners[rows], NEAR, _views(False), _likely(miniatures[rows], owners[rows], Strangers(owners), False))
    planted, likely_ones = (pairs[pairs[:, 1] - pairs[:, 0] == clips - copies] for pairs in (found, one_cell))
    strangers = found[found[:, 1] - found[:, 0] != clips - copies]
    told |= {"peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)}
    told |= {"copies": copies, "likely_when_all_are_compared": len(likely_ones), "found": len(planted), "near_pictures": counted["near"]}
    told |= {"near_pairs_at_most": counted["clips"], "strangers_left": len(strangers)}
    told |= {"strangers_left_a_clip": len(strangers) / clips, "near_pictures_a_clip": round(counted["near"] / clips, 2)}
    print(json.dumps(told), flush=True)


def _progress(what: str, done: int, whole: int) -> None:
    if done % max(1, whole // 20) == 0:
        print(f"{what} {done} of {whole}, {time.process_time():.0f} CPU s", file=sys.stderr, flush=True)


def main() -> None:
    """Count, or time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "index"))
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--versions", type=int, default=20, help="of each clip")
    parser.add_argument("--most", type=int, default=4000, help="near pairs compared at most; more are drawn at random")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--clips", type=int, default=250_000)
    parser.add_argument("--work", help="folder for 2.7 kB a clip")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    {"pairs": pairs, "index": index}[arguments.what](arguments)


if __name__ == "__main__":
    main()
