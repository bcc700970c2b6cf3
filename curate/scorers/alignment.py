"""How well a caption fits the picture without CLIP: ConSE (Norouzi et al. 2014), labels and caption meeting in a sentence embedding."""

import numpy as np
import pyarrow as pa

from curate.embedding.parts import LOGITS
from curate.models import weights
from curate.scorers.base import ClipBatch, Scorer, columns, tabulate
from curate.scorers.labels import probabilities

TEMPERATURE = 2.0
"""Softens the label probabilities: footage is not ImageNet, and the network is surer than it is right."""

LABELS_USED = 30
"""The paper's T: how many of the likeliest labels stand for the picture."""


class ConseAlignment(Scorer):
    """Cosine between the caption's embedding and the probability-weighted embedding of the likeliest ImageNet labels.

    Each label is embedded with its dictionary definition, and the mean of all labels is taken out of both sides, as it says only
    that this is English. Compare clips with it, not models: it is `conse`, not CLIP similarity, and knows a thousand nouns.
    """

    name = "conse"
    version = "1"
    columns = columns("alignment")
    needs = frozenset({"efficientnet", "caption_embedding", "caption"})
    models = ("efficientnet-lite0", "all-minilm-l6-v2", "imagenet-labels-minilm")
    preprocessing = "central 224x224 of the shorter side at 256"

    def setup(self) -> None:
        embedded = np.load(weights("imagenet-labels-minilm", self.models_dir)[0], allow_pickle=False).astype(np.float32)
        self._common = embedded.mean(axis=0)
        self._labels = _unit(embedded - self._common)

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            likely = probabilities(batch.feature("efficientnet", index)[:, LOGITS], TEMPERATURE)
            best = np.argsort(-likely, kind="stable")[:LABELS_USED]
            picture = _unit((likely[best, None] * self._labels[best]).sum(axis=0))
            return {"alignment": picture @ _unit(batch.feature("caption_embedding", index) - self._common)}

        return tabulate(batch, self.columns, measure)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
