"""Upright: a decoded frame as people see it: turned, with square pixels, in eight-bit SDR RGB, at the size asked for."""

from fractions import Fraction
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

PQ, HLG = 16, 18
HDR_TRANSFERS = {PQ: "PQ", HLG: "HLG"}
PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv420p10le"})
DIFFUSE_WHITE_NITS = 203.0
"""Level of a white page in HDR pictures (ITU-R BT.2408)."""


def displayed_size(frame: Any, sample_aspect_ratio: Fraction | None) -> tuple[int, int]:
    """Width and height after the sample aspect ratio and the rotation have been applied."""
    aspect = sample_aspect_ratio if sample_aspect_ratio and Fraction(1, 20) < sample_aspect_ratio < 20 else Fraction(1)
    width = max(1, round(frame.width * aspect))
    return (frame.height, width) if frame.rotation % 180 else (width, frame.height)


class Upright:
    """Turns frames of one stream upright, and shrinks them (area average) until the longer side is at most `side`; never enlarges.

    The first frame settles the size: a stream that changes its resolution half-way is scaled to it.
    """

    def __init__(self, side: int | None, sample_aspect_ratio: Fraction | None) -> None:
        self._side, self._aspect = side, sample_aspect_ratio
        self._shrinking, self._converting = VideoReformatter(), VideoReformatter()
        self._size: tuple[int, int] | None = None

    def picture(self, frame: Any) -> np.ndarray:
        """uint8 (height, width, 3), RGB."""
        width, height = self._stored_size(frame)
        transfer, turns = frame.color_trc, frame.rotation // 90 % 4
        hdr = transfer in HDR_TRANSFERS
        if (width, height) != (frame.width, frame.height):
            # Shrunk as it is stored, then turned to RGB: half the time of both at once.
            stored = frame.format.name if frame.format.name in PLANAR else "rgb48le" if hdr else "rgb24"
            smaller = width < frame.width or height < frame.height
            frame = self._shrinking.reformat(frame, width, height, stored, interpolation="AREA" if smaller else "BICUBIC", threads=1)
        picture = self._converting.reformat(frame, format="rgb48le" if hdr else "rgb24", threads=1).to_ndarray()
        if hdr:
            picture = tone_mapped(picture, transfer)
        return np.ascontiguousarray(np.rot90(picture, turns))

    def _stored_size(self, frame: Any) -> tuple[int, int]:
        """The size to scale to before turning."""
        if self._size is None:
            width, height = displayed_size(frame, self._aspect)
            scale = min(1.0, self._side / max(width, height)) if self._side else 1.0
            self._size = max(2, round(width * scale)), max(2, round(height * scale))
        width, height = self._size
        return (height, width) if frame.rotation % 180 else (width, height)


def tone_mapped(picture: np.ndarray, transfer: int) -> np.ndarray:
    """uint16 (H, W, 3) BT.2020 RGB under PQ (SMPTE ST 2084) or HLG (ITU-R BT.2100) as eight-bit BT.709 RGB.

    Light is scaled so that diffuse white is 1, turned to BT.709 primaries (BT.2087), compressed by Reinhard's extended curve
    (Reinhard et al. 2002, white point 1000 nits) and gamma-coded (BT.1886's inverse).
    """
    light = _LIGHT[transfer]()[picture >> 4]
    light = np.clip(light @ _BT2020_TO_BT709.T, 0.0, None)
    white = 1000.0 / DIFFUSE_WHITE_NITS
    mapped = light * (1.0 + light / white**2) / (1.0 + light)
    return (np.clip(mapped, 0.0, 1.0) ** (1 / 2.4) * 255.0 + 0.5).astype(np.uint8)


_BT2020_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def _pq_light() -> np.ndarray:
    """Light relative to diffuse white, for each of 4096 codes."""
    code = np.linspace(0.0, 1.0, 4096)
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = code ** (1 / m2)
    return ((np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * 10_000 / DIFFUSE_WHITE_NITS).astype(np.float32)


def _hlg_light() -> np.ndarray:
    code = np.linspace(0.0, 1.0, 4096)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return (scene**1.2 * 1000 / DIFFUSE_WHITE_NITS).astype(np.float32)


_LIGHT = {PQ: _pq_light, HLG: _hlg_light}
