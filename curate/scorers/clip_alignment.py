"""How well a caption fits the picture, by CLIP: the cosine of their embeddings (CLIPScore, Hessel et al. 2021, unscaled)."""

from typing import ClassVar

import numpy as np
import pyarrow as pa

from curate.embedding.clip_tower import MODEL as CLIP
from curate.scorers.base import ClipBatch, Scorer, columns, tabulate


class ClipAlignment(Scorer):
    """Mean over the proxies of the cosine with the chosen caption; matching captions reach about 0.2 to 0.35 with ViT-L/14."""

    name = "clip"
    version = "1"
    columns = columns("alignment")
    needs = frozenset({"clip_l14", "clip_caption", "caption"})
    models: ClassVar = (CLIP,)
    preprocessing = "shorter side at 224, bicubic; centre; OpenAI's mean and deviation; 77 tokens"

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            return {"alignment": np.mean(batch.feature("clip_l14", index) @ batch.feature("clip_caption", index))}

        return tabulate(batch, self.columns, measure)
