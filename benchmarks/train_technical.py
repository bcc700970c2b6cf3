"""Trains the technical-quality ranker: pictures are degraded step by step, and a ranker learns that each step is worse than the one before.

    python benchmarks/train_technical.py --out curate/weights/technical.safetensors [--pictures FOLDER ...] [--seed 0]

No person's opinion is used (RankIQA, Liu, van de Weijer and Bagdanov 2017, with statistics in place of pixels). Pictures come from wheels:
scikit-learn's and gradio's samples, and those of any --pictures folder. The shipped weights also used scikit-image's `data` folder
(public domain and CC0 photographs); none of the footage that measures clipmill was seen.
"""

import argparse
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from curate.scorers.technical import features, quadratic

SAMPLES = {
    "scikit-learn": ("sklearn/datasets/images/china.jpg", "sklearn/datasets/images/flower.jpg"),
    "gradio": ("gradio/media_assets/images/tower.jpg", "gradio/media_assets/images/cheetah.jpg", "gradio/media_assets/videos/world.mp4"),
    "matplotlib": ("matplotlib/mpl-data/sample_data/grace_hopper.jpg",),
}
NOT_PHOTOGRAPHS = ("logo", "page", "text", "phantom", "horse", "color", "microaneurysms", "clock_motion", "motorcycle_disp", "cell", "chessboard", "multipage")

LADDERS: dict[str, tuple[float, ...]] = {
    "blur": (0.0, 0.45, 0.8, 1.3, 2.0, 3.0, 4.5),
    "noise": (0.0, 3, 6, 11, 18, 28, 42),
    "jpeg": (100, 75, 55, 38, 25, 15, 8),
    "dark": (1.0, 0.82, 0.66, 0.5, 0.37, 0.26, 0.16),
    "upscale": (1.0, 1.3, 1.7, 2.2, 3.0, 4.0, 5.5),
}
"""Steps of each degradation, the first of which changes nothing: pixels, grey levels, JPEG quality, gain, factor."""

TOGETHER = 3e-4
"""How hard pristine pictures are pulled together."""

LONGER_SIDES = (384, 448, 512, 512, 512, 640)
"""Proxies are 512 pixels wide unless asked otherwise."""


def main() -> None:
    given = arguments()
    random = np.random.default_rng(given.seed)
    pictures = list(found_pictures(given.pictures))
    print(f"{len(pictures)} pictures")
    ladders = [ladder for number, picture in enumerate(pictures) for ladder in ladders_of(picture, given.crops, random, number)]
    names, values = sorted(ladders[0][1][0]), []
    for _, rungs, _ in ladders:
        values.append([[rung[name] for name in names] for rung in rungs])
    weights = fitted(np.array(values), np.array([pristine for _, _, pristine in ladders]))
    from safetensors.numpy import save_file

    save_file(weights, given.out, {"names": json.dumps(names), "pictures": str(len(pictures)), "seed": str(given.seed)})
    print(f"{given.out}: {sum(each.size for each in weights.values())} numbers")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--pictures", nargs="*", default=[])
    parser.add_argument("--crops", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def found_pictures(folders: list[str]) -> Iterator[np.ndarray]:
    """Photographs, uint8 (H, W, 3) RGB, from installed wheels and from folders."""
    paths = [Path(str(importlib.metadata.distribution(name).locate_file(path))) for name, paths in SAMPLES.items() for path in paths]
    paths += [path for folder in folders for path in sorted(Path(folder).iterdir()) if path.suffix in (".png", ".jpg")]
    for path in paths:
        if path.suffix == ".mp4":
            reader = cv2.VideoCapture(str(path))
            frames = [frame for _, frame in iter(reader.read, (False, None))]
            yield from (frame[:, :, ::-1] for frame in frames[10 :: max(1, len(frames) // 5)])
        elif not any(part in path.stem for part in NOT_PHOTOGRAPHS) and (picture := cv2.imread(str(path))) is not None and min(picture.shape[:2]) >= 256:
            yield picture[:, :, ::-1]


def ladders_of(picture: np.ndarray, crops: int, random: np.random.Generator, number: int) -> Iterator[tuple[str, list[dict[str, float]], bool]]:
    """Crops of a picture, each degraded along every ladder: the degradation, the features of each rung, and whether the first rung is pristine."""
    for crop in range(crops):
        base, pristine = cropped(picture, crop, random), crop % 3 == 0
        if not pristine:
            base = worn(base, random)
        for kind, steps in LADDERS.items():
            grain = random.standard_normal(base.shape if random.random() < 0.6 else (*base.shape[:2], 1))
            rungs = [features(as_proxy(degraded(base, kind, step, grain), random.random() < 0.75)) for step in steps]
            yield kind, rungs, pristine
    print(f"picture {number}", flush=True)


def cropped(picture: np.ndarray, crop: int, random: np.random.Generator) -> np.ndarray:
    """The whole picture or a part of it, at a proxy's size or up to twice that; never enlarged by more than a tenth."""
    height, width = picture.shape[:2]
    share = 1.0 if crop == 0 else float(random.uniform(0.45, 1.0))
    high, wide = max(200, int(height * share)), max(200, int(width * share))
    top, left = int(random.integers(0, max(1, height - high))), int(random.integers(0, max(1, width - wide)))
    part = picture[top : top + high, left : left + wide]
    side = int(random.choice(LONGER_SIDES)) * float(random.choice([1.0, 1.0, 1.5, 2.0]))
    scale = min(side / max(part.shape[:2]), 1.1)
    size = max(96, round(part.shape[1] * scale)), max(96, round(part.shape[0] * scale))
    return np.ascontiguousarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))


def worn(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A picture as footage often comes: compressed, a little soft or grainy, or not fully exposed."""
    for kind, chance, low, high in (("blur", 0.4, 0.3, 1.0), ("noise", 0.4, 1, 6), ("dark", 0.4, 0.55, 1.0), ("jpeg", 0.6, 50, 92)):
        if random.random() < chance:
            picture = degraded(picture, kind, float(random.uniform(low, high)), random.standard_normal(picture.shape))
    return picture


def degraded(picture: np.ndarray, kind: str, step: float, grain: np.ndarray) -> np.ndarray:
    """One step of one degradation; sizes are meant at a proxy's size, and grow with the picture."""
    height, width = picture.shape[:2]
    growth = max(1.0, max(height, width) / 512)
    if kind == "blur" and step:
        return cv2.GaussianBlur(picture, (0, 0), step * growth)
    if kind == "noise":
        return np.clip(picture + grain * step, 0, 255).astype(np.uint8)
    if kind == "jpeg" and step < 100:
        return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(step)])[1], cv2.IMREAD_COLOR)
    if kind == "dark":
        return (picture * step).astype(np.uint8)
    if kind == "upscale" and step > 1:
        small = cv2.resize(picture, (max(8, int(width / (step * growth))), max(8, int(height / (step * growth)))), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC if grain.flat[0] > 0 else cv2.INTER_LINEAR)
    return picture


