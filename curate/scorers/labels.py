"""What is seen, by EfficientNet-Lite0's ImageNet labels, and only where it is confident."""

from functools import lru_cache

import numpy as np

from curate.scorers.base import ClipBatch, Scorer, columns, tabulate

CONFIDENT = 0.5
"""Mean probability over the proxies below which a label is not claimed."""


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


class Labels(Scorer):
    """ImageNet labels whose mean probability over the proxies is at least CONFIDENT, most likely first."""

    name = "labels"
    version = "1"
    columns = columns("labels", "label_confidences")
    needs = frozenset({"efficientnet"})
    models = ("efficientnet-lite0",)
    preprocessing = "central 224x224 of the shorter side at 256"

    def score(self, batch: ClipBatch):
        def measure(index: int) -> dict[str, object]:
            likely = probabilities(batch.feature("efficientnet", index))
            order = [int(at) for at in np.argsort(-likely, kind="stable") if likely[at] >= CONFIDENT]
            return {"labels": [label_names()[at] for at in order], "label_confidences": [likely[at] for at in order]}

        return tabulate(batch, self.columns, measure)
