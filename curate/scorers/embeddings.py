"""Embeddings kept of every clip, for duplicates and search: one vector a clip, from networks that its profile runs anyway."""

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.embedding.parts import POOLED, POOLED_WIDTH
from curate.scorers.base import ClipBatch, Scorer, Unmeasured, schema_of
from schemas.table import column

VECTOR = "vector"


def vector_column(width: int) -> pa.Field:
    """The column of a relation `embeddings/NAME@VERSION-DIGEST`: half precision, since cosines of unit vectors need no more."""
    return column(VECTOR, pa.list_(pa.float16(), width), "Mean over the proxies' unit vectors, of length one", by="score")


class Embedding(Scorer):
    """The mean of a shared feature's unit vectors over a clip's proxies, of length one again; cosines compare clips."""

    family: ClassVar = "embeddings"

    @staticmethod
    def part(feature: np.ndarray) -> np.ndarray:
        """What of the feature (proxies, values) is kept."""
        return feature

    def score(self, batch: ClipBatch) -> pa.Table:
        (field,) = self.columns
        vectors: list[np.ndarray | None] = []
        reasons: list[list[tuple[str, str]]] = []
        for index in range(len(batch)):
            try:
                vectors.append(self._kept(batch.feature(self.name, index)))
                reasons.append([])
            except Unmeasured as error:
                vectors.append(None)
                reasons.append([(VECTOR, str(error))])
        flat = np.concatenate([np.zeros(field.type.list_size, np.float16) if vector is None else vector for vector in vectors])
        absent = pa.array([vector is None for vector in vectors])
        kept = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float16()), field.type.list_size, mask=absent)
        schema = schema_of(self.columns)
        return pa.table([batch.clips["clip_id"], kept, pa.array(reasons, schema.field("unmeasured").type)], schema=schema)

    def _kept(self, feature: Any) -> np.ndarray:
        mean = _unit(self.part(feature).astype(np.float32)).mean(axis=0)
        return _unit(mean).astype(np.float16)


class ClipEmbedding(Embedding):
    """CLIP ViT-L/14's embedding of the clip: compares with other clips and with text."""

    name = "clip_l14"
    version = "1"
    columns = (vector_column(768),)
    needs = frozenset({"clip_l14"})
    models = ("clip-vit-l-14",)
    preprocessing = "shorter side at 224, bicubic; centre; OpenAI's mean and deviation"


class EfficientNetEmbedding(Embedding):
    """EfficientNet-Lite0's pooled features of the clip: compares with other clips, by what they show rather than pixel by pixel."""

    name = "efficientnet"
    version = "1"
    columns = (vector_column(POOLED_WIDTH),)
    needs = frozenset({"efficientnet"})
    models = ("efficientnet-lite0",)
    preprocessing = "central 224x224 of the shorter side at 256"

    @staticmethod
    def part(feature: np.ndarray) -> np.ndarray:
        return feature[:, POOLED]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
