"""OverlayMaps: what stays while content moves, kept as nine small maps per time window, enough to look for watermarks later.

A mark laid over a film keeps its edges where they are while the edges beneath it come and go. Sixteen sampled luma frames of a
window, at 640x360, say so plainly; their order statistics, pooled to cells of 4x4 pixels, say it in 160x90 bytes a map. The
gradients' medians keep half a cell of detail (four maps make one of 320x180), because the letters of a small logo are narrower than a cell.

How an observer uses it::

    maps = OverlayMaps(fps)                                  # one per source
    maps.add(chunk.rgb, chunk.frame_numbers, chunk.times_s)  # every chunk, any size near 640 wide; it samples by itself
    for window in maps.close(span.start_frame, span.end_frame):   # once per clip, in order
        window.frame, window.time_s                          # the window's first frame: the proxy's `frame` and `time_s`
        for picture in pictures(window.planes): ...          # three uint8 (h, w, 3) RGB pictures, at most 160x90: PNG, kind `edges`
    evidence, box = strongest(windows)                       # the columns overlay_evidence and overlay_box

`planes_of` reads the three pictures of a window back. Memory is flat: at most `CAPACITY` luma frames (22 MB), whatever the film's length.
Method: the temporal median gradient of Dekel, Rubinstein, Liu and Freeman (CVPR 2017, section 3.1), which they take over images
that share a mark and we take over the frames of a clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

WORKING_SIZE = (640, 360)
"""Longer and shorter side of the luma frames looked at: the study's size, at which a 15-pixel logo still has letters."""
CELL = 4
SAMPLES_PER_S = 8.0
WINDOW_FRAMES = 16
WINDOW_S = 10.0
CAPACITY = 96
ROOT = 6
"""Edge magnitudes (0-255) are stored as six times their square root, 0-96."""
COARSE = 0xFC
"""Luma and spreads lose their two lowest bits."""
LAG = 128
"""Frames after its end by which a span is closed at the latest; samples younger than that are never thinned."""

PLANES = ("stays_0", "stays_1", "stays_2", "stays_3", "moves", "least", "level", "spread", "spread_least")
"""stays_*: the median gradient's magnitude, the quarter cells in reading order; moves: the mean magnitude; least: its lower quartile;
level: median luma; spread: 10th to 90th percentile of luma; spread_least: the same where it is smallest within the cell."""


@dataclass(frozen=True)
class Window:
    """The maps of one stretch of time: its first frame, that frame's time in seconds, and uint8 planes (9, h, w) in the order of `PLANES`."""

    frame: int
    time_s: float
    planes: np.ndarray


class OverlayMaps:
    """Collects luma samples of a film in order and turns spans of it into windows of maps."""

    def __init__(self, fps: float) -> None:
        self.step = max(1, round(fps / SAMPLES_PER_S))
        self.samples: list[tuple[int, float, np.ndarray]] = []

    def wants(self, frame_number: int) -> bool:
        """Whether this frame is sampled, so that a reader may skip converting the others."""
        return frame_number % self.step == 0

    def add(self, pictures: np.ndarray, frame_numbers: Sequence[int], times_s: Sequence[float]) -> None:
        """Take the sampled frames out of a chunk: uint8 (T, H, W, 3) RGB or (T, H, W) luma."""
        for picture, number, time_s in zip(pictures, frame_numbers, times_s, strict=True):
            if self.wants(int(number)):
                self.samples.append((int(number), float(time_s), working_luma(picture)))
        if len(self.samples) > CAPACITY:
            settled = self.samples[-1][0] - LAG
            old = [sample for sample in self.samples if sample[0] < settled]
            self.samples = old[::2] + self.samples[len(old) :]

    def close(self, start_frame: int, end_frame: int) -> list[Window]:
        """The windows of a span, and forget what precedes its end. A span without two samples has none."""
        inside = [sample for sample in self.samples if start_frame <= sample[0] < end_frame]
        self.samples = [sample for sample in self.samples if sample[0] >= end_frame]
        return windows_of(inside)


