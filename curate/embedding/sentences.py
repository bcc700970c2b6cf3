"""Sentence embeddings by all-MiniLM-L6-v2, as a plain torch encoder: importing transformers for six layers costs each worker ten seconds."""

import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from curate.embedding.compute import fixed_threads, in_fixed_batches
from curate.models import weights

if TYPE_CHECKING:
    import torch

MODEL = "all-minilm-l6-v2"

STORED_AS = {
    "self_attn.out_proj": "attention.output.dense",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm1": "attention.output.LayerNorm",
    "norm2": "output.LayerNorm",
}
"""Parts of torch's encoder layer, and what BERT's checkpoint calls them."""


class SentenceEncoder:
    """Mean-pooled, normalised sentence embeddings (Reimers and Gurevych 2019), BERT layers (Devlin et al. 2019) distilled by Wang et al. (2020).

    Every text is padded to 64 tokens, and cut there, eight at a time, so that an embedding does not depend on its neighbours.
    """

    batch_texts, tokens = 8, 64

    def __init__(self, models_dir: str | None = None) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        stored, settings, words = weights(MODEL, models_dir)
        self._tokenizer = Tokenizer.from_file(str(words))
        self._tokenizer.enable_truncation(self.tokens)
        self._tokenizer.enable_padding(length=self.tokens)
        self._tensors = load_file(stored)
        self._settings = json.loads(settings.read_text())
        self._layers = self._build()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings, float32 (texts, 384), each of length one."""
        if not texts:
            return np.zeros((0, self._settings["hidden_size"]), np.float32)
        encoded = self._tokenizer.encode_batch(list(texts))
        with fixed_threads():
            return in_fixed_batches(np.array([(each.ids, each.attention_mask) for each in encoded]), self.batch_texts, self._forward)

    def _forward(self, part: np.ndarray) -> np.ndarray:
        import torch
        from torch.nn.functional import layer_norm, normalize

        ids, mask = torch.from_numpy(part).unbind(1)
        mask[:, 0] = 1  # a padding row must attend to something, or its softmax is not a number
        places = {name: self._tensors[f"embeddings.{name}.weight"] for name in ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")}
        embedded = places["word_embeddings"][ids] + places["position_embeddings"][: self.tokens] + places["token_type_embeddings"][0]
        width, epsilon = self._settings["hidden_size"], self._settings["layer_norm_eps"]
        hidden = layer_norm(embedded, (width,), places["LayerNorm"], self._tensors["embeddings.LayerNorm.bias"], epsilon)
        hidden = self._layers(hidden, src_key_padding_mask=mask == 0)
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return normalize(pooled, dim=-1).numpy()

    def _build(self) -> "torch.nn.Module":
        """BERT's layers as torch's own, with the stored weights: the query, key and value of each are one matrix there."""
        import torch

        told = self._settings
        layer = torch.nn.TransformerEncoderLayer(
            told["hidden_size"],
            told["num_attention_heads"],
            told["intermediate_size"],
            dropout=0.0,
            activation=told["hidden_act"],
            layer_norm_eps=told["layer_norm_eps"],
            batch_first=True,
        )
        layers = torch.nn.TransformerEncoder(layer, told["num_hidden_layers"], enable_nested_tensor=False)
        layers.load_state_dict(self._renamed(told["num_hidden_layers"]))
        return layers.eval()

    def _renamed(self, depth: int) -> dict[str, "torch.Tensor"]:
        import torch

        made = {}
        for number, kind in itertools.product(range(depth), ("weight", "bias")):
            ours, theirs = f"layers.{number}", f"encoder.layer.{number}"
            roles = [self._tensors[f"{theirs}.attention.self.{role}.{kind}"] for role in ("query", "key", "value")]
            made[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(roles)
            made |= {f"{ours}.{place}.{kind}": self._tensors[f"{theirs}.{stored}.{kind}"] for place, stored in STORED_AS.items()}
        return made
