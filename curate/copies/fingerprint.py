"""Fingerprints: what of a clip's proxies is needed to find its copies: small luma pictures, miniatures of them, and descriptors that near-copies share.

A descriptor is the low frequencies of a picture's cosine transform, as in perceptual hashing (Zauner 2010, "Implementation and
benchmarking of perceptual image hash functions"), kept as numbers instead of signs. The picture is first divided by its contrast nearby, for what pictures
of different things have in common is where they are light and dark. Brightness, re-encoding and scale leave a descriptor nearly as it is; a mirror flips
the sign of known entries; crops are met by describing the picture's centre as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

VERSION = "fingerprint@4"
WIDTH = 128
"""Pixels of the small pictures' width."""
CROPS = (1.0, 0.9, 0.82)
"""Centre parts described, as shares of width and height; the first is what the index holds, all are asked for."""
BLUR = 1.0
"""Pixels by which they are smoothed, so that a shift by less than a pixel matters little."""
MARGIN = 0.01
"""Share of the picture by which borders are taken to reach further in: a pixel of them that is left is an edge, which its copies need not have."""
LEAST_DETAIL = 6.0
"""Luma deviation below which a picture (black, a plain title) is evidence of nothing."""
SAME = 0.99
"""Cosine from which two pictures of one clip look alike enough for one of them to be looked for."""
SIDE, LOW = 24, 10
"""Pixels of a miniature's sides, whatever the picture's shape, and the frequencies described."""
IN_CACHE = 256
"""Miniatures described at once: beyond what a core's cache holds it takes twice the time."""
NEARBY, EVEN = 4.0, 0.1
"""Pixels of a miniature within which contrast is evened out, and the share of the whole picture's deviation that plain parts are granted."""


def window(start: float, share: float) -> np.ndarray:
    """Takes SIDE pixels to as many that show the stretch from `start` for `share` of them, by linear interpolation: float32 (SIDE, SIDE)."""
    at = np.clip((start + share * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5, 0, SIDE - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(SIDE))).astype(np.float32)


def _cosines() -> np.ndarray:
    """The rows of an orthonormal cosine transform. In numpy, as all that is made on import: OpenCV would start threads, which a forked process waits for."""
    waves = np.cos(np.pi * np.arange(LOW)[:, None] * (2 * np.arange(SIDE) + 1) / (2 * SIDE))
    scales = np.full((LOW, 1), np.sqrt(2 / SIDE))
    scales[0] = np.sqrt(1 / SIDE)
    return (waves * scales).astype(np.float32)


def _smoothing() -> np.ndarray:
    """Takes SIDE pixels to as many that are averaged by a Gaussian of NEARBY pixels, mirrored at the ends: float32 (SIDE, SIDE)."""
    offsets = np.arange(-round(4 * NEARBY), round(4 * NEARBY) + 1)
    weights = np.exp(-(offsets**2) / (2 * NEARBY**2))
    made = np.zeros((SIDE, SIDE))
    for pixel in range(SIDE):
        reached = np.abs(pixel + offsets)
        np.add.at(made[pixel], np.where(reached < SIDE, reached, 2 * (SIDE - 1) - reached), weights / weights.sum())
    return made.astype(np.float32)


ROWS, COLUMNS = np.meshgrid(np.arange(LOW), np.arange(LOW), indexing="ij")
CHOSEN = (ROWS + COLUMNS > 0) & (ROWS + COLUMNS < LOW)
"""Of LOW x LOW frequencies, those described."""
COSINES = _cosines()
"""Takes SIDE pixels to their LOW lowest frequencies: float32 (LOW, SIDE)."""
_CENTRES = np.stack([COSINES @ window((1 - share) / 2, share) for share in CROPS])
_SMOOTH = _smoothing()
DIMENSIONS = int(CHOSEN.sum())
MIRROR = np.where(COLUMNS % 2 == 1, -1, 1)[CHOSEN].astype(np.float32)
"""Multiplies a descriptor into that of the mirrored picture."""


