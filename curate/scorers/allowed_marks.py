"""AllowedMarks: the owner's own logos by example image, so that what is theirs anyway is not counted as a watermark."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curate.scorers.watermark_features import Canvas

FOLDER_VARIABLE = "CLIPMILL_ALLOWED_MARKS"
"""Environment variable that names the folder of example images (PNG or JPEG, with or without transparency)."""
ALIKE = 0.75
"""Correlation of edges from which a place shows the example: its own logo reaches .94, faint too, and small foreign letters .56."""
SCALES = np.geomspace(0.35, 1.4, 20)
"""Widths tried, as shares of the searched region's."""
ROOM = 0.35
"""How far around the suspected box is searched, as a share of its larger side."""


class MarkError(ValueError):
    """The folder of example images, or an image in it, cannot be used; the message says which and what to do."""


@dataclass(frozen=True)
class AllowedMarks:
    """Example images as luma on a plain ground, uint8 (H, W), cropped to what they show, and a digest of their files."""

    examples: tuple[np.ndarray, ...] = ()
    digest: str = ""

    @classmethod
    def configured(cls) -> "AllowedMarks":
        """Those of the folder that FOLDER_VARIABLE names; none where it is not set.

        Raises:
            MarkError: the folder is not there, or an image in it cannot be read.
        """
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls.load(Path(folder)) if folder else cls()

    @classmethod
    def load(cls, folder: Path) -> "AllowedMarks":
        """Every image of a folder, in the order of their names.

        Raises:
            MarkError: the folder is not there, or an image in it cannot be read or shows nothing.
        """
        if not folder.is_dir():
            raise MarkError(f"{folder}, which {FOLDER_VARIABLE} names, is no folder; put example images of your own logos there, or unset it")
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
        held = [path.read_bytes() for path in files]
        digest = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in held)).hexdigest()
        return cls(tuple(_example(path, each) for path, each in zip(files, held)), digest if files else "")

    def where(self, canvas: Canvas, box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
        """The box (0-1) at which one of the examples lies on or near the suspected one; None where none does."""
        best = max((found for example in self.examples if (found := _search(example, canvas, box))), default=None)
        return best[1] if best and best[0] >= ALIKE else None


def _example(path: Path, data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise MarkError(f"{path} is not an image that can be read; replace or remove it")
    if picture.dtype != np.uint8:
        picture = (picture // 257).astype(np.uint8)
    if picture.ndim == 3 and picture.shape[2] == 4:
        shown = picture[:, :, 3]
    else:
        grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        shown = cv2.absdiff(grey, np.full_like(grey, np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))))
    rows, columns = np.flatnonzero((shown > 24).any(1)), np.flatnonzero((shown > 24).any(0))
    if len(rows) < 4 or len(columns) < 4:
        raise MarkError(f"{path} shows no logo: it is plain or empty")
    return np.ascontiguousarray(shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _search(example: np.ndarray, canvas: Canvas, box: tuple[float, float, float, float]) -> tuple[float, tuple[float, float, float, float]] | None:
    """The best correlation of the example's edges, over sizes and places near the box, with the pictures' common edges and with each picture's."""
    height, width = 2 * canvas.rows, 2 * canvas.columns
    room = ROOM * max((box[2] - box[0]) * width, (box[3] - box[1]) * height) + 8
    left, top = int(max(0, box[0] * width - room)), int(max(0, box[1] * height - room))
    right, bottom = int(min(width, box[2] * width + room)), int(min(height, box[3] * height + room))
    region = canvas.pictures[:, top:bottom, left:right].astype(np.float32)
    looks = [_edges(region.mean(0)), *(_edges(picture) for picture in region)]
    best = None
    for scale in SCALES:
        size = (round((right - left) * scale), round((right - left) * scale * example.shape[0] / example.shape[1]))
        if min(size) < 5 or max(size) < 10 or size[0] > right - left or size[1] > bottom - top:
            continue
        wanted = _edges(cv2.resize(example, size, interpolation=cv2.INTER_AREA).astype(np.float32))
        for look in looks:
            found = cv2.matchTemplate(look, wanted, cv2.TM_CCOEFF_NORMED)
            _, likeness, _, (x, y) = cv2.minMaxLoc(found)
            if np.isfinite(likeness) and (best is None or likeness > best[0]):
                place = ((left + x) / width, (top + y) / height, (left + x + size[0]) / width, (top + y + size[1]) / height)
                best = (float(likeness), place)
    return best


def _edges(luma: np.ndarray) -> np.ndarray:
    """Square root of the gradient's magnitude, so that one strong edge does not decide."""
    return np.sqrt(np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)))
