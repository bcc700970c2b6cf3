"""What the watermark network looks at: a window's maps and a clip's pictures, on one canvas of cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from curate.observers.overlay_maps import PLANES, planes_from, working_luma

CANVAS = (96, 160)
"""Rows and columns of cells every landscape clip is padded to; a portrait clip is padded to the transpose."""
TOP = 6
"""Logits whose mean speaks for a head: one alone is chance, and a mark of 60x15 pixels in 640x360 covers about so many 2x2 cells."""
PICTURES = 4
"""Pictures looked at; a clip with fewer repeats its own, in order."""


@dataclass(frozen=True)
class Canvas:
    """One window of a clip, its edges carried on to the canvas' end.

    Attributes:
        planes: uint8 (9, R, C), in the order of `PLANES`.
        pictures: luma, uint8 (4, 2R, 2C).
        rows, columns: how many of the canvas' cells are real.
    """

    planes: np.ndarray
    pictures: np.ndarray
    rows: int
    columns: int

    @property
    def valid(self) -> np.ndarray:
        """Which cells are real, bool (R, C)."""
        inside = np.zeros(self.planes.shape[1:], bool)
        inside[: self.rows, : self.columns] = True
        return inside


def canvas_of(planes: np.ndarray, pictures: Sequence[np.ndarray]) -> Canvas:
    """The canvas of one window: planes uint8 (9, h, w), and the clip's pictures, uint8 (H, W, 3) RGB or (H, W), of any size.

    Raises:
        ValueError: the planes are not nine, are larger than any working size gives, or there is no picture.
    """
    if planes.ndim != 3 or planes.shape[0] != len(PLANES):
        raise ValueError(f"edge maps are {planes.shape}, not {len(PLANES)} planes")
    if not pictures:
        raise ValueError("there is no picture to look at")
    rows, columns = planes.shape[1:]
    full = CANVAS if columns >= rows else CANVAS[::-1]
    if rows > full[0] or columns > full[1]:
        raise ValueError(f"edge maps of {columns}x{rows} exceed {full[1]}x{full[0]}")
    chosen = [pictures[round(at)] for at in np.linspace(0, len(pictures) - 1, PICTURES)]
    room = ((0, 0), (0, full[0] - rows), (0, full[1] - columns))
    padded = np.pad(planes, room, mode="edge")
    shown = np.stack([picture_luma(picture, (2 * columns, 2 * rows)) for picture in chosen])
    shown = np.pad(shown, ((0, 0), (0, 2 * room[1][1]), (0, 2 * room[2][1])), mode="edge")
    return Canvas(padded, shown, rows, columns)


def picture_luma(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A proxy's luma, uint8, at a size (width, height): area averaging where it shrinks."""
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    if luma.shape[::-1] == size:
        return luma
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA if luma.shape[1] > size[0] else cv2.INTER_LINEAR)


def planes_of_still(picture: np.ndarray) -> np.ndarray:
    """The planes a still image would have: nothing moves, every edge stays."""
    return planes_from(working_luma(picture)[None])
