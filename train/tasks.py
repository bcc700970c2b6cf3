"""Tasks: what each phase shows its network, and what it asks back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from schemas.run import Phase, TrainingRun
from train.autoencoder import PatchAutoencoder
from train.conditions import blend_keys, both_keys, noise_low_resolution, repeat_keys, resize_clip
from train.data import Batch, pixels
from train.degradations import degrade
from train.draws import Draws
from train.encoders import Encoders
from train.objective import Objective
from train.presets import Stage, unet_config
from train.unet import VideoUNet


class Task(ABC):
    """One phase's question. The same question serves training, validation and held-out losses: only its `draws` differ.

    Attributes:
        component: the part of the cascade that the phase trains.
        stage: which of the UNet's configurations it is; None for the autoencoder.
        pixels_needed: whether it looks at pictures, or at their latents alone, which may then come from a cache.
        null_caption: what stands for no caption, in training and in guidance (LaVie uses these).
    """

    component: ClassVar[str]
    stage: ClassVar[Stage | None] = None
    null_caption: ClassVar[str] = ""
    pixels_needed: ClassVar[bool] = True

    def __init__(self, phase: Phase, encoders: Encoders) -> None:
        self.phase, self.encoders, self.objective = phase, encoders, Objective.of(phase)

    def network(self, run: TrainingRun) -> nn.Module:
        """The network to train, with weights yet to be given."""
        if self.stage is None:
            raise TypeError(f"{type(self).__name__} has no stage: it must make its own network")
        keys = 2 if self.phase.keys == "both" else 1
        return VideoUNet(**unet_config(run.preset, self.stage, self.encoders.latents.channels, self.encoders.text.channels, keys))

    @abstractmethod
    def errors(self, network: nn.Module, batch: Batch, draws: Draws) -> Tensor:
        """Weighted squared errors (B, F+M, h, w), averaged over channels; the M joined images follow the F frames."""

    def losses(self, network: nn.Module, batch: Batch, draws: Draws) -> Tensor:
        """(B,) the loss of each clip: L_video + alpha · L_image."""
        errors = self.errors(network, batch, draws)
        frames = batch.frames.shape[1]
        video = errors[:, :frames].mean(dim=(1, 2, 3))
        if errors.shape[1] == frames:
            return video
        return video + self.phase.image_weight * errors[:, frames:].mean(dim=(1, 2, 3))

    def _latents(self, frames: Tensor) -> Tensor:
        """(B, C, F, h, w) of pictures uint8 (B, F, 3, H, W), or of latents (B, F, C, h, w) from a cache."""
        return frames.transpose(1, 2) if frames.is_floating_point() else self.encoders.latents.encode(pixels(frames))

    def _text(self, captions: Sequence[str], draws: Draws) -> Tensor:
        """(B, L, D) features, of the null caption where it is dropped."""
        if draws.training and self.phase.text_dropout > 0:
            dropped = draws.uniform() < self.phase.text_dropout
            captions = [self.null_caption if drop else caption for caption, drop in zip(captions, dropped.tolist())]
        return self.encoders.text.encode(captions)

    def _denoising_errors(self, answer: Tensor, latents: Tensor, noise: Tensor, draws: Draws) -> Tensor:
        timesteps = draws.timesteps.to(latents.device)
        target = self.objective.target(latents, noise, timesteps)
        errors = (answer.float() - target.float()).square().mean(dim=1)
        return errors * self.objective.weights(timesteps).view(-1, 1, 1, 1)


class Autoencode(Task):
    """Pictures and their reconstruction, in pixels of [-1, 1]: trains the embedded latent space's decoder."""

    component = "autoencoder"

    def network(self, run: TrainingRun) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            return PatchAutoencoder()

    def errors(self, network: nn.Module, batch: Batch, draws: Draws) -> Tensor:
        pictures = pixels(torch.cat([batch.frames, batch.images], dim=1)).transpose(1, 2)
        made = network(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        return (made - pictures).square().mean(dim=2)


class TextToVideo(Task):
    """Noised latents of a clip and its caption; images beside the clip, each with its own caption (LaVie, section 3.2)."""

    component, stage, pixels_needed = "base", "base", False

    def errors(self, network: nn.Module, batch: Batch, draws: Draws) -> Tensor:
        images = batch.images.shape[1]
        latents = self._latents(torch.cat([batch.frames, batch.images], dim=1))
        noise = draws.normal(latents.shape[1:]).to(latents)
        timesteps = draws.timesteps.to(latents.device)
        text = self._text(batch.captions, draws)
        if images:
            of_images = [self._text([captions[number] for captions in batch.image_captions], draws) for number in range(images)]
            text = torch.stack([text, *of_images], dim=1)
        noised = self.objective.noised(latents, noise, timesteps)
        given = self._given(draws, latents)
        noised[:, :, :1] = torch.where(given, latents[:, :, :1], noised[:, :, :1])
        answer = network(noised, timesteps, text, num_images=images)
        errors = self._denoising_errors(answer, latents, noise, draws)
        # A frame that is given is not asked for; the others weigh as much as all do elsewhere.
        frames = batch.frames.shape[1]
        asked = torch.ones_like(errors)
        asked[:, :frames] = torch.where(given[:, 0], frames / max(1, frames - 1), 1.0)
        asked[:, :1] = torch.where(given[:, 0], 0.0, 1.0)
        return errors * asked

    def _given(self, draws: Draws, latents: Tensor) -> Tensor:
        """(B, 1, 1, 1, 1) whether the first frame is given clean, as when a video is continued (LaVie, section 3.5)."""
        if not draws.training or self.phase.first_frame == 0:
            return torch.zeros(len(latents), 1, 1, 1, 1, dtype=torch.bool, device=latents.device)
        return (draws.uniform() < self.phase.first_frame).view(-1, 1, 1, 1, 1).to(latents.device)


class Interpolate(Task):
    """Noised latents of all frames beside the latents of their nearest key frame (LaVie, section 3.3)."""

    component, stage, null_caption, pixels_needed = "interpolation", "interpolation", "None", False

    def errors(self, network: nn.Module, batch: Batch, draws: Draws) -> Tensor:
        latents = self._latents(batch.frames)
        noise = draws.normal(latents.shape[1:]).to(latents)
        keys = latents[:, :, :: self.phase.scale]
        if draws.training and self.phase.condition_noise:
            times = (draws.uniform() * (self.phase.condition_noise + 1)).long().to(latents.device)
            keys = Objective("epsilon", self.objective.kept).noised(keys, draws.normal(keys.shape[1:]).to(keys), times)
        start = blend_keys(keys, self.phase.scale) if self.phase.start == "plain" else noise
        timesteps = draws.timesteps.to(latents.device)
        seen = torch.cat([self.objective.noised(latents, start, timesteps), shown_keys(keys, self.phase)], dim=1)
        answer = network(seen, timesteps, self._text(batch.captions, draws))
        return self._denoising_errors(answer, latents, start, draws)


def shown_keys(keys: Tensor, phase: Phase) -> Tensor:
    """Key latents (B, C, K, h, w) as an `interpolate` phase shows them beside every frame."""
    return both_keys(keys, phase.scale) if phase.keys == "both" else repeat_keys(keys, phase.scale)


class Upscale(Task):
    """Noised latents of large frames beside the small ones, themselves noised to a level the network is told (LaVie, section 3.4)."""

    component, stage, null_caption = "vsr", "vsr", "None"

    def errors(self, network: nn.Module, batch: Batch, draws: Draws) -> Tensor:
        large = pixels(batch.frames)
        latents = self.encoders.latents.encode(large)
        low = degrade(large, self.phase, draws)
        levels = self._levels(draws).to(large.device)
        noised_low = noise_low_resolution(low, draws.normal(low.shape[1:]).to(low), levels)
        noise = draws.normal(latents.shape[1:]).to(latents)
        start = self.plain(noised_low, *large.shape[-2:]) if self.phase.start == "plain" else noise
        timesteps = draws.timesteps.to(latents.device)
        answer = network(
            self.objective.noised(latents, start, timesteps),
            timesteps,
            self._text(batch.captions, draws),
            low_res=resize_clip(noised_low, *latents.shape[-2:]),
            class_labels=levels,
        )
        return self._denoising_errors(answer, latents, start, draws)

    def plain(self, low: Tensor, height: int, width: int) -> Tensor:
        """Latents of the small pictures enlarged by bicubic interpolation."""
        return self.encoders.latents.encode(resize_clip(low, height, width).clamp(-1, 1))

    def _levels(self, draws: Draws) -> Tensor:
        """(B,) noise levels; a held-out loss has half the largest."""
        if not draws.training:
            return torch.full((len(draws.generators),), self.phase.noise_level // 2)
        return (draws.uniform() * (self.phase.noise_level + 1)).long()


TASKS: dict[str, type[Task]] = {"autoencode": Autoencode, "text_to_video": TextToVideo, "interpolate": Interpolate, "upscale": Upscale}
"""What a phase's `task` may be. A new one is a class above and a line here."""
