"""LAION's aesthetic predictors, which are heads on CLIP ViT-L/14's embeddings: the scores that the field's thresholds mean."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.embedding.clip_tower import MODEL as CLIP
from curate.models import ModelError, weights
from curate.scorers.base import ClipBatch, Scorer, columns, tabulate

OF_CLIP = ("vision_model.", "text_model.", "visual_projection.", "text_projection.")
"""What a checkpoint of simple-aesthetics-predictor holds beside its head (`layers.*`, or `predictor.*`)."""

LINEAR, RELU = (0, 2, 4, 6, 7), (0, 3, 6, 9, 11)
"""Places of the improved predictor's linear layers in its two arrangements: with dropout between them, or with a ReLU as well."""


@dataclass(frozen=True)
class Head:
    """Linear layers, as weight (out, in) and bias (out) each, and whether a ReLU stands between them."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    relu: bool


class LaionAesthetic(Scorer):
    """The improved predictor (`sac+logos+ava1-l14-linearMSE`), about 1 to 10: mean over the proxies. Recipes that say 4 or 5 mean this one."""

    name = "laion_v2"
    version = "1"
    columns = columns("aesthetic")
    needs = frozenset({"clip_l14"})
    models: ClassVar = ("laion-aesthetic-v2", CLIP)
    preprocessing = "shorter side at 224, bicubic; centre; OpenAI's mean and deviation"

    def setup(self) -> None:
        self._head = read_head(weights(self.models[0], self.models_dir)[0])

    def score(self, batch: ClipBatch) -> pa.Table:
        def measure(index: int) -> dict[str, object]:
            return {"aesthetic": judged(self._head, batch.feature("clip_l14", index)).mean()}

        return tabulate(batch, self.columns, measure)


class LaionAestheticV1(LaionAesthetic):
    """The first predictor (`sa_0_4_vit_l_14_linear`), with which LAION-Aesthetics V1 was made."""

    name = "laion_v1"
    models: ClassVar = ("laion-aesthetic-v1", CLIP)


class LaionAestheticAva(LaionAesthetic):
    """The improved predictor trained on AVA and logos alone (`ava+logos-l14-linearMSE`)."""

    name = "laion_v2_ava"
    models: ClassVar = ("laion-aesthetic-v2-ava", CLIP)


class LaionAestheticAvaRelu(LaionAesthetic):
    """The same with a ReLU between its layers (`ava+logos-l14-reluMSE`)."""

    name = "laion_v2_ava_relu"
    models: ClassVar = ("laion-aesthetic-v2-ava-relu", CLIP)


def read_head(path: Path) -> Head:
    """The head in a checkpoint.

    Reads LAION's own files (one linear layer, or a stack of them), and the checkpoints that simple-aesthetics-predictor publishes,
    which hold CLIP's picture half beside the head. Nothing is unpickled but tensors.

    Raises:
        ModelError: the file holds no such head.
    """
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        stored = load_file(path)
    else:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    own = sorted((name for name in stored if name.endswith("weight") and not name.startswith(OF_CLIP)), key=_place)
    layers = tuple((_array(stored, name), _array(stored, f"{name.removesuffix('weight')}bias")) for name in own)
    sizes, places = [weight.shape for weight, _ in layers], tuple(_place(name) for name in own)
    # What stands between layers leaves no tensors: it shows only in the places that the others have.
    known = len(layers) == 1 or places in (LINEAR, RELU)
    if not known or sizes[-1][0] != 1 or any(before[0] != after[1] for before, after in itertools.pairwise(sizes)):
        raise ModelError(f"{path} holds no aesthetic head that is known: beside CLIP it has {', '.join(own) or 'nothing'}")
    return Head(layers, relu=places == RELU)


def judged(head: Head, embeddings: np.ndarray) -> np.ndarray:
    """Scores (N,) of embeddings (N, dimensions) of length one."""
    hidden = embeddings
    for number, (weight, bias) in enumerate(head.layers):
        hidden = (np.maximum(hidden, 0) if head.relu and number else hidden) @ weight.T + bias
    return hidden[:, 0]


def _array(stored: Mapping[str, Any], name: str) -> np.ndarray:
    return np.asarray(stored[name].float().numpy()) if name in stored else np.zeros(1, np.float32)


def _place(name: str) -> int:
    """The number in `layers.2.weight`; 0 where there is none."""
    return int("".join(letter for letter in name if letter.isdigit()) or 0)
