"""One stage of the cascade at work: what its network is asked, and what its answers become."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from schemas.run import Phase
from train.asked import Asked, Plain
from train.conditions import blend_keys, noise_low_resolution, resize_clip
from train.draws import generator
from train.encoders import LatentSpace, TextFeatures
from train.samplers import denoise, guided, in_chunks
from train.tasks import TASKS, shown_keys

LOW_RESOLUTION_NOISE = 50  # LaVie's noise level when it samples


@dataclass(frozen=True)
class StageSampling:
    """A stage and what it works with.

    Attributes:
        name: base, interpolation or vsr.
        network: its VideoUNet.
        phase: that trained it.
        space: the latent space it works in.
        text: the encoder of captions.
    """

    name: str
    network: Any
    phase: Phase
    space: LatentSpace
    text: TextFeatures

    def generate(self, asked: Asked, device: torch.device, first_frame: Tensor | None = None) -> Tensor:
        """Latents (1, C, F, h, w) of a clip, from noise; it begins with the latents (1, C, 1, h, w) of a frame where one is given."""
        shrink = self.space.downscale
        noise = asked.noise(self.name, (self.space.channels, self.phase.frames, self.phase.height // shrink, self.phase.width // shrink)).to(device)
        return self._sample(noise, asked, lambda noised, time, text: self.network(noised, time, text), first_frame=first_frame)

    def interpolate(self, clip: Tensor, asked: Asked, keys: Tensor | None = None) -> Tensor:
        """All frames (1, 3, F, H, W), from the key frames, and their latents where they are known."""
        keys = self.space.encode(clip) if keys is None else keys
        condition = shown_keys(keys, self.phase)
        noise = asked.noise(self.name, (self.space.channels, *condition.shape[2:])).to(keys)

        def answer(noised: Tensor, time: Tensor, text: Tensor) -> Tensor:
            return self.network(torch.cat([noised, condition.expand(len(noised), -1, -1, -1, -1)], dim=1), time, text)

        plain = Plain(blend_keys(clip, self.phase.scale), blend_keys(keys, self.phase.scale)) if self.phase.start == "plain" else None
        return self._decoded(self._sample(noise, asked, answer, plain), plain)

    def upscale(self, low: Tensor, asked: Asked, noise_level: int | None = None, add_noise: bool = True) -> Tensor:
        """Larger frames (1, 3, F, scale·H, scale·W), in overlapping spans of as many frames as the phase was trained with."""
        phase, space = self.phase, self.space
        height, width = low.shape[-2] * phase.scale, low.shape[-1] * phase.scale
        level = torch.tensor([min(LOW_RESOLUTION_NOISE, phase.noise_level) if noise_level is None else noise_level], device=low.device)
        noised_low = noise_low_resolution(low, asked.noise("low resolution", low.shape[1:]).to(low), level) if add_noise else low
        large = resize_clip(noised_low, height, width).clamp(-1, 1)
        plain = Plain(large, space.encode(large)) if phase.start == "plain" else None
        seen = resize_clip(noised_low, height // space.downscale, width // space.downscale)
        noise = asked.noise(self.name, (space.channels, *seen.shape[2:])).to(low)

        def answer(noised: Tensor, time: Tensor, text: Tensor, span: slice) -> Tensor:
            both = len(noised)
            return self.network(noised, time, text, low_res=seen[:, :, span].expand(both, -1, -1, -1, -1), class_labels=level.expand(both))

        def chunked(noised: Tensor, time: Tensor, text: Tensor) -> Tensor:
            return in_chunks(lambda part, at, span: answer(part, at, text, span), noised.shape[2], phase.frames, phase.frames // 4)(noised, time)

        return self._decoded(self._sample(noise, asked, chunked, plain), plain)

    def _decoded(self, latents: Tensor, plain: Plain | None) -> Tensor:
        """The clip of some latents; where a plain answer was improved on, that answer and what the latents add to it, so that detail
        which the latent space cannot hold is kept."""
        if plain is None:
            return self.space.decode(latents)
        return (plain.clip + self.space.decode(latents) - self.space.decode(plain.latents)).clamp(-1, 1)

    def _sample(
        self, noise: Tensor, asked: Asked, answer: Callable[[Tensor, Tensor, Tensor], Tensor], plain: Plain | None = None, first_frame: Tensor | None = None
    ) -> Tensor:
        """Latents under guidance, from noise or from the plain answer."""
        scale, steps = asked.guidance_of(self.name), asked.steps_of(self.name)
        null = TASKS[self.phase.task].null_caption if asked.negative_prompt is None else asked.negative_prompt
        text = self.text.encode([asked.prompt] if scale == 1 else [asked.prompt, null]).to(noise.device)

        def network(noised: Tensor, time: Tensor) -> Tensor:
            if scale == 1:
                return answer(noised, time, text)
            conditional, unconditional = answer(noised.expand(2, -1, -1, -1, -1), time, text).chunk(2)
            return guided(conditional, unconditional, scale, asked.guidance_rescale)

        sampler = asked.sampler_of(self.phase)
        chance = generator(asked.seed, "sampler", self.name)
        start = noise if plain is None else plain.latents
        return denoise(network, start, self.phase, sampler, steps, chance, first_frame, lambda done: asked.listener(f"sample {self.name}", done, steps))
