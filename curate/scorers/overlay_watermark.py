"""How likely a watermark is, from the static-overlay evidence that the observer left: edges that stay while content moves."""

import pyarrow as pa

from curate.scorers.base import ClipBatch, Scorer, columns, tabulate


class OverlayWatermark(Scorer):
    """The observer's evidence as it is, with its box. Says nothing of moving marks, nor of clips in which nothing moves."""

    name = "overlay"
    version = "1"
    columns = columns("watermark", "watermark_box")
    needs = frozenset({"overlay_evidence"})
    preprocessing = "none: reads the observer's columns"

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            return {"watermark": float(batch.column("overlay_evidence", index)), "watermark_box": batch.rows[index].get("overlay_box")}

        return tabulate(batch, self.columns, measure)
