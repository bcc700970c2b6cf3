"""How often strangers are taken for copies: millions of pairs of pieces of real footage that show different things.

    python -m benchmarks.strangers --corpus FOLDER [--mirror] [--cuts 2 3 4]

Takes a corpus that `benchmarks.duplicates --also raw` read. Of every clip that is no copy of another the frame is cut into 2 x 2, 3 x 3 and 4 x 4 parts,
each of them followed through the clip's pictures as a clip of its own: natural footage, plainer than whole frames (a piece of sky, of a wall), hence
easier to take for another. Two pieces are a pair where their footage is different; every pair is looked at (no cell leaves any out), and what is near by
the descriptors and passes a glance is compared as `deduplicate` does, all of it or as many as `--most` at random.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import median

import cv2
import numpy as np

from benchmarks.lookalikes import funnel, groups_of
from curate.copies.compare import same_footage
from curate.copies.fingerprint import LEAST_DETAIL, WIDTH, Footage, Still, footage
from curate.corpus import Corpus, open_corpus


def decoded(corpus: Corpus, clips: Sequence[dict]) -> dict[str, list[tuple[float, np.ndarray]]]:
    """Time from the clip's start, and luma within the borders, of every picture of some clips."""
    about = {row["clip_id"]: row for row in clips}
    seen: dict[str, list[tuple[float, np.ndarray]]] = {name: [] for name in about}
    for row in corpus.proxies(list(about)).to_pylist():
        clip = about[row["clip_id"]]
        luma = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
        left, top, right, bottom = clip["content_box"] or (0.0, 0.0, 1.0, 1.0)
        height, width = luma.shape
        seen[row["clip_id"]].append(
            (row["time_s"] - clip["start_s"], luma[round(top * height) : round(bottom * height), round(left * width) : round(right * width)])
        )
    return seen


def pieces(length_s: float, pictures: Sequence[tuple[float, np.ndarray]], cuts: int) -> Iterator[Footage]:
    """The parts of a clip's frame, each as a clip; those that show too little in every picture, as `fingerprint` has it, are left out."""
    for y in range(cuts):
        for x in range(cuts):
            made = []
            for time_s, luma in pictures:
                height, width = luma.shape[0] // cuts, luma.shape[1] // cuts
                part = luma[y * height : (y + 1) * height, x * width : (x + 1) * width]
                if min(part.shape) < 48:
                    continue
                size = (WIDTH, max(16, round(WIDTH * height / width)))
                small = cv2.GaussianBlur(cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), 1.0)
                if small.std() >= LEAST_DETAIL:
                    made.append(Still(time_s, small))
            if made:
                yield footage(length_s, made)


def compared(shown: Sequence[Footage], pairs: Sequence[tuple[int, int]], mirror: bool) -> tuple[list[tuple[int, int]], dict[str, list[float]]]:
    """The pairs that are called copies, and the CPU seconds that each of these and each of the others took."""
    copies, spent = [], {"a_copy": [], "a_stranger": []}
    for a, b in pairs:
        began = time.process_time()
        same = same_footage(shown[a], shown[b], mirror) > 0
        spent["a_copy" if same else "a_stranger"].append(time.process_time() - began)
        if same:
            copies.append((a, b))
    return copies, spent


def upper(false: int, pairs: int) -> float:
    """The share of false pairs that 95 % confidence leaves open, were pairs independent: the rule of three, and near enough beyond none."""
    return (3.0 if not false else false + 1.92 + 1.96 * sqrt(false + 0.96)) / pairs


def main() -> None:
    """Cut, pair, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--cuts", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--most", type=int, default=4000, help="likely pairs compared at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began, corpus, rng = time.process_time(), open_corpus(given.corpus), np.random.default_rng(given.seed)
    groups = groups_of(corpus)
    clips = [row for row in corpus.table("clips").to_pylist() if row["media_type"] == "video" and row["duplicate_of"] is None]
    pictures = decoded(corpus, clips)
    shown: list[Footage] = []
    group, of = [], []
    for clip in clips:
        for cuts in given.cuts:
            made = list(pieces(clip["end_s"] - clip["start_s"], pictures[clip["clip_id"]], cuts))
            shown += made
            group += [groups[clip["source_id"]]] * len(made)
            of += [(clip["clip_id"], cuts, number) for number in range(len(made))]
    numbers = np.array(group)
    sizes = np.bincount(numbers)
    every = (len(shown) ** 2 - int((sizes.astype(np.int64) ** 2).sum())) // 2
    near, pairs = funnel(shown, numbers, given.mirror)
    judged = pairs if len(pairs) <= given.most else pairs[rng.choice(len(pairs), given.most, replace=False)]
    false, spent = compared(shown, judged.tolist(), given.mirror)
    told = {"clips": len(clips), "footage": int((sizes > 0).sum()), "pieces": len(shown), "pairs": every, "near": len(near)}
    told |= {"likely": len(pairs), "compared": len(judged)}
    share = len(judged) / max(len(pairs), 1)
    told |= {"false": len(false), "upper_95_per_million_if_independent": round(upper(len(false), round(every * share)) * 1e6, 3)}
    told |= {f"ms_{what}": round(1e3 * median(seconds), 1) for what, seconds in spent.items() if seconds}
    told |= {"cpu_s": round(time.process_time() - began, 1), "false_pairs": [[of[a], of[b]] for a, b in false]}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