def windows_of(samples: Sequence[tuple[int, float, np.ndarray]]) -> list[Window]:
    """Equal windows of at most `WINDOW_S` seconds, never more than samples, over the samples (frame number, time in seconds, working luma): 16 of each."""
    if len(samples) < 2:
        return []
    times = np.array([time_s for _, time_s, _ in samples])
    count = min(len(samples), max(1, int(np.ceil((times[-1] - times[0]) / WINDOW_S - 1e-9))))
    edges = np.linspace(times[0], times[-1], count + 1)
    windows = []
    for low, high in pairwise(edges):
        members = np.flatnonzero((times >= low) & (times <= high))
        if len(members) < 2:
            continue
        asked = np.linspace(times[members[0]], times[members[-1]], min(WINDOW_FRAMES, len(members)))
        chosen = sorted({int(members[np.abs(times[members] - time).argmin()]) for time in asked})
        first = samples[int(members[0])]
        windows.append(Window(first[0], first[1], planes_from(np.stack([samples[index][2] for index in chosen]))))
    return windows


def working_luma(picture: np.ndarray) -> np.ndarray:
    """One picture, uint8 (H, W, 3) RGB or (H, W), as luma fitted into 640x360 (or 360x640), sides in whole cells."""
    height, width = picture.shape[:2]
    longest, shortest = WORKING_SIZE
    scale = min(longest / max(width, height), shortest / min(width, height))
    size = (max(CELL, round(width * scale / CELL) * CELL), max(CELL, round(height * scale / CELL) * CELL))
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    if size == (width, height):
        return luma.copy()
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def planes_from(luma: np.ndarray) -> np.ndarray:
    """Nine uint8 maps (9, H/4, W/4) of luma frames uint8 (T, H, W); see `PLANES`. About 15 ms for sixteen frames of 640x360."""
    across, down, magnitude = _gradients(luma)
    stays = np.hypot(*(_median(sort_in_time(part)) for part in (across, down)))
    moves = cv2.resize(magnitude.mean(0, dtype=np.float32), None, fx=1 / CELL, fy=1 / CELL, interpolation=cv2.INTER_AREA)
    ordered, last = sort_in_time(luma), len(luma) - 1
    spread = ordered[round(0.9 * last)] - ordered[round(0.1 * last)]
    least = sort_in_time(magnitude)[round(0.25 * last)]
    quarter = _pooled_by(np.maximum, stays, CELL // 2)
    return np.stack(
        [
            *(_rooted(quarter[row::2, column::2]) for row in (0, 1) for column in (0, 1)),
            _rooted(moves),
            _rooted(_pooled(least)),
            np.rint(_pooled(_median(ordered))).astype(np.uint8) & COARSE,
            np.rint(_pooled(spread)).astype(np.uint8) & COARSE,
            _pooled_by(np.minimum, spread, CELL) & COARSE,
        ]
    )


def _gradients(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sobel's across and down over 4 as int8, and their joint magnitude over 8 as uint8, (T, H, W) each."""
    across, down, magnitude = np.empty(luma.shape, np.int8), np.empty(luma.shape, np.int8), np.empty(luma.shape, np.uint8)
    for index, frame in enumerate(luma):  # frame by frame, which stays in the processor's cache
        x, y = cv2.Sobel(frame, cv2.CV_16S, 1, 0, ksize=3), cv2.Sobel(frame, cv2.CV_16S, 0, 1, ksize=3)
        magnitude[index] = np.minimum((np.abs(x) + np.abs(y)) >> 3, 255)
        for part, kept in ((x, across), (y, down)):
            kept[index] = np.clip(part >> 2, -128, 127)
    return across, down, magnitude


def sort_in_time(stack: np.ndarray) -> list[np.ndarray]:
    """Pictures (T, H, W) sorted along time by Batcher's odd-even merge network: minima and maxima of whole pictures, twenty times faster than np.sort."""
    rows, count = list(stack), len(stack)
    p = 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                for i in range(min(k, count - j - k)):
                    a, b = i + j, i + j + k
                    if a // (2 * p) == b // (2 * p):
                        rows[a], rows[b] = np.minimum(rows[a], rows[b]), np.maximum(rows[a], rows[b])
            k //= 2
        p *= 2
    return rows


def pictures(planes: np.ndarray) -> list[np.ndarray]:
    """Nine planes as three RGB pictures (h, w, 3) to be stored without loss."""
    return [np.ascontiguousarray(planes[first : first + 3].transpose(1, 2, 0)) for first in range(0, len(PLANES), 3)]


def planes_of(stored: Sequence[np.ndarray]) -> np.ndarray:
    """The planes (9, h, w) back from a window's three RGB pictures, in their order."""
    return np.concatenate([picture.transpose(2, 0, 1) for picture in stored])


def strongest(windows: Sequence[Window]) -> tuple[float | None, list[float] | None]:
    """The strongest evidence among windows, 0-1, and its box (left, top, right, bottom, 0-1); null without windows, no box without evidence."""
    if not windows:
        return None, None
    return max((evidence(window.planes) for window in windows), key=lambda found: found[0])


def evidence(planes: np.ndarray) -> tuple[float, list[float] | None]:
    """How much of a moving picture carries edges that stay, 0-1, and the box around the largest group of them.

    A cell counts by the share of its edges that stay, where the picture around it changes. All is discounted by the share of
    the whole picture's edges that stay: a static camera's do too, and prove nothing.
    """
    quarters = (planes[:4].astype(np.float32) / ROOT) ** 2
    stays, moves = quarters.max(0), (planes[4].astype(np.float32) / ROOT) ** 2
    still = float(np.minimum(quarters.mean(0), moves).sum() / (moves.sum() + 1))
    around = cv2.blur(planes[7].astype(np.float32), (13, 13))
    lasting = np.clip(stays / (2 * moves + 6), 0, 1) * np.clip((stays - 4) / 12, 0, 1) * np.clip((around - 6) / 24, 0, 1)
    grouped = cv2.blur(lasting, (7, 3))
    value = float(np.sort(grouped, axis=None)[-24:].mean()) * (1 - still)
    count, _, stats, _ = cv2.connectedComponentsWithStats((grouped > max(0.5 * float(grouped.max()), 0.05)).astype(np.uint8), connectivity=8)
    if count < 2 or value <= 0:
        return round(value, 4), None
    left, top, width, height = stats[1:, :4][stats[1:, cv2.CC_STAT_AREA].argmax()]
    rows, columns = grouped.shape
    return round(value, 4), [round(float(edge), 4) for edge in (left / columns, top / rows, (left + width) / columns, (top + height) / rows)]


def _median(ordered: Sequence[np.ndarray]) -> np.ndarray:
    """The median picture of an ordered stack; of an even count the mean of the middle two."""
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle].astype(np.float32)
    return (ordered[middle - 1].astype(np.float32) + ordered[middle]) / 2


def _pooled_by(pick: np.ufunc, plane: np.ndarray, side: int) -> np.ndarray:
    """The least or the most of cells of so many pixels' side."""
    rows = pick.reduce([plane[at::side] for at in range(side)])
    pooled: np.ndarray = pick.reduce([rows[:, at::side] for at in range(side)])
    return pooled


def _pooled(plane: np.ndarray) -> np.ndarray:
    """The means of cells."""
    return cv2.resize(plane.astype(np.float32), None, fx=1 / CELL, fy=1 / CELL, interpolation=cv2.INTER_AREA)


def _rooted(plane: np.ndarray) -> np.ndarray:
    """Square roots tell faint edges apart as well as strong ones, in few levels: noise in the low bits is most of what a PNG would hold."""
    return np.minimum(np.rint(ROOT * np.sqrt(plane)), 255).astype(np.uint8)
