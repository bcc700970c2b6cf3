"""Technical quality of the picture: sharpness, noise, blockiness, exposure, contrast and colourfulness, each stated apart, and one figure from them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa
from safetensors import safe_open

from curate.models import weights
from curate.scorers.base import ClipBatch, Scorer, columns, tabulate
from curate.scorers.statistics import grey_quantiles, quantiles, statistics

PARTS = ("sharpness", "noise", "blockiness", "exposure", "contrast", "colourfulness")

MODEL = "technical-ranker"


class Technical(Scorer):
    """Measures how well the picture was made, not its beauty or content: the median over proxies of each part, and the mean of the ranker's figure.

    The parts are plain measures of one thing each. The figure comes from a ranker over the parts and over natural scene statistics,
    which was taught by degrading pictures step by step (`benchmarks/train_technical.py`; RankIQA, Liu et al. 2017). It falls when a picture is
    blurred, grained, compressed, darkened or upscaled; between different pictures it compares only roughly.
    """

    name = "technical"
    version = "1"
    columns = columns("technical", *PARTS)
    needs = frozenset({"proxies"})
    models: ClassVar = (MODEL,)

    def setup(self) -> None:
        self._ranker = Ranker.load(weights(MODEL, self.models_dir)[0])

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            seen = [features(pixels) for pixels in batch.frames(index)]
            middle = {name: float(np.median([each[name] for each in seen])) for name in PARTS}
            return {"technical": float(np.mean([self._ranker(each) for each in seen])), **middle}

        return tabulate(batch, self.columns, measure)


@dataclass(frozen=True)
class Ranker:
    """A line and a parabola per feature, added up and laid onto 0-1."""

    names: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    weight: np.ndarray
    middle: float
    reach: float

    @classmethod
    def load(cls, path: Path) -> "Ranker":
        """From a safetensors file that `benchmarks/train_technical.py` wrote."""
        with safe_open(str(path), "np") as stored:
            names = json.loads(stored.metadata()["names"])
            mean, deviation, weight, middle, reach = (stored.get_tensor(name).astype(np.float64) for name in ("mean", "deviation", "weight", "middle", "reach"))
        return cls(tuple(names), mean, deviation, weight, float(middle[0]), float(reach[0]))

    def __call__(self, seen: dict[str, float]) -> float:
        """The figure of one picture from its features; 0-1. Its tails are long, so that very good and very bad pictures still differ."""
        standard = (np.array([seen[name] for name in self.names]) - self.mean) / self.deviation
        figure = (float(quadratic(standard) @ self.weight) - self.middle) / self.reach
        return 0.5 * (1 + figure / (1 + abs(figure)))


def quadratic(standard: np.ndarray) -> np.ndarray:
    """Standardised features (..., N) and their squares, bounded where training saw few: (..., 2N)."""
    return np.concatenate([standard, np.clip(standard, -3, 3) ** 2], axis=-1)


def parts(pixels: np.ndarray, grey: np.ndarray, luma: np.ndarray) -> dict[str, float]:
    """Each part of one picture in 0-1, from its colours, uint8 (H, W, 3) RGB, and its luma (H, W), uint8 and float32."""
    return {
        "sharpness": sharpness(luma),
        "noise": noise(luma),
        "blockiness": blockiness(luma),
        "exposure": exposure(grey),
        "contrast": contrast(grey),
        "colourfulness": colourfulness(pixels),
    }


def features(pixels: np.ndarray) -> dict[str, float]:
    """What the ranker sees of one picture: its parts and its statistics, by name."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    luma = grey.astype(np.float32)
    return {**parts(pixels, grey, luma), **statistics(luma)}


def sharpness(luma: np.ndarray) -> float:
    """How thin the strongest edges are: their width by the gradient ratio of a re-blurred copy (Zhuo and Sim 2011), 1 for a step."""
    spread = 1.0
    calm = cv2.GaussianBlur(luma, (0, 0), 0.6)
    again = cv2.GaussianBlur(calm, (0, 0), spread)
    before, after = _gradient(calm), _gradient(again)
    strong = after >= max(float(quantiles(after, (0.97,))[0]), 1.0)
    if not strong.any():
        return 0.0
    ratio = np.median(before[strong] / after[strong])
    width = spread / np.sqrt(max(ratio**2 - 1, 1e-3))
    return float(1 / (1 + (width / 1.8) ** 2))


def noise(luma: np.ndarray) -> float:
    """Grain where the picture is smooth, relative to its tonal range: the deviation of a Laplacian residue (Immerkær 1996) in the calmest fifth."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    residue = np.abs(cv2.filter2D(luma, -1, kernel)) * math.sqrt(math.pi / 2)  # NumPy's own root would make it double
    local = cv2.boxFilter(residue, -1, (15, 15))[8:-8:4, 8:-8:4]
    grain = float(quantiles(local, (0.2,))[0]) if local.size else 0.0
    return float(1 - np.exp(-grain / (1 + 0.12 * float(luma.std()))))


def blockiness(luma: np.ndarray, period: int = 8) -> float:
    """How much stronger steps across the 8-pixel coding grid are than elsewhere (Wang, Bovik and Evans 2000, in the pixel domain)."""
    excess = []
    for steps in (np.abs(np.diff(luma, axis=1)).mean(axis=0), np.abs(np.diff(luma, axis=0)).mean(axis=1)):
        if len(steps) >= 3 * period:
            grid = steps[period - 1 :: period].mean()
            rest = np.delete(steps, np.arange(period - 1, len(steps), period)).mean()
            excess.append(max(0.0, float((grid - rest) / (rest + 0.5))))
    return float(1 - np.exp(-1.5 * np.mean(excess))) if excess else 0.0


def exposure(grey: np.ndarray) -> float:
    """How near the middle tones of luma, uint8 (H, W), lie to mid-grey, and how little is crushed to black or burnt to white."""
    lost = (np.count_nonzero(grey < 4) + np.count_nonzero(grey > 251)) / grey.size
    off = (cv2.mean(grey)[0] - 118) / 118
    return float(np.exp(-1.5 * off**2) * (1 - 0.7 * min(lost, 1.0)))


def contrast(grey: np.ndarray) -> float:
    """The range between the 2nd and 98th percentile of luma, uint8 (H, W), as a share of the full range."""
    low, high = grey_quantiles(grey, (0.02, 0.98))
    return float((high - low) / 255)


def colourfulness(pixels: np.ndarray) -> float:
    """Hasler and Suesstrunk (2003), M3 over 110 (their `extremely colourful`), at most 1."""
    red, green, blue = (channel.astype(np.float32) for channel in cv2.split(pixels))
    opposed, other = red - green, (red + green) / 2 - blue
    spread = np.hypot(opposed.std(), other.std())
    return float(min(1.0, (spread + 0.3 * np.hypot(opposed.mean(), other.mean())) / 110))


def _gradient(luma: np.ndarray) -> np.ndarray:
    return cv2.magnitude(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))
