"""Makes training examples in chunks of 64, one file a chunk, each example from its own seed: `python make.py FOLDER --part train --chunks 100`."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from examples import example
from materials import materials

CHUNK = 64
FIELDS = ("planes", "pictures", "valid", "mark", "caption", "moving")


def make_chunk(path: Path, seeds: range, stock, kinds: list[str | None]) -> None:
    """Writes the examples of seeds; portrait ones lie on their side and say so. Whole or not at all."""
    made = [example(seed, stock, kind) for seed, kind in zip(seeds, kinds, strict=True)]
    arrays = {name: np.stack([_upright(getattr(each, name)) for each in made]) for name in FIELDS}
    arrays["portrait"] = np.array([each.valid.shape[0] > each.valid.shape[1] for each in made])
    arrays["kind"] = np.array([each.kind for each in made])
    arrays["static"] = np.array([each.static for each in made])
    arrays["captioned"] = np.array([each.captioned for each in made])
    arrays["strength"] = np.array([each.strength for each in made], np.float32)
    arrays["area"] = np.array([each.area for each in made], np.float32)
    arrays["box"] = np.array([each.box or (0, 0, 0, 0) for each in made], np.float32)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.rename(path)


def _upright(array: np.ndarray) -> np.ndarray:
    return array.swapaxes(-1, -2) if array.shape[-2] > array.shape[-1] else array


def main() -> None:
    """Makes the chunks that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=["train", "test"], default="train")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--seeds-from", type=int, default=0, help="added to every seed, to make a set apart from the same materials")
    parser.add_argument("--kinds", nargs="*", help="kinds of mark to go through in turn (`none` is one) instead of drawing them")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    stock = materials(given.part)
    for chunk in range(given.first, given.first + given.chunks):
        path = given.folder / f"{given.part}-{chunk:05d}.npz"
        if not path.exists():
            seeds = range(given.seeds_from + chunk * CHUNK, given.seeds_from + (chunk + 1) * CHUNK)
            kinds = [given.kinds[seed % len(given.kinds)] if given.kinds else None for seed in seeds]
            make_chunk(path, seeds, stock, kinds)


if __name__ == "__main__":
    main()
