"""How often different footage is taken for copies, and what looking for copies among millions costs.

    python -m benchmarks.lookalikes pairs --corpus FOLDER     false pairs among real clips, each shown in many versions
    python -m benchmarks.lookalikes index --pictures 4000000  memory and time of the index on generated descriptors

`pairs` takes a corpus that `benchmarks.duplicates` read (`--also raw` for more scenes). Every clip is shown in versions: cropped, graded, noisy,
mirrored, as another film of the same camera would be. All versions of all clips of different footage are pairs that must not come together; what the
index holds to be near is compared as `deduplicate` does. Clips of one source, and of sources that are copies of one another, are not paired.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from curate.copies.compare import same_footage
from curate.copies.fingerprint import CROPS, DIMENSIONS, Footage, Still, descriptors, footage
from curate.copies.neighbours import near_pairs
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import NEAR, _views, deduplicate, stills_of


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
    vectors = np.concatenate([np.stack([descriptors(one.luma) for one in whole.stills]) for _, whole in shown]).astype(np.float16)
    owners = np.repeat(np.arange(len(shown)), [len(whole.stills) for _, whole in shown])
    near = near_pairs(vectors, owners, NEAR, _views(arguments.mirror))
    near = near[group[near[:, 0]] != group[near[:, 1]]]
    judged = near if len(near) <= arguments.most else near[rng.choice(len(near), arguments.most, replace=False)]
    false = [pair for pair in judged.tolist() if same_footage(shown[pair[0]][1], shown[pair[1]][1], arguments.mirror)]
    sizes = np.bincount(group)
    every = (len(shown) ** 2 - int((sizes.astype(np.int64) ** 2).sum())) // 2
    told: dict[str, Any] = {"clips": len(clips), "footage": len(sizes), "versions": len(shown), "pairs": every, "near": len(near), "compared": len(judged)}
    upper = (len(false) + 3 if not false else len(false) * 2 + 3) / every * len(near) / max(len(judged), 1)
    told |= {"false": len(false), "false_per_million": len(false) / every * 1e6, "upper_95_per_million_if_independent": upper * 1e6}
    told["false_between"] = sorted({tuple(sorted((int(group[a]), int(group[b])))) for a, b in false})
    print(json.dumps(told))


def index(arguments: argparse.Namespace) -> None:
    """Look for near ones among generated descriptors, of which a hundredth are copies; memory, time, and how many are found."""
    rng, count = np.random.default_rng(0), arguments.pictures
    spread = np.exp(-rng.exponential(0.3, DIMENSIONS)).astype(np.float32)  # real descriptors vary more in some numbers than in others
    vectors = np.empty((count, len(CROPS), DIMENSIONS), np.float16)
    for start in range(0, count, 1 << 18):
        made = rng.standard_normal((min(1 << 18, count - start), DIMENSIONS), np.float32) * spread
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        vectors[start : start + len(made)] = made[:, None]
    copies = count // 100
    vectors[-copies:] = vectors[:copies]
    vectors[-copies:] += rng.normal(0, 0.03, (copies, len(CROPS), DIMENSIONS)).astype(np.float16)
    before, began, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
    asked = near_pairs(vectors, np.arange(count), NEAR, lambda batch: [batch[:, 0]])
    known = np.count_nonzero(asked[:, 1] - asked[:, 0] == count - copies)
    told = {"pictures": count, "s": round(time.perf_counter() - began, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    told |= {"gb_besides_the_vectors": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6, 2), "found": known / copies}
    print(json.dumps(told))


def main() -> None:
    """Count, or time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "index"))
    parser.add_argument("--corpus")
    parser.add_argument("--versions", type=int, default=20, help="of each clip")
    parser.add_argument("--most", type=int, default=4000, help="near pairs compared at most; more are drawn at random")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--pictures", type=int, default=4_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    {"pairs": pairs, "index": index}[arguments.what](arguments)


if __name__ == "__main__":
    main()
