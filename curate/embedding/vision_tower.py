"""VisionTower: the picture half of a CLIP checkpoint, for predictors that bring their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from curate.embedding.clip_tower import PICTURES_AT_ONCE, renamed, vision_settings
from curate.embedding.compute import device_name, fixed_threads, in_fixed_batches
from curate.models import ModelError

OF_PICTURES = ("vision_model.", "visual_projection.")


class VisionTower:
    """Embeds pictures with a checkpoint in transformers' layout (`CLIPVisionModelWithProjection`), whatever else the file holds; half precision on a GPU.

    Raises:
        ModelError: the checkpoint and its configuration do not fit together.
    """

    def __init__(self, checkpoint: Path, config: Path) -> None:
        import open_clip
        import torch
        from open_clip.transform import image_transform
        from open_clip.transformer import QuickGELU, VisionTransformer
        from safetensors.torch import load_file

        told = json.loads(config.read_text("utf-8"))
        sizes = vision_settings(told)
        width, head_width = sizes.pop("width"), sizes.pop("head_width")
        activation = QuickGELU if told["hidden_act"] == "quick_gelu" else torch.nn.GELU
        network = VisionTransformer(**sizes, width=width, heads=width // head_width, output_dim=told["projection_dim"], act_layer=activation)
        stored = {name: tensor for name, tensor in load_file(checkpoint).items() if name.startswith(OF_PICTURES)}
        try:
            network.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in renamed(stored).items()})
        except RuntimeError as error:
            raise ModelError(f"{checkpoint} does not hold the picture half of CLIP that {config} describes: {error}") from error
        self.device = device_name()
        self._network = network.eval().to(self.device, torch.float16 if self.device == "cuda" else torch.float32)
        self._prepare: Any = image_transform(
            told["image_size"], is_train=False, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD, interpolation="bicubic"
        )

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """A picture, uint8 (H, W, 3) RGB, as the tower takes it: float32 (3, size, size), bicubic, central, normalised."""
        from PIL import Image

        return self._prepare(Image.fromarray(pixels)).numpy()

    def embed_prepared(self, pictures: np.ndarray) -> np.ndarray:
        """Embeddings, float32 (N, dimensions), of length one, of prepared pictures (N, 3, size, size)."""
        import torch

        def forward(part: np.ndarray) -> np.ndarray:
            embedded = self._network(torch.from_numpy(part).to(self.device, next(self._network.parameters()).dtype))
            return torch.nn.functional.normalize(embedded.float(), dim=-1).cpu().numpy()

        with fixed_threads():
            return in_fixed_batches(pictures, PICTURES_AT_ONCE[self.device], forward)
