"""What a judge says of stored examples, beside the truth: one row an example."""

from pathlib import Path
from typing import Any

import numpy as np

from curate.scorers.watermark_features import Canvas
from curate.scorers.watermark_judge import Judge


def judged(judge: Judge, folder: Path) -> list[dict[str, Any]]:
    """For every example of a folder: probability, still, moving, box_overlap (of marks that stay), marked, kind, static, strength, area, captioned."""
    rows = []
    for path in sorted(folder.glob("*-?????.npz")):
        stored = dict(np.load(path))
        for index in range(len(stored["kind"])):
            verdict = judge(_canvas(stored, index))
            truth = stored["box"][index]
            rows.append(
                {
                    "probability": verdict.probability,
                    "still": verdict.still,
                    "moving": verdict.moving,
                    "overlap": overlap(verdict.box, truth) if truth.any() else None,
                    "marked": int(stored["kind"][index] != "none"),
                    "kind": str(stored["kind"][index]),
                    "static": bool(stored["static"][index]),
                    "strength": float(stored["strength"][index]),
                    "area": float(stored["area"][index]),
                    "captioned": bool(stored["captioned"][index]),
                }
            )
    return rows


def overlap(one, other) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(across * down / max(sum(areas) - across * down, 1e-9))


def _canvas(stored, index) -> Canvas:
    planes, pictures, valid = (stored[name][index] for name in ("planes", "pictures", "valid"))
    if stored["portrait"][index]:
        planes, pictures, valid = planes.swapaxes(-1, -2), pictures.swapaxes(-1, -2), valid.T
    return Canvas(np.ascontiguousarray(planes), np.ascontiguousarray(pictures), int(valid.any(1).sum()), int(valid.any(0).sum()))
