"""CLIP in open_clip, from a checkpoint in the hub's transformers layout, so that one pinned file serves pictures and captions.

OpenAI's own archive is TorchScript, which would run what it holds; the safetensors copy on the hub only holds tensors, under other names.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.embedding.compute import device_name, fixed_threads, in_fixed_batches
from curate.models import weights

if TYPE_CHECKING:
    import torch

MODEL = "clip-vit-l-14"
PICTURES_AT_ONCE = {"cpu": 8, "cuda": 128}
TEXTS_AT_ONCE = {"cpu": 8, "cuda": 64}

RENAMED = (
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.embeddings.patch_embedding", "visual.conv1"),
    ("vision_model.pre_layrnorm", "visual.ln_pre"),
    ("vision_model.post_layernorm", "visual.ln_post"),
    ("vision_model.encoder.layers", "visual.transformer.resblocks"),
    ("text_model.embeddings.token_embedding", "token_embedding"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm", "ln_final"),
    ("text_model.encoder.layers", "transformer.resblocks"),
    (".self_attn.", ".attn."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
"""Parts of transformers' names, and what open_clip calls them."""


class PictureTower:
    """A network with a picture half: how it is put on a device, how a picture is laid out for it, and batches of one size, so that neighbours do not matter."""

    def __init__(self, network: Any, picture_side: int) -> None:
        import open_clip
        from open_clip.transform import image_transform

        self.device = device_name()
        self._network = network.eval().to(self.device)
        if self.device == "cuda":
            self._network.half()
        self._prepare: Any = image_transform(
            picture_side, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD, interpolation="bicubic"
        )

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """A picture, uint8 (H, W, 3) RGB, as the tower takes it: float32 (3, size, size), bicubic, central, normalised."""
        from PIL import Image

        return self._prepare(Image.fromarray(pixels)).numpy()

    def embed_prepared(self, pictures: np.ndarray) -> np.ndarray:
        """Embeddings, float32 (N, dimensions), of length one, of prepared pictures (N, 3, size, size)."""
        return self._run(pictures, PICTURES_AT_ONCE[self.device], self._encode_pictures)

    def _encode_pictures(self, pictures: "torch.Tensor") -> "torch.Tensor":
        return self._network(pictures)

    def _run(self, inputs: np.ndarray, rows: int, encode: Callable[..., Any]) -> np.ndarray:
        import torch

        def forward(part: np.ndarray) -> np.ndarray:
            tensor = torch.from_numpy(part).to(self.device)
            embedded = encode(tensor.half() if self.device == "cuda" and tensor.is_floating_point() else tensor)
            return torch.nn.functional.normalize(embedded.float(), dim=-1).cpu().numpy()

        with fixed_threads():
            return in_fixed_batches(inputs, rows, forward)


class ClipTower(PictureTower):
    """Embeds pictures and texts; half precision on a GPU, single on a CPU."""

    def __init__(self, checkpoint: Path, config: Path) -> None:
        import open_clip
        from safetensors.torch import load_file
        from transformers import CLIPConfig

        told: Any = CLIPConfig.from_json_file(config)
        network = open_clip.CLIP(
            told.projection_dim, vision_settings(told.vision_config.to_dict()), _text(told.text_config), told.vision_config.hidden_act == "quick_gelu"
        )
        network.load_state_dict(renamed(load_file(checkpoint)))
        super().__init__(network, told.vision_config.image_size)
        self.dimensions = told.projection_dim
        self._tokenize = open_clip.SimpleTokenizer(context_length=told.text_config.max_position_embeddings)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings, float32 (N, dimensions), of length one; a text is cut at the context's length (77 tokens)."""
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        return self._run(self._tokenize(list(texts)).numpy(), TEXTS_AT_ONCE[self.device], self._network.encode_text)

    def _encode_pictures(self, pictures: "torch.Tensor") -> "torch.Tensor":
        return self._network.encode_image(pictures)


@functools.lru_cache(maxsize=1)
def clip_tower(models_dir: str | None = None) -> ClipTower:
    """The one tower of this process, shared by every feature that needs it.

    Raises:
        ModelError: its weights are not here, or not what they should be.
    """
    checkpoint, config = weights(MODEL, models_dir)
    return ClipTower(checkpoint, config)


def renamed(stored: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """A transformers checkpoint of CLIP under open_clip's names: queries, keys and values become one matrix, projections are transposed."""
    import torch

    made = {}
    for name, tensor in stored.items():
        if name.endswith("position_ids") or ".k_proj." in name or ".v_proj." in name:
            continue
        ours = functools.reduce(lambda text, change: text.replace(*change), RENAMED, name)
        if ".q_proj." in name:
            roles = [stored[name.replace(".q_proj.", f".{role}_proj.")] for role in ("q", "k", "v")]
            made[ours.replace(".q_proj.", ".in_proj_")] = torch.cat(roles)
        elif name in ("visual_projection.weight", "text_projection.weight"):
            made["visual.proj" if name.startswith("visual") else "text_projection"] = tensor.T.contiguous()
        else:
            made[ours] = tensor
    return made


def vision_settings(told: Mapping[str, Any]) -> dict[str, Any]:
    """The picture half of a transformers configuration, as open_clip says it."""
    return {
        "image_size": told["image_size"],
        "layers": told["num_hidden_layers"],
        "width": told["hidden_size"],
        "head_width": told["hidden_size"] // told["num_attention_heads"],
        "patch_size": told["patch_size"],
        "mlp_ratio": told["intermediate_size"] / told["hidden_size"],
    }


def _text(told: Any) -> dict[str, Any]:
    return {
        "context_length": told.max_position_embeddings,
        "vocab_size": told.vocab_size,
        "width": told.hidden_size,
        "heads": told.num_attention_heads,
        "layers": told.num_hidden_layers,
        "mlp_ratio": told.intermediate_size / told.hidden_size,
    }
