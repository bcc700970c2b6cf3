"""Reader: RapidOCR without what it would do in vain: only what may be a line is read, and each line by itself."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

Found = tuple[np.ndarray, str, float]
"""Four corners (4, 2) in pixels, from the top left one clockwise; the words; how probable they are."""


class Reader:
    """Finds and reads lines of text with PP-OCR, on one thread.

    Args:
        detector, recogniser: files of the two networks.
        longer_side: pixels to which a picture's longer side is brought before detection, where it is longer.
        tallest: share of the picture's height from which a box is no line. On clean pictures the detector often takes the whole
            for one, and reading that costs as much as half of finding it.
    """

    def __init__(self, detector: str, recogniser: str, longer_side: int, tallest: float) -> None:
        from rapidocr import RapidOCR

        engine: Any = RapidOCR  # typed, it would only take its own detector
        self._engine = engine(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Det.model_path": detector,
                "Rec.model_path": recogniser,
                "Rec.rec_batch_num": 1,  # beside a longer line a shorter one is padded, which costs time and changes its probability
                "Det.limit_type": "max",
                "Det.limit_side_len": longer_side,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        self._engine(np.zeros((32, 32, 3), np.uint8), use_rec=False)  # the detector is loaded when first asked
        self._engine.text_det = LineDetector(self._engine.text_det, tallest)

    def __call__(self, pixels: np.ndarray) -> Iterator[Found]:
        """What is read in one picture, uint8 (H, W, 3) RGB."""
        read: Any = self._engine(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), use_rec=True, use_cls=False)
        return zip(read.boxes if read.boxes is not None else (), read.txts or (), read.scores or ())


class LineDetector:
    """Stands for RapidOCR's detector: leaves out boxes too tall for a line, and lays pictures out by a table of grey levels."""

    def __init__(self, detector: Any, tallest: float) -> None:
        self._detector, self._tallest = detector, tallest
        self._resize, self._levels = laid_out(detector.get_preprocess())
        detector.get_preprocess = lambda: self._lay_out

    def __call__(self, picture: np.ndarray) -> Any:
        found = self._detector(picture)
        if found.boxes is not None:
            heights = np.ptp(found.boxes[:, :, 1], axis=1)
            kept = [at for at, height in enumerate(heights) if height < self._tallest * picture.shape[0]]
            found.scores = [found.scores[at] for at in kept]
            found.boxes = found.boxes[kept] if kept else None
        return found

    def _lay_out(self, picture: np.ndarray) -> np.ndarray | None:
        """As the network takes it, float32 (1, 3, h, w)."""
        resized = self._resize(picture)
        if resized is None:
            return None
        height, width, planes = resized.shape
        upright = np.ascontiguousarray(resized.transpose(2, 0, 1)).reshape(planes * height, width)
        return cv2.LUT(upright, self._levels).reshape(1, planes, height, width)


def laid_out(prepare: Any) -> tuple[Any, np.ndarray]:
    """How RapidOCR resizes, and what it makes of each grey level, float32 (256,): a look-up gives the same numbers in a fifth of the time."""
    levels = np.arange(256, dtype=np.uint8)[:, None, None]
    prepare.mean, prepare.std = np.float32(prepare.mean), np.float32(prepare.std)
    table = prepare.normalize(levels)[:, 0]
    if np.ptp(table, axis=1).any():
        raise ValueError("the text detector treats its three channels differently, which this layout does not")
    return prepare.resize, np.ascontiguousarray(table[:, 0])
