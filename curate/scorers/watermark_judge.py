"""Judge: turns a canvas into a calibrated probability and a box, by the watermark network and the calibration stored with its weights."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.embedding.compute import fixed_threads
from curate.models import ModelError
from curate.scorers.allowed_marks import AllowedMarks
from curate.scorers.watermark_features import TOP, Canvas

NONE_ALLOWED = AllowedMarks()
MOST_ALLOWED, SUSPECTED = 4, 0.05
NEAR = 2.5
"""A cell belongs to the mark when its logit is at most so much under the strongest ones' mean."""


@dataclass(frozen=True)
class Calibration:
    """Logistic curves of the two heads, fitted on generated examples (Platt 1999): probability = 1 - (1 - still)(1 - moving)."""

    still_scale: float
    still_shift: float
    moving_scale: float
    moving_shift: float

    def probability(self, still: float, moving: float) -> float:
        """Of a mark at all, from each head's strongest logits."""
        stays = 1 / (1 + math.exp(-_bounded(self.still_scale * still + self.still_shift)))
        moves = 1 / (1 + math.exp(-_bounded(self.moving_scale * moving + self.moving_shift)))
        return 1 - (1 - stays) * (1 - moves)


@dataclass(frozen=True)
class Verdict:
    """About one window: the probability of a mark, the box (left, top, right, bottom, 0-1) of the likeliest, and each head's strongest logits."""

    probability: float
    box: tuple[float, float, float, float]
    still: float
    moving: float


class Judge:
    """A network with its calibration. The same canvas gives the same verdict, whatever was judged before."""

    def __init__(self, network: Any, calibration: Calibration) -> None:
        self.network, self.calibration = network, calibration

    @classmethod
    def load(cls, path: Path) -> "Judge":
        """From a safetensors file whose metadata hold the calibration.

        Raises:
            ModelError: the file holds something else.
        """
        from safetensors import safe_open

        from curate.scorers.watermark_network import WatermarkNetwork

        with safe_open(str(path), "pt") as stored:
            metadata, tensors = stored.metadata() or {}, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dict
        network = WatermarkNetwork()
        try:
            network.load_state_dict(tensors)
            calibration = Calibration(**json.loads(metadata["calibration"]))
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path} does not hold a watermark network and its calibration: {error}") from error
        return cls(network.eval(), calibration)

    def save(self, path: Path) -> None:
        """Weights and calibration as safetensors."""
        from safetensors.torch import save_file

        tensors = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, str(path), {"calibration": json.dumps(asdict(self.calibration))})

    def __call__(self, canvas: Canvas, allowed: AllowedMarks = NONE_ALLOWED) -> Verdict:
        """The verdict on a canvas, leaving out up to MOST_ALLOWED places where an allowed mark lies."""
        still_map, moving_map = self.maps(canvas)
        verdict = self._verdict(still_map, moving_map)
        for _ in range(MOST_ALLOWED if allowed.examples else 0):
            place = allowed.where(canvas, verdict.box) if verdict.probability > SUSPECTED else None
            if place is None:
                break
            _silence(still_map, place)
            _silence(moving_map, place)
            verdict = self._verdict(still_map, moving_map)
        return verdict

    def _verdict(self, still_map: np.ndarray, moving_map: np.ndarray) -> Verdict:
        still, moving = strongest(still_map[None]), strongest(moving_map)
        stays = self.calibration.probability(still, -math.inf) >= self.calibration.probability(-math.inf, moving)
        box = box_of(still_map, still) if stays else box_of(moving_map.max(0), strongest(moving_map.max(0)[None]))
        return Verdict(self.calibration.probability(still, moving), box, still, moving)

    def maps(self, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
        """Logits of the real cells, two cells wide: of a mark that stays (R/2, C/2), and of a moving one in each picture (4, R/2, C/2)."""
        import torch

        arrays = (canvas.planes, canvas.pictures, canvas.valid)
        with fixed_threads():
            mark, _, moving = self.network(*(torch.from_numpy(array)[None].float() for array in arrays))
        rows, columns = (canvas.rows + 1) // 2, (canvas.columns + 1) // 2
        return mark[0, :rows, :columns].numpy().copy(), moving[0, :, :rows, :columns].numpy().copy()


def strongest(maps: np.ndarray) -> float:
    """The mean of a map's TOP largest logits, the mean over maps (N, h, w)."""
    flat = np.sort(maps.reshape(len(maps), -1), axis=1)[:, -TOP:]
    return float(flat.mean())


def box_of(logits: np.ndarray, peak: float) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom, 0-1) around the cells near the peak that hang together with the strongest one."""
    near = cv2.dilate((logits >= peak - NEAR).astype(np.uint8), np.ones((3, 5), np.uint8))
    _, pieces = cv2.connectedComponents(near, connectivity=8)
    kept = (pieces == pieces.flat[logits.argmax()]) & (logits >= peak - NEAR)
    rows, columns = np.flatnonzero(kept.any(1)), np.flatnonzero(kept.any(0))
    height, width = logits.shape
    return (float(columns[0] / width), float(rows[0] / height), float((columns[-1] + 1) / width), float((rows[-1] + 1) / height))


def _silence(logits: np.ndarray, box: tuple[float, float, float, float]) -> None:
    """No mark within the box and one cell around it, (..., h, w) changed in place."""
    height, width = logits.shape[-2:]
    rows = slice(max(0, math.floor(box[1] * height) - 1), math.ceil(box[3] * height) + 1)
    logits[..., rows, max(0, math.floor(box[0] * width) - 1) : math.ceil(box[2] * width) + 1] = -20.0


def _bounded(value: float) -> float:
    return min(max(value, -50.0), 50.0)
