"""Stored embeddings: the vectors that scoring kept of clips, as one array, for whoever looks for what is alike."""

from dataclasses import dataclass

import numpy as np

from curate.corpus import Corpus, CorpusError, version_order

PREFERRED = ("clip_l14", "efficientnet")
"""Which network's vectors are taken where none is asked for: the one that knows more, first."""


@dataclass(frozen=True)
class StoredVectors:
    """Vectors of length one, float16 (clips, dimensions), sorted by clip_id; `maker` is `NAME@VERSION-DIGEST`, as in `embeddings/MAKER`."""

    maker: str
    clip_ids: list[str]
    vectors: np.ndarray

    @property
    def name(self) -> str:
        """The network's name."""
        return self.maker.partition("@")[0]


def stored_vectors(corpus: Corpus, name: str | None = None) -> StoredVectors:
    """The latest version's vectors of a network, `clip_l14` or `efficientnet`; of the best there is when None. Clips without one are left out.

    Raises:
        CorpusError: scoring has kept none.
    """
    maker = maker_of(corpus, name)
    rows = corpus.read(f"embeddings/{maker}", ["clip_id", "vector"]).drop_null().sort_by("clip_id")
    width = rows.schema.field("vector").type.list_size
    vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    return StoredVectors(maker, rows["clip_id"].to_pylist(), vectors)


def maker_of(corpus: Corpus, name: str | None = None) -> str:
    """The latest version of a network whose vectors are kept, as `NAME@VERSION-DIGEST`; of the best there is when None.

    Raises:
        CorpusError: scoring has kept none.
    """
    made = corpus.names("embeddings/")
    for wanted in PREFERRED if name is None else (name,):
        makers = sorted((each.removeprefix("embeddings/") for each in made if each.startswith(f"embeddings/{wanted}@")), key=version_order)
        if makers:
            return makers[-1]
    raise CorpusError(f"{corpus.url}: no embeddings{f' of {name}' if name else ''} are kept; `clipmill measure` makes them (profile `laion` those of CLIP)")
