"""Motion: dense optical flow between neighbouring frames, told apart into the camera's and the subject's, and time that stands still."""

from typing import Any, ClassVar

import cv2
import numpy as np

from curate.observers.base import Frames, Observer, Series, Span, Unknown
from curate.observers.camera import fit

PAIRS_PER_S = 31.0
"""More pairs than this a second tell nothing new, so of faster film every second, third … frame is looked at."""
CELL = 8
"""Flow is averaged over cells of 8x8 pixels before the camera is fitted."""
STILL_LEVELS = 0.35
"""Mean luma difference, in levels, below which a picture repeats: re-encoded stills stay under it, sensor noise does not."""
NEARLY_STILL = 0.02
"""Flow, in % of the diagonal per 1/24 s, below which an interval is static: a tenth of a pixel at 500 pixels."""
LONGEST_REPEAT_S = 0.15
"""Repeats shorter than this are a frame rate raised (animation on twos, pulldown); longer ones are a still."""
STILL_S = 0.4
"""A picture held for so long within a clip is a slide."""


class Motion(Observer):
    """DIS optical flow (Kroeger et al., ECCV 2016) at 256 pixels."""

    columns: ClassVar = (
        "motion", "motion_mean", "motion_peak", "static_share", "camera_motion", "subject_motion", "pan", "tilt", "zoom", "shake", "slideshow",
        "freeze_share",
    )  # fmt: skip
    size: ClassVar = (256, 0)

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._pairs = Series("lasts_s", "difference", "flow", "camera", "subject", "pan", "tilt", "zoom")
        self._last: tuple[np.ndarray, float] | None = None

    def observe(self, frames: Frames) -> None:
        luma, begins = frames.luma, frames.times_s
        if self._last is None:
            self._last = (luma[0], float(begins[0]) - 1 / PAIRS_PER_S)
        flows, numbers, lasts, differences = [], [], [], []
        for number, picture, begin_s in zip(frames.numbers, luma, begins):
            before, before_s = self._last
            if begin_s - before_s < 0.9 / PAIRS_PER_S:
                continue
            difference = float(cv2.absdiff(before, picture).mean()) if before.shape == picture.shape else 0.0
            flow = np.zeros((*picture.shape, 2), np.float32) if difference == 0 else self._flow.calc(before, picture, None)
            flows.append(_cells(flow))
            numbers.append(number)
            lasts.append(begin_s - before_s)
            differences.append(difference)
            self._last = (picture, float(begin_s))
        if flows:
            self._add(np.array(numbers), np.array(lasts), np.array(differences), np.stack(flows), luma.shape[1:])

    def _add(self, numbers: np.ndarray, lasts_s: np.ndarray, differences: np.ndarray, flow: np.ndarray, shape: tuple[int, int]) -> None:
        """Per pair, scalars in % of the picture per pair."""
        height, width = shape
        diagonal = float(np.hypot(height, width))
        camera, explained = fit(flow)
        values = {
            "lasts_s": lasts_s,
            "difference": differences,
            "flow": np.linalg.norm(flow, axis=-1).mean((1, 2)) * 100 / diagonal,
            "camera": np.linalg.norm(explained, axis=-1).mean((1, 2)) * 100 / diagonal,
            "subject": np.linalg.norm(flow - explained, axis=-1).mean((1, 2)) * 100 / diagonal,
            "pan": -camera[:, 0] * 100 / width,
            "tilt": -camera[:, 1] * 100 / height,
            "zoom": camera[:, 2] * 100 / CELL,
        }
        self._pairs.add(numbers, values)

    def close(self, span: Span) -> dict[str, Any]:
        pairs = {name: values[1:] for name, values in self._pairs.take(span).items()}  # the first pair reaches back before the clip
        if len(pairs["flow"]) == 0:
            return dict.fromkeys(self.columns, Unknown("a single frame does not move"))
        return summary(pairs)


def _cells(flow: np.ndarray) -> np.ndarray:
    """Mean flow of cells, (h, w, 2)."""
    height, width = flow.shape[:2]
    return cv2.resize(flow, (max(1, width // CELL), max(1, height // CELL)), interpolation=cv2.INTER_AREA)


def summary(pairs: dict[str, np.ndarray]) -> dict[str, Any]:
    """A clip's columns from the scalars of its pairs of frames."""
    lasts_s = pairs["lasts_s"]
    total_s = float(lasts_s.sum())
    still = pairs["difference"] < STILL_LEVELS
    moving = merged(pairs, still)
    per_frame = 1 / (24 * moving["lasts_s"])
    speed = moving["flow"] * per_frame
    across, down = moving["pan"] * per_frame, moving["tilt"] * per_frame
    turns = np.hypot(np.diff(across), np.diff(down)) / 2
    values = {
        "motion": weighted_median(speed, moving["lasts_s"]),
        "motion_mean": float((moving["flow"]).sum() / (24 * total_s)),
        "motion_peak": float(np.percentile(speed, 95)),
        "static_share": float(moving["lasts_s"][speed < NEARLY_STILL].sum() / total_s),
        "camera_motion": weighted_median(moving["camera"] * per_frame, moving["lasts_s"]),
        "subject_motion": weighted_median(moving["subject"] * per_frame, moving["lasts_s"]),
        "pan": float(moving["pan"].sum() / (24 * total_s)),
        "tilt": float(moving["tilt"].sum() / (24 * total_s)),
        "zoom": float(moving["zoom"].sum() / (24 * total_s)),
        "shake": float(turns.mean()) if len(turns) else 0.0,
        "slideshow": slideshow(still, lasts_s),
        "freeze_share": float(lasts_s[still].sum() / total_s),
    }
    return {name: round(value, 4) for name, value in values.items()}


def merged(pairs: dict[str, np.ndarray], still: np.ndarray) -> dict[str, np.ndarray]:
    """The pairs with short repeats joined to the movement that follows, so that a raised frame rate is not taken for standing still."""
    joins = np.zeros(len(still), bool)
    for begin, end in runs(still):
        joins[begin:end] = pairs["lasts_s"][begin:end].sum() <= LONGEST_REPEAT_S
    groups = np.concatenate([[0], np.cumsum(~joins[:-1])])
    return {name: np.bincount(groups, values) for name, values in pairs.items()}


def runs(flags: np.ndarray) -> np.ndarray:
    """Where runs of true begin and end, int (R, 2)."""
    return np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))).reshape(-1, 2)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value below which half of the weight lies."""
    order = np.argsort(values, kind="stable")
    rising = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(rising, rising[-1] / 2)])


def slideshow(still: np.ndarray, lasts_s: np.ndarray) -> float:
    """Share of time in which one picture is held for at least `STILL_S`."""
    held = sum(float(lasts_s[begin:end].sum()) for begin, end in runs(still) if lasts_s[begin:end].sum() >= STILL_S)
    return held / max(float(lasts_s.sum()), 1e-9)