def as_proxy(picture: np.ndarray, stored: bool) -> np.ndarray:
    """The picture no larger than a proxy; and, where `stored`, as JPEG leaves it."""
    scale = min(1.0, 512 / max(picture.shape[:2]))
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 82])[1], cv2.IMREAD_COLOR) if stored else small


def fitted(values: np.ndarray, pristine: np.ndarray, steps: int = 1500) -> dict[str, np.ndarray]:
    """An additive ranker (a line and a parabola per feature) over ladders (ladders, rungs, features), fitted to pairs of neighbouring rungs.

    The logistic ranking loss of RankNet (Burges et al. 2005). Pristine pictures are pulled together a little, so that scores also
    compare between pictures; pulled harder, they would lose the order within one. Last, scores are laid onto 0-1.
    """
    import torch

    torch.set_num_threads(1)
    mean, deviation = values.mean(axis=(0, 1)), values.std(axis=(0, 1)) + 1e-6
    terms = quadratic((values - mean) / deviation)
    falls = (terms[:, :-1] - terms[:, 1:]).reshape(-1, terms.shape[-1])
    scale = falls.std(axis=0) + 1e-9
    level = terms[pristine, 0]
    pairs, spread = (torch.tensor(each / scale, dtype=torch.float32) for each in (falls, level - level.mean(axis=0)))
    weight = torch.zeros(terms.shape[-1], requires_grad=True)
    optimiser = torch.optim.Adam([weight], 0.03)
    for _ in range(steps):
        ranking = torch.nn.functional.softplus(-(pairs @ weight)).mean()
        loss = ranking + 0.01 * weight.square().sum() + TOGETHER * (spread @ weight).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = weight.detach().numpy() / scale
    print(f"steps in order: {(falls @ found > 0).mean():.4f}; pristine pictures spread {(level @ found).std():.2f}, a step is {(falls @ found).mean():.2f}")
    best, worst = np.median(terms[pristine, 0] @ found), np.median(terms[:, -1] @ found)
    made = {"mean": mean, "deviation": deviation, "weight": found, "middle": np.array([(best + worst) / 2]), "reach": np.array([(best - worst) / 4])}
    return {name: each.astype(np.float32) for name, each in made.items()}


if __name__ == "__main__":
    main()
