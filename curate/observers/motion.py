"""Motion: dense optical flow between neighbouring frames, told apart into the camera's, its shake and the subject's, and time that stands still."""

from typing import Any, ClassVar

import cv2
import numpy as np

from curate.observers.base import Frames, Observer, Series, Span, Unknown
from curate.observers.camera import field, fit

PAIRS_PER_S = 31.0
"""More pairs than this a second tell nothing new, so of faster film every second, third … frame is looked at."""
CELL = 16
"""Flow is averaged over cells of 16x16 pixels, which is what a camera's movement and a subject need."""
LEAST_SIDE = 32
"""Pixels of a picture's shorter side to which it is mirrored out: at its coarsest, an eighth of that, OpenCV's flow reads beyond thinner ones and crashes."""
STILL_LEVELS = 0.35
"""Mean luma difference, in levels, below which a picture repeats: re-encoded stills stay under it, sensor noise does not."""
NEARLY_STILL = 0.02
"""Flow, in % of the diagonal per 1/24 s, below which an interval is static: a tenth of a pixel at 500 pixels."""
LONGEST_REPEAT_S = 0.15
"""Repeats shorter than this are a frame rate raised (animation on twos, pulldown); longer ones are a still."""
HELD_S = 0.4
"""A picture held for so long within a clip is a slide."""
STEADY_S = 0.2
"""Camera movement is steady as far as it lasts this long; the rest is shake."""
SHAKE_COUNTS = 0.25
"""Shake takes back what it moved, so only so much of it counts as motion."""
TRIMMED = 0.1
"""Share of time left out at either end of the speeds, so that a jump or a bad flow does not matter."""


