"""Queries: a text made into something that kept vectors can be scored against, by the model that made them and no other."""

from collections.abc import Callable

import numpy as np

from curate.corpus import CorpusError
from curate.embedding.clip_tower import clip_tower
from curate.embedding.parts import POOLED_WIDTH
from curate.embedding.sentences import SentenceEncoder
from curate.models import weights
from curate.scorers.alignment import TEMPERATURE, LabelSpace
from curate.scorers.embeddings import ClipEmbedding, EfficientNetEmbedding

Query = Callable[[np.ndarray], np.ndarray]
"""Scores, float64 (N,), of vectors of length one, float32 (N, dimensions); the higher the nearer."""

TYPICAL_LENGTH = 15.6
"""Length of EfficientNet's pooled features before they were brought to one, which its classifier needs again: the median of 712 pictures of real footage."""


def like_query(vector: np.ndarray) -> Query:
    """The cosine with one vector of length one."""
    return lambda vectors: (vectors @ vector.astype(np.float32)).astype(np.float64)


def text_query(maker: str, text: str, models_dir: str | None = None) -> Query:
    """How well a text fits, by the network whose vectors were kept.

    Args:
        maker: `NAME@VERSION-DIGEST`, as in `embeddings/MAKER`.

    Raises:
        CorpusError: the vectors are of another model than the one that would read the text.
        ModelError: the model is not on this machine.
    """
    name = maker.partition("@")[0]
    if name not in READERS:
        raise CorpusError(f"no text can be compared with vectors of `{name}`; with those of {', '.join(READERS)} it can")
    scorer, read = READERS[name]
    if maker != scorer.identity():
        raise CorpusError(
            f"the vectors are of {maker}, and this clipmill reads texts with {scorer.identity()}: the two do not compare. "
            f"`clipmill measure --only {name}` makes vectors that do"
        )
    return read(text, models_dir)


def _by_clip(text: str, models_dir: str | None) -> Query:
    """The cosine of CLIP's embeddings (Radford et al. 2021)."""
    return like_query(clip_tower(models_dir).embed_texts([text])[0])


def _by_labels(text: str, models_dir: str | None) -> Query:
    """ConSE (Norouzi et al. 2014), from kept vectors: the classifier's labels of each, and the text, meet in a sentence embedding, as in `conse`.

    A kept vector is the mean over a clip's pictures without its length, so this comes near to `conse` and is not equal to it.
    """
    matrix, bias = _classifier(models_dir)
    space = LabelSpace(models_dir)
    wanted = space.text(SentenceEncoder(models_dir).encode([text])[0])

    def score(vectors: np.ndarray) -> np.ndarray:
        logits = (TYPICAL_LENGTH * vectors @ matrix.T + bias) / TEMPERATURE
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (space.pictures(raised / raised.sum(axis=1, keepdims=True)) @ wanted).astype(np.float64)

    return score


def _classifier(models_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    """EfficientNet-Lite0's last layer, float32 (1000, 1280) and (1000,): what makes labels of pooled features."""
    import torch

    stored = torch.load(weights("efficientnet-lite0", models_dir)[0], map_location="cpu", weights_only=True)
    matrix, bias = (tensor.numpy() for tensor in list(stored.values())[-2:])
    if matrix.shape[1:] != (POOLED_WIDTH,) or bias.shape != matrix.shape[:1]:
        raise CorpusError(f"the classifier of efficientnet-lite0 has {matrix.shape} and {bias.shape} numbers, not {POOLED_WIDTH} a label")
    return matrix, bias


READERS = {"clip_l14": (ClipEmbedding, _by_clip), "efficientnet": (EfficientNetEmbedding, _by_labels)}
"""By network: the scorer that keeps its vectors, and how a text is read for them."""
