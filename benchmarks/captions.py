"""Captions: how well any sentence fits clips of a corpus, by the alignment scorer of profile `embedded`."""

import numpy as np
import pyarrow as pa

from curate.corpus import Corpus
from curate.embedding.features import CaptionEmbedding, EfficientNet
from curate.score import batch_of
from curate.scorers.alignment import ConseAlignment
from curate.scorers.base import ClipBatch


class Captions:
    """The scorer with its features, set up once.

    Args:
        corpus: read, so that it has proxies.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._pictures, self._sentences, self._scorer = EfficientNet(), CaptionEmbedding(), ConseAlignment()
        for part in (self._pictures, self._sentences, self._scorer):
            part.setup()

    def fit(self, clip_ids: list[str], caption: str) -> float:
        """Mean alignment of a caption over clips; larger is better."""
        batch = batch_of(self._corpus, pa.table({"clip_id": clip_ids, "caption": [caption] * len(clip_ids)}), {"frame"})
        found = {"efficientnet": self._pictures.compute(batch), "caption_embedding": self._sentences.compute(batch)}
        return float(np.mean(self._scorer.score(ClipBatch(batch.clips, batch.pictures, features=found))["alignment"].drop_null().to_pylist()))
