"""Tags, category and fitness for work, by asking CLIP which of several sentences fits the picture best (Radford et al. 2021, section 3.1)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curate.embedding.clip_tower import MODEL as CLIP
from curate.embedding.clip_tower import clip_tower
from curate.scorers.base import ClipBatch, Scorer, columns, tabulate
from curate.scorers.labels import CONFIDENT, label_names

LOGIT_SCALE = 100.0
"""CLIP's learned temperature, which ended at its bound."""

CATEGORIES = {
    "Ads and Commercials": ("a product advertisement", "a commercial with a brand name"),
    "Animation": ("a cartoon", "a computer animation"),
    "Branded Content": ("a corporate video", "a promotional film of a company"),
    "Comedy": ("a comedy sketch", "people being funny on stage"),
    "Documentary": ("a documentary film", "an interview", "wildlife footage"),
    "Experimental": ("an abstract experimental film", "abstract art in motion"),
    "Music": ("a music video", "a band playing a concert"),
    "Narrative": ("a scene from a feature film", "actors in a dramatic scene"),
    "Sports": ("a sports event", "an athlete in action"),
    "Travel": ("a travel video", "a landscape seen on a journey", "a city seen by tourists"),
}
"""The ten of Vimeo25M (LaVie, section 4), each by the sentences that stand for it."""

UNSAFE = ("explicit sexual content", "a naked person", "pornography", "a bloody corpse", "graphic violence")
SAFE = ("an ordinary scene", "people in everyday clothes", "a landscape", "an animal", "an object", "a street")


class ZeroShot:
    """Sentences grouped under names; a group's probability is the sum of its sentences' shares of one softmax."""

    def __init__(self, groups: Mapping[str, Sequence[str]], template: str, models_dir: str | None) -> None:
        self.names = tuple(groups)
        sentences = [template.format(sentence) for group in groups.values() for sentence in group]
        self._embedded = clip_tower(models_dir).embed_texts(sentences)
        self._group = np.repeat(np.arange(len(groups)), [len(group) for group in groups.values()])

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """Probability of each group (groups,), the mean over pictures of embeddings (pictures, dimensions)."""
        logits = LOGIT_SCALE * embeddings.astype(np.float64) @ self._embedded.T
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = (raised / raised.sum(axis=1, keepdims=True)).mean(axis=0)
        return np.bincount(self._group, weights=shares, minlength=len(self.names))


class Tags(Scorer):
    """ImageNet's thousand labels as zero-shot tags, only where confident, and the likeliest of Vimeo25M's categories."""

    name = "tags"
    version = "1"
    columns = columns("labels", "label_confidences", "category")
    needs = frozenset({"clip_l14"})
    models: ClassVar = (CLIP,)
    preprocessing = "shorter side at 224, bicubic; centre; OpenAI's mean and deviation"

    def setup(self) -> None:
        self._labels = ZeroShot({name: (name,) for name in dict.fromkeys(label_names())}, "a photo of a {}.", self.models_dir)
        self._categories = ZeroShot(CATEGORIES, "a frame of {}.", self.models_dir)

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            embeddings = batch.feature("clip_l14", index)
            likely = self._labels.probabilities(embeddings)
            order = [int(at) for at in np.argsort(-likely, kind="stable") if likely[at] >= CONFIDENT]
            category = self._categories.names[int(self._categories.probabilities(embeddings).argmax())]
            return {"labels": [self._labels.names[at] for at in order], "label_confidences": [likely[at] for at in order], "category": category}

        return tabulate(batch, self.columns, measure)


class NotSafeForWork(Scorer):
    """The most over the proxies of the probability that a sentence about sex or gore fits better than an ordinary one. A probe, not a classifier."""

    name = "nsfw"
    version = "1"
    columns = columns("nsfw")
    needs = frozenset({"clip_l14"})
    models: ClassVar = (CLIP,)
    preprocessing = "shorter side at 224, bicubic; centre; OpenAI's mean and deviation"

    def setup(self) -> None:
        self._probe = ZeroShot({"unsafe": UNSAFE, "safe": SAFE}, "a photo of {}.", self.models_dir)

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            return {"nsfw": max(self._probe.probabilities(each[None])[0] for each in batch.feature("clip_l14", index))}

        return tabulate(batch, self.columns, measure)