@dataclass(frozen=True)
class Still:
    """One proxy of a clip: `time_s` from the clip's start and `luma`, float32 (H, WIDTH), without the picture's borders."""

    time_s: float
    luma: np.ndarray
    _made: dict[tuple[int, int, bool], np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def sized(self, width: int, height: int, mirrored: bool = False) -> np.ndarray:
        """The luma at another size, mirrored or not, float32 (height, width); kept, for a picture is held against many others."""
        asked = (width, height, mirrored)
        if asked not in self._made:
            small = self.luma if self.luma.shape == (height, width) else cv2.resize(self.luma, (width, height), interpolation=cv2.INTER_AREA)
            self._made[asked] = np.ascontiguousarray(small[:, ::-1]) if mirrored else small
        return self._made[asked]


@dataclass(frozen=True)
class Footage:
    """What is compared of a clip: its length (0 for an image), its N pictures, and their descriptors (N, len(CROPS), DIMENSIONS)."""

    length_s: float
    stills: tuple[Still, ...]
    described: np.ndarray


def footage(length_s: float, stills: Sequence[Still]) -> Footage:
    """A clip's pictures with their descriptors."""
    miniatures = np.stack([miniature(one.luma) for one in stills]) if stills else np.empty((0, SIDE, SIDE), np.uint8)
    return Footage(length_s, tuple(stills), descriptors(miniatures))


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
    left, top, right, bottom = _within(content_box or (0.0, 0.0, 1.0, 1.0))
    inside = luma[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    if min(inside.shape) < 8:
        return None
    size = (WIDTH, max(16, round(WIDTH * inside.shape[0] / inside.shape[1])))
    small = cv2.GaussianBlur(cv2.resize(inside, size, interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), BLUR)
    return Still(time_s, small) if small.std() >= LEAST_DETAIL else None


def _within(box: Sequence[float]) -> tuple[float, ...]:
    """A box without `MARGIN` at those of its edges that are not the picture's."""
    return tuple(edge + inward * MARGIN if 0 < edge < 1 else edge for edge, inward in zip(box, (1, 1, -1, -1)))


def miniature(luma: np.ndarray) -> np.ndarray:
    """A luma picture as uint8 (SIDE, SIDE)."""
    return np.clip(np.round(cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA)), 0, 255).astype(np.uint8)


def descriptors(miniatures: np.ndarray, crops: Sequence[float] = CROPS) -> np.ndarray:
    """Descriptors of the first centre parts of miniatures (N, SIDE, SIDE): float32 (N, len(crops), DIMENSIONS), each of unit length."""
    made = np.empty((len(miniatures), len(crops), DIMENSIONS), np.float32)
    for start in range(0, len(made), IN_CACHE):
        made[start : start + IN_CACHE] = _described(miniatures[start : start + IN_CACHE].astype(np.float32), len(crops))
    return made


def _described(luma: np.ndarray, crops: int) -> np.ndarray:
    raised = luma - _SMOOTH @ luma @ _SMOOTH.T
    contrast = np.sqrt(np.maximum(_SMOOTH @ raised**2 @ _SMOOTH.T, 0))
    even = raised / (contrast + EVEN * raised.std(axis=(1, 2), keepdims=True) + 1e-6)
    centres = _CENTRES[:crops]
    low = (centres @ even[:, None] @ centres.transpose(0, 2, 1))[..., CHOSEN]
    return low / (np.linalg.norm(low, axis=-1, keepdims=True) + 1e-9)


def distinct(miniatures: np.ndarray) -> np.ndarray:
    """Of a clip's miniatures (N, SIDE, SIDE) the first of those that look alike: a camera that stands still saw one thing."""
    whole, kept = descriptors(miniatures, CROPS[:1])[:, 0], list[int]()
    for number, one in enumerate(whole):
        if not kept or float((whole[kept] @ one).max()) < SAME:
            kept.append(number)
    return miniatures[kept]
