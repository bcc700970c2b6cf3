"""How often different footage is taken for copies, and what looking for copies among millions costs.

    python -m benchmarks.lookalikes pairs --corpus FOLDER     false pairs among real clips, each shown in many versions
    python -m benchmarks.lookalikes index --corpus FOLDER --pictures 4000000  memory, time and recall of the index on descriptors made out of real ones

`pairs` takes a corpus that `benchmarks.duplicates` read (`--also raw` for more scenes). Every clip is shown in versions: cropped, graded, noisy,
mirrored, as another film of the same camera would be. All versions of all clips of different footage are pairs that must not come together; what the
index holds to be near is compared as `deduplicate` does. Clips of one source, and of sources that are copies of one another, are not paired.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import faiss
import numpy as np

from curate.copies.compare import same_footage
from curate.copies.fingerprint import CROPS, DIMENSIONS, Footage, Still, descriptors, footage
from curate.copies.neighbours import index_of, near_pairs
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import FINGERPRINTS, NEAR, _views, deduplicate, stills_of

PICTURES = 4
"""Of a clip, as reading keeps them."""


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


def real_descriptors(corpus: Corpus) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors of real pictures (N, CROPS, DIMENSIONS), how they change within a clip, and how they differ between copies (M, CROPS, DIMENSIONS each)."""
    deduplicate(corpus, mirror=False)
    rows = corpus.read(FINGERPRINTS).to_pylist()
    own = {row["clip_id"]: np.frombuffer(row["descriptors"], np.float16).reshape(-1, len(CROPS), DIMENSIONS).astype(np.float32) for row in rows}
    own = {clip: described for clip, described in own.items() if len(described)}
    within = [found[1:] - found[:-1] for found in own.values()]
    apart = []
    for row in corpus.table("clips", columns=["clip_id", "duplicate_of"]).to_pylist():
        if row["duplicate_of"] in own and row["clip_id"] in own:
            one, other = own[row["duplicate_of"]], own[row["clip_id"]]
            likeness = one[:, 0] @ other[:, 0].T
            i, j = np.unravel_index(likeness.argmax(), likeness.shape)
            apart.append(other[j] - one[i])
    return np.concatenate(list(own.values())), np.concatenate(within), np.stack(apart)


def generated(real: tuple[np.ndarray, np.ndarray, np.ndarray], clips: int, rng: np.random.Generator) -> np.ndarray:
    """Descriptors of clips of PICTURES pictures: float16 (clips * PICTURES, CROPS, DIMENSIONS), the last hundredth of the clips copies of the first.

    A clip is three real pictures in one, so that numbers go together as in real ones; its pictures differ as those of real clips do, and copies as real copies.
    """
    pictures, within, apart = real
    made = np.empty((clips, PICTURES, len(CROPS), DIMENSIONS), np.float16)
    for start in range(0, clips, 1 << 15):
        count = min(1 << 15, clips - start)
        shares = rng.dirichlet((1, 1, 1), count).astype(np.float32) * rng.choice((-1, 1), (count, 3))
        base = np.einsum("ns,nscd->ncd", shares, pictures[rng.integers(0, len(pictures), (count, 3))])
        base /= np.linalg.norm(base, axis=-1, keepdims=True)
        steps = np.cumsum(within[rng.integers(0, len(within), (count, PICTURES))], axis=1)
        made[start : start + count] = _of_length_one(base[:, None] + steps)
    copies = clips // 100
    made[-copies:] = _of_length_one(made[:copies].astype(np.float32) + apart[rng.integers(0, len(apart), (copies, PICTURES))])
    return made.reshape(-1, len(CROPS), DIMENSIONS)


def _of_length_one(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def index(arguments: argparse.Namespace) -> None:
    """Look for near ones among generated descriptors, of which a hundredth are copies; memory, time, and how many are found."""
    clips = arguments.pictures // PICTURES
    vectors = generated(real_descriptors(open_corpus(arguments.corpus)), clips, np.random.default_rng(0))
    owners = np.repeat(np.arange(clips), PICTURES)
    told: dict[str, Any] = {"clips": clips, "pictures": len(vectors)}
    began, cpu = time.perf_counter(), time.process_time()
    held = index_of(vectors)
    told |= {"build_s": round(time.perf_counter() - began, 1), "build_cpu_s": round(time.process_time() - cpu, 1)}
    told |= {"index_bytes_a_picture": round(len(faiss.serialize_index(held)) / len(vectors), 1)}
    print(json.dumps(told), flush=True)
    began, cpu = time.perf_counter(), time.process_time()
    found = near_pairs(vectors, owners, NEAR, _views(False), held)
    told |= {"search_s": round(time.perf_counter() - began, 1), "search_cpu_s": round(time.process_time() - cpu, 1)}
    copies = clips // 100
    first, last = vectors.reshape(clips, PICTURES, len(CROPS), DIMENSIONS)[:copies, :, 0], vectors.reshape(clips, PICTURES, len(CROPS), DIMENSIONS)[-copies:]
    likeness = np.einsum("npd,nqcd->npqc", first.astype(np.float32), last.astype(np.float32)).max(axis=(1, 2, 3))
    known = set(found[found[:, 1] - found[:, 0] == clips - copies][:, 0].tolist())
    near = np.flatnonzero(likeness >= NEAR)
    told |= {"copies": copies, "copies_that_are_near": len(near), "of_these_found": round(len(known.intersection(near.tolist())) / len(near), 4)}
    told |= {"pairs_to_compare": len(found), "a_clip": round(len(found) / clips, 3)}
    print(json.dumps(told))


def main() -> None:
    """Count, or time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pairs", "index"))
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--versions", type=int, default=20, help="of each clip")
    parser.add_argument("--most", type=int, default=4000, help="near pairs compared at most; more are drawn at random")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--pictures", type=int, default=4_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    {"pairs": pairs, "index": index}[arguments.what](arguments)


if __name__ == "__main__":
    main()
