"""What is seen, by EfficientNet-Lite0's ImageNet labels and plain groups of them, and only where it is confident."""

from functools import lru_cache

import numpy as np
import pyarrow as pa

from curate.embedding.parts import LOGITS
from curate.scorers.base import ClipBatch, Scorer, columns, tabulate
from curate.scorers.label_groups import grouped

CONFIDENT = 0.6
"""Mean probability over the proxies below which a label is not claimed."""


class Labels(Scorer):
    """Labels, and groups of labels such as `dog`, whose mean probability over the proxies is at least CONFIDENT, most likely first."""

    name = "labels"
    version = "2"
    columns = columns("labels", "label_confidences")
    needs = frozenset({"efficientnet"})
    models = ("efficientnet-lite0",)
    preprocessing = "central 224x224 of the shorter side at 256"

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            likely = probabilities(batch.feature("efficientnet", index)[:, LOGITS])
            found = {**grouped(likely), **{label_names()[at]: float(likely[at]) for at in np.flatnonzero(likely >= CONFIDENT)}}
            sure = sorted((name for name, share in found.items() if share >= CONFIDENT), key=lambda name: (-found[name], name))
            return {"labels": sure, "label_confidences": [min(1.0, found[name]) for name in sure]}

        return tabulate(batch, self.columns, measure)


@lru_cache(maxsize=1)
def label_names() -> tuple[str, ...]:
    """The 1000 ImageNet labels, the first of each class's synonyms."""
    from timm.data import ImageNetInfo

    return tuple(str(name).split(",")[0] for name in ImageNetInfo().label_descriptions())


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Mean over pictures of the softmax of logits (pictures, 1000)."""
    scaled = logits.astype(np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return (raised / raised.sum(axis=-1, keepdims=True)).mean(axis=0)
