"""The aesthetic predictors as simple-aesthetics-predictor publishes them: CLIP's picture half and LAION's head in one checkpoint."""

from typing import ClassVar

import pyarrow as pa

from curate.embedding.vision_tower import VisionTower
from curate.models import weights
from curate.scorers.base import ClipBatch, Scorer, Unmeasured, columns, tabulate
from curate.scorers.laion import judged, read_head
from curate.scorers.per_picture import per_picture


class PublishedPredictor(Scorer):
    """About 1 to 10, mean over the proxies. Looks at pictures with the checkpoint's own tower, so it costs a tower of its own."""

    version = "1"
    columns = columns("aesthetic")
    needs = frozenset({"proxies"})
    preprocessing = "shorter side at 224, bicubic; centre; OpenAI's mean and deviation"

    def setup(self) -> None:
        checkpoint, config = weights(self.models[0], self.models_dir)
        self._tower, self._head = VisionTower(checkpoint, config), read_head(checkpoint)

    def score(self, batch: ClipBatch) -> pa.Table:
        embedded = per_picture(batch, self._tower.prepare, self._tower.embed_prepared)

        def measure(index: int) -> dict[str, object]:
            if isinstance(embedded[index], Unmeasured):
                raise embedded[index]
            return {"aesthetic": judged(self._head, embedded[index]).mean()}

        return tabulate(batch, self.columns, measure)


class PublishedV1B16(PublishedPredictor):
    """The first predictor on CLIP ViT-B/16."""

    name = "published_v1_b16"
    models: ClassVar = ("aesthetics-predictor-v1-vit-base-patch16",)


class PublishedV1B32(PublishedPredictor):
    """The first predictor on CLIP ViT-B/32."""

    name = "published_v1_b32"
    models: ClassVar = ("aesthetics-predictor-v1-vit-base-patch32",)


class PublishedV1L14(PublishedPredictor):
    """The first predictor on CLIP ViT-L/14; the head is that of `laion_v1`."""

    name = "published_v1_l14"
    models: ClassVar = ("aesthetics-predictor-v1-vit-large-patch14",)


class PublishedV2(PublishedPredictor):
    """The improved predictor; the head is that of `laion_v2`."""

    name = "published_v2"
    models: ClassVar = ("aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",)


class PublishedV2Ava(PublishedPredictor):
    """The improved predictor trained on AVA and logos; the head is that of `laion_v2_ava`."""

    name = "published_v2_ava"
    models: ClassVar = ("aesthetics-predictor-v2-ava-logos-l14-linearMSE",)


class PublishedV2AvaRelu(PublishedPredictor):
    """The same with a ReLU between its layers; the head is that of `laion_v2_ava_relu`."""

    name = "published_v2_ava_relu"
    models: ClassVar = ("aesthetics-predictor-v2-ava-logos-l14-reluMSE",)


PUBLISHED: tuple[type[Scorer], ...] = (PublishedV1B16, PublishedV1B32, PublishedV1L14, PublishedV2, PublishedV2Ava, PublishedV2AvaRelu)
