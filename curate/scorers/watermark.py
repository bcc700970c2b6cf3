"""How likely it is that a mark of ownership lies over the picture, and where: a small network over what stays, what moves and what it looks like."""

from typing import ClassVar

import pyarrow as pa

from curate.models import weights
from curate.observers.overlay_maps import planes_of
from curate.scorers.allowed_marks import AllowedMarks
from curate.scorers.base import ClipBatch, Scorer, columns, tabulate
from curate.scorers.watermark_features import Canvas, canvas_of, planes_of_still
from curate.scorers.watermark_judge import Judge

MODEL = "watermark"
PICTURES_A_WINDOW = 3
"""PNG pictures that hold the nine planes of one window."""


class Watermark(Scorer):
    """Probability of a watermark or logo laid over the picture, still or moving, and the box of the likeliest one.

    Captions and scene text are no marks. The likeliest window counts. The box is where a mark would most likely lie; it means
    something where the probability does. Marks that the owner allows by example images (see `allowed_marks`) are left out.
    """

    name = "watermark"
    version = "2"
    columns = columns("watermark", "watermark_box")
    needs = frozenset({"proxies", "edges"})
    models: ClassVar = (MODEL,)
    preprocessing = "luma; nine maps a window at 160x90 cells and four pictures at 320x180, carried on to 160x96 cells; one clip at a time"

    def __init__(self, models_dir: str | None = None) -> None:
        super().__init__(models_dir)
        self.allowed = AllowedMarks.configured()

    @classmethod
    def identity(cls) -> str:
        """As every scorer's, with 4 digits of the allowed marks' digest where there are any: they change the numbers."""
        allowed = AllowedMarks.configured()
        return super().identity() + (f"-allowing-{allowed.digest[:4]}" if allowed.examples else "")

    def setup(self) -> None:
        self._judge = Judge.load(weights(MODEL, self.models_dir)[0])

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            verdict = max((self._judge(canvas, self.allowed) for canvas in canvases(batch, index)), key=lambda each: each.probability)
            return {"watermark": verdict.probability, "watermark_box": verdict.box}

        return tabulate(batch, self.columns, measure)


def canvases(batch: ClipBatch, index: int) -> list[Canvas]:
    """The canvases of a clip's windows; a clip without maps, such as an image, is looked at as a still.

    Raises:
        Unmeasured: the clip has no pictures, or one does not decode.
        ValueError: its maps are not whole.
    """
    frames = batch.frames(index)
    stored = [edges.pixels for edges in batch.edges[index]] if batch.edges else []
    if len(stored) % PICTURES_A_WINDOW:
        raise ValueError(f"{len(stored)} edge maps are not whole windows of {PICTURES_A_WINDOW}")
    starts = range(0, len(stored), PICTURES_A_WINDOW)
    planes = [planes_of(stored[start : start + PICTURES_A_WINDOW]) for start in starts] or [planes_of_still(frames[0])]
    return [canvas_of(each, frames) for each in planes]
