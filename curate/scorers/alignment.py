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
        self._space = LabelSpace(self.models_dir)

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            likely = probabilities(batch.feature("efficientnet", index)[:, LOGITS], TEMPERATURE)
            return {"alignment": self._space.pictures(likely[None])[0] @ self._space.text(batch.feature("caption_embedding", index))}

        return tabulate(batch, self.columns, measure)


class LabelSpace:
    """Where pictures and texts meet: ImageNet's labels as sentence embeddings, without what they have in common."""

    def __init__(self, models_dir: str | None = None) -> None:
        embedded = np.load(weights("imagenet-labels-minilm", models_dir)[0], allow_pickle=False).astype(np.float32)
        self._common = embedded.mean(axis=0)
        self._labels = _unit(embedded - self._common)

    def pictures(self, likely: np.ndarray) -> np.ndarray:
        """Where label probabilities (N, 1000) lie: their LABELS_USED likeliest labels, weighted; (N, 384), of length one."""
        best = np.argsort(-likely, axis=1, kind="stable")[:, :LABELS_USED]
        return _unit(np.einsum("nl,nld->nd", np.take_along_axis(likely, best, axis=1), self._labels[best]))

    def text(self, embedding: np.ndarray) -> np.ndarray:
        """Where a sentence embedding (384,) lies, of length one."""
        return _unit(embedding - self._common)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
