"""Fingerprints: what of a clip's proxies is needed to find its copies: small luma pictures, and descriptors that near-copies share.

A descriptor is the low frequencies of a picture's cosine transform, as in perceptual hashing (Zauner 2010, "Implementation and
benchmarking of perceptual image hash functions"), kept as numbers instead of signs and weighted by frequency so that fine structure counts
as much as coarse. Contrast, brightness, re-encoding and scale leave it nearly as it is; a mirror flips the sign of known entries; crops are
met by describing the picture's centre as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

VERSION = "fingerprint@1"
WIDTH = 128
"""Pixels of the small pictures' width."""
CROPS = (1.0, 0.9, 0.82)
"""Centre parts described, as shares of width and height; the first is what the index holds, all are asked for."""
BLUR = 1.0
"""Pixels by which they are smoothed, so that a shift by less than a pixel matters little."""
LEAST_DETAIL = 6.0
"""Luma deviation below which a picture (black, a plain title) is evidence of nothing."""
SIDE, LOW = 32, 8
_ROWS, _COLUMNS = np.meshgrid(np.arange(LOW), np.arange(LOW), indexing="ij")
_CHOSEN = (_ROWS + _COLUMNS > 0) & (_ROWS + _COLUMNS < LOW)
_WEIGHTS = (1.0 + _ROWS + _COLUMNS)[_CHOSEN]
DIMENSIONS = int(_CHOSEN.sum())
MIRROR = np.where(_COLUMNS % 2 == 1, -1, 1)[_CHOSEN].astype(np.float32)
"""Multiplies a descriptor into that of the mirrored picture."""


@dataclass(frozen=True)
class Still:
    """One proxy of a clip: `time_s` from the clip's start and `luma`, float32 (H, WIDTH), without the picture's borders."""

    time_s: float
    luma: np.ndarray


@dataclass(frozen=True)
class Footage:
    """What is compared of a clip: its length (0 for an image), its pictures, and each one's descriptors (len(CROPS), DIMENSIONS)."""

    length_s: float
    stills: tuple[Still, ...]
    described: tuple[np.ndarray, ...]


def footage(length_s: float, stills: Sequence[Still]) -> Footage:
    """A clip's pictures with their descriptors."""
    return Footage(length_s, tuple(stills), tuple(descriptors(one.luma) for one in stills))


def still(image: bytes, time_s: float, content_box: Sequence[float] | None) -> Still | None:
    """A proxy as a small luma picture of what lies inside its borders; None where it does not decode or shows nothing.

    Args:
        image: an encoded picture.
        time_s: its time from the clip's start.
        content_box: left, top, right and bottom of the picture inside its borders, 0 to 1.
    """
    luma = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE) if image else None
    if luma is None:
        return None
    height, width = luma.shape
    left, top, right, bottom = content_box or (0.0, 0.0, 1.0, 1.0)
    inside = luma[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    if min(inside.shape) < 8:
        return None
    size = (WIDTH, max(16, round(WIDTH * inside.shape[0] / inside.shape[1])))
    small = cv2.GaussianBlur(cv2.resize(inside, size, interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), BLUR)
    return Still(time_s, small) if small.std() >= LEAST_DETAIL else None


def descriptors(luma: np.ndarray) -> np.ndarray:
    """Descriptors of a picture's centre parts: float32 (len(CROPS), DIMENSIONS), each of unit length."""
    return np.stack([_descriptor(part) for part in _centres(luma)])


def _centres(luma: np.ndarray) -> Iterator[np.ndarray]:
    height, width = luma.shape
    for share in CROPS:
        rows, columns = round(height * share), round(width * share)
        top, left = (height - rows) // 2, (width - columns) // 2
        yield luma[top : top + rows, left : left + columns]


def _descriptor(luma: np.ndarray) -> np.ndarray:
    square = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(square - square.mean())[:LOW, :LOW][_CHOSEN] * _WEIGHTS
    return (low / (np.linalg.norm(low) + 1e-9)).astype(np.float32)