class Motion(Observer):
    """DIS optical flow (Kroeger et al., ECCV 2016) at 256 pixels; values in % of the picture's diagonal per 1/24 s."""

    columns: ClassVar = (
        "motion", "motion_mean", "motion_peak", "static_share", "camera_motion", "subject_motion", "pan", "tilt", "zoom", "shake", "slideshow",
        "freeze_share",
    )  # fmt: skip
    size: ClassVar = (256, 0)

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._pairs = Series("lasts_s", "difference", "flow", "subject", "camera")
        self._last: tuple[np.ndarray, float] | None = None
        self._shape = (0, 0)

    def observe(self, frames: Frames) -> None:
        luma, begins = frames.luma, frames.times_s
        self._shape = luma.shape[1:]
        if self._last is None:
            self._last = (luma[0], float(begins[0]) - 1 / PAIRS_PER_S)
        flows, numbers, lasts, differences = [], [], [], []
        for number, picture, begin_s in zip(frames.numbers, luma, begins):
            before, before_s = self._last
            if begin_s - before_s < 0.9 / PAIRS_PER_S:
                continue
            difference = float(cv2.absdiff(before, picture).mean())
            flows.append(self._cells(before, picture, difference))
            numbers.append(number)
            lasts.append(begin_s - before_s)
            differences.append(difference)
            self._last = (picture, float(begin_s))
        if flows:
            self._add(np.array(numbers), np.array(lasts), np.array(differences), np.stack(flows))

    def _cells(self, before: np.ndarray, picture: np.ndarray, difference: float) -> np.ndarray:
        """Mean flow of cells, in pixels, (h, w, 2)."""
        height, width = self._shape
        size = (max(1, width // CELL), max(1, height // CELL))
        if difference < STILL_LEVELS:
            return np.zeros((size[1], size[0], 2), np.float32)
        below, beside = max(0, LEAST_SIDE - height), max(0, LEAST_SIDE - width)
        thick = [cv2.copyMakeBorder(one, 0, below, 0, beside, cv2.BORDER_REFLECT) if below or beside else one for one in (before, picture)]
        flow = self._flow.calc(*thick, None)  # type: ignore[call-overload]  # OpenCV makes the flow itself where None is given; its stubs do not say so
        return cv2.resize(flow[:height, :width], size, interpolation=cv2.INTER_AREA)

    def _add(self, numbers: np.ndarray, lasts_s: np.ndarray, differences: np.ndarray, flow: np.ndarray) -> None:
        camera, explained = fit(flow)
        values = {"lasts_s": lasts_s, "difference": differences, "camera": camera}
        values |= {"flow": magnitude(flow), "subject": magnitude(flow - explained)}
        self._pairs.add(numbers, values)

    def close(self, span: Span) -> dict[str, Any]:
        pairs = {name: values[1:] for name, values in self._pairs.take(span).items()}  # the first pair reaches back before the clip
        if len(pairs["flow"]) == 0:
            return dict.fromkeys(self.columns, Unknown("a single frame does not move"))
        return summary(pairs, self._shape)


def magnitude(flow: np.ndarray) -> np.ndarray:
    """Mean length of the vectors of each flow, (T, h, w, 2) to (T,)."""
    return np.linalg.norm(flow, axis=-1).mean((1, 2))


def summary(pairs: dict[str, np.ndarray], shape: tuple[int, int]) -> dict[str, Any]:
    """A clip's columns from what is known of its pairs of frames, in pixels of pictures of a shape (height, width)."""
    height, width = shape
    diagonal, total_s = float(np.hypot(height, width)), float(pairs["lasts_s"].sum())
    still = pairs["difference"] < STILL_LEVELS
    moves = merged(pairs, still)
    lasts_s = moves["lasts_s"]
    to_speed = 100 / diagonal / (24 * lasts_s)
    steady = smoothed(moves["camera"], lasts_s)
    cells = (max(1, height // CELL), max(1, width // CELL))
    shake, camera, drift = (magnitude(field(part, cells)) * to_speed for part in (moves["camera"] - steady, moves["camera"], steady))
    flow, subject = moves["flow"] * to_speed, moves["subject"] * to_speed
    speed = np.sqrt(drift**2 + subject**2 + (SHAKE_COUNTS * shake) ** 2)
    slides = slideshow(still, pairs["lasts_s"])
    shift = moves["camera"].sum(0) * 100 / (24 * total_s)
    values = {
        "motion": typical(speed, lasts_s, 0.5 if slides > 0.5 else TRIMMED),
        "motion_mean": float((flow * lasts_s).sum() / total_s),
        "motion_peak": float(np.percentile(flow, 95)),
        "static_share": float(lasts_s[flow < NEARLY_STILL].sum() / total_s),
        "camera_motion": typical(camera, lasts_s),
        "subject_motion": typical(subject, lasts_s),
        "pan": -float(shift[0]) / width,
        "tilt": -float(shift[1]) / height,
        "zoom": float(shift[2]) / CELL,
        "shake": typical(shake, lasts_s),
        "slideshow": slides,
        "freeze_share": float(pairs["lasts_s"][still].sum() / total_s),
    }
    return {name: round(value, 4) + 0.0 for name, value in values.items()}


def merged(pairs: dict[str, np.ndarray], still: np.ndarray) -> dict[str, np.ndarray]:
    """The pairs with short repeats joined to the movement that follows, so that a raised frame rate is not taken for standing still."""
    joins = np.zeros(len(still), bool)
    for begin, end in runs(still):
        joins[begin:end] = pairs["lasts_s"][begin:end].sum() <= LONGEST_REPEAT_S
    starts = np.flatnonzero(np.concatenate([[True], ~joins[:-1]]))
    return {name: np.add.reduceat(values, starts, axis=0) for name, values in pairs.items()}


def smoothed(camera: np.ndarray, lasts_s: np.ndarray) -> np.ndarray:
    """Camera movement averaged over about STEADY_S, (T, 4)."""
    wide = round(STEADY_S / float(np.median(lasts_s))) // 2 * 2 + 1
    if wide < 3:
        return camera
    padded = np.pad(camera, ((wide // 2, wide // 2), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, wide, axis=0).mean(-1)


def typical(values: np.ndarray, weights: np.ndarray, trimmed: float = TRIMMED) -> float:
    """Weighted mean without the lowest and the highest share of the weight; the median when half is left out at either end."""
    order = np.argsort(values, kind="stable")
    rising = np.cumsum(weights[order]) / weights.sum()
    trimmed = min(trimmed, 0.499)
    inside = np.clip(rising, trimmed, 1 - trimmed) - np.clip(np.concatenate([[0], rising[:-1]]), trimmed, 1 - trimmed)
    return float((values[order] * inside).sum() / inside.sum())


def slideshow(still: np.ndarray, lasts_s: np.ndarray) -> float:
    """Share of time in which one picture is held for at least `HELD_S`."""
    held = sum(float(lasts_s[begin:end].sum()) for begin, end in runs(still) if lasts_s[begin:end].sum() >= HELD_S)
    return held / max(float(lasts_s.sum()), 1e-9)


def runs(flags: np.ndarray) -> np.ndarray:
    """Where runs of true begin and end, int (R, 2)."""
    return np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))).reshape(-1, 2)
