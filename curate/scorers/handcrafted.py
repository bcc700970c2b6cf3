"""An aesthetic measure made by hand from known cues of photographs; named `handcrafted` so that nobody takes it for LAION's predictor."""

import cv2
import numpy as np
import pyarrow as pa

from curate.scorers.base import ClipBatch, Scorer, columns, tabulate
from curate.scorers.technical import colourfulness, contrast, exposure, noise, sharpness

WEIGHTS = {"sharpness": 2.0, "calm": 1.0, "exposure": 1.5, "contrast": 1.5, "colour": 1.5, "harmony": 1.0, "composition": 1.5, "simplicity": 1.0}


class HandcraftedAesthetic(Scorer):
    """1 to 10, the weighted mean of cues that Datta et al. (2006) and Ke et al. (2006) found to tell liked photographs from others.

    No model, no training, no taste: it orders plain from striking pictures, and its scale is its own.
    """

    name = "handcrafted"
    version = "1"
    columns = columns("aesthetic")
    needs = frozenset({"proxies"})
    preprocessing = "longer side at most 320, by area"

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            return {"aesthetic": 1 + 9 * float(np.mean([beauty(pixels) for pixels in batch.frames(index)]))}

        return tabulate(batch, self.columns, measure)


def beauty(pixels: np.ndarray) -> float:
    """The weighted mean of the cues of one picture, uint8 (H, W, 3) RGB; 0-1."""
    found = cues(pixels)
    return sum(WEIGHTS[name] * value for name, value in found.items()) / sum(WEIGHTS.values())


def cues(pixels: np.ndarray) -> dict[str, float]:
    """Each cue of one picture, 0-1."""
    scale = min(1.0, 320 / max(pixels.shape[:2]))
    size = max(16, round(pixels.shape[1] * scale)), max(16, round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    luma = grey.astype(np.float32)
    detail = _detail(luma)
    return {
        "sharpness": sharpness(luma),
        "calm": 1 - noise(luma),
        "exposure": exposure(grey),
        "contrast": contrast(grey),
        "colour": float(np.sqrt(colourfulness(small))),
        "harmony": harmony(small),
        "composition": composition(detail),
        "simplicity": simplicity(detail),
    }


def harmony(pixels: np.ndarray) -> float:
    """How few hues carry the colour: one less the normalised entropy of saturated hues; a grey picture is neutral (0.5)."""
    hue, saturation, value = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))
    weight = (saturation.astype(np.float64) / 255) * (value.astype(np.float64) / 255)
    if weight.sum() < 0.02 * weight.size:
        return 0.5
    share = np.bincount((hue.ravel() // 15).astype(int), weights=weight.ravel(), minlength=12)
    share = share[share > 0] / share.sum()
    return float(1 + (share * np.log(share)).sum() / np.log(12))


def composition(detail: np.ndarray) -> float:
    """How near the centre of detail lies to a power point of the rule of thirds."""
    height, width = detail.shape
    total = detail.sum()
    if total <= 0:
        return 0.0
    across = float((detail.sum(axis=0) * np.arange(width)).sum() / total / max(width - 1, 1))
    down = float((detail.sum(axis=1) * np.arange(height)).sum() / total / max(height - 1, 1))
    distance = np.hypot(min(abs(across - 1 / 3), abs(across - 2 / 3)), min(abs(down - 1 / 3), abs(down - 2 / 3)))
    return float(np.exp(-((distance / 0.2) ** 2)))


def simplicity(detail: np.ndarray) -> float:
    """How little of the frame holds 90 % of its detail: a subject before a plain ground scores high (Ke et al. 2006)."""
    ordered = np.sort(detail.ravel())[::-1]
    total = ordered.sum()
    if total <= 0:
        return 0.0
    needed = int(np.searchsorted(np.cumsum(ordered), 0.9 * total)) + 1
    return float(1 - needed / ordered.size)


def _detail(luma: np.ndarray) -> np.ndarray:
    """Where the picture has detail: gradient magnitude over 16-pixel neighbourhoods."""
    gradient = cv2.magnitude(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))
    return cv2.resize(cv2.boxFilter(gradient, -1, (16, 16)), (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
