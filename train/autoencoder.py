"""The embedded latent space: a fixed frequency transform of 4x4 patches, and a small network that puts back what it leaves out.

The encoder is fixed (the block cosine transform in opponent colours, which is close to the principal components of natural
pictures: Ahmed et al. 1974), so the latent space is the same for every corpus and losses of models trained on different
corpora can be compared. Only the decoder learns, in the phase `autoencode`, starting from the exact inverse transform.
"""

import math

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderTiny
from torch import Tensor, nn

Channels = tuple[tuple[tuple[int, int, int], float], ...]
PATCH = 4
# (colour, vertical frequency, horizontal frequency) and typical spread over natural pictures of a few hundred pixels and less.
CHANNELS: Channels = (
    ((0, 0, 0), 2.0),
    ((1, 0, 0), 0.9),
    ((2, 0, 0), 0.65),
    ((0, 0, 1), 0.5),
    ((0, 1, 0), 0.5),
    ((0, 1, 1), 0.25),
    ((0, 0, 2), 0.2),
    ((0, 2, 0), 0.2),
)
_EXACT_SPREADS = ((1.2, 0.15, 0.15, 0.1), (0.5, 0.06, 0.06, 0.04), (0.35, 0.06, 0.06, 0.04))  # by colour: flat, across, down, both
EXACT_CHANNELS: Channels = tuple(((colour, *divmod(wave, 2)), spread) for colour, row in enumerate(_EXACT_SPREADS) for wave, spread in enumerate(row))


class ExactPatches(ModelMixin, ConfigMixin):
    """The latent space that loses nothing: 2x2 patches in the same transform, all 12 patterns, each of about unit variance.

    For stages that improve on a plain answer: what they add is sharper than the embedded space can hold, and by far the smaller part of a
    picture, so a network finds it only where fine patterns are as loud as coarse ones.
    """

    downscale, latent_channels = 2, len(EXACT_CHANNELS)

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        patterns, spread = _basis(self.downscale, EXACT_CHANNELS), _spread(EXACT_CHANNELS)
        self.register_buffer("analysis", patterns / spread, persistent=False)
        self.register_buffer("synthesis", patterns * spread, persistent=False)

    def encode(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to (N, 12, H/2, W/2)."""
        return F.conv2d(pictures, self.analysis, stride=self.downscale)

    def decode(self, latents: Tensor) -> Tensor:
        """(N, 12, h, w) to (N, 3, 2h, 2w), not clipped."""
        return F.conv_transpose2d(latents, self.synthesis, stride=self.downscale)


def _basis(patch: int, channels: Channels) -> Tensor:
    """(C, 3, patch, patch): orthonormal patterns of a patch, one for each latent channel."""
    place = torch.arange(patch) + 0.5
    waves = torch.stack([torch.cos(math.pi * frequency * place / patch) for frequency in range(patch)])
    waves = waves / waves.norm(dim=1, keepdim=True)
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    return torch.stack([torch.einsum("c,y,x->cyx", colours[c], waves[y], waves[x]) for (c, y, x), _ in channels])


def _spread(channels: Channels) -> Tensor:
    """(C, 1, 1, 1): the typical spread of each latent channel."""
    return torch.tensor([spread for _, spread in channels]).view(-1, 1, 1, 1)


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Pictures in [-1, 1] to latents of 8 channels at a quarter of the size, each of about unit variance, and back.

    Args:
        decoder_channels, decoder_blocks: size of the refining network (diffusers' TAESD decoder at patch resolution).
    """

    downscale = PATCH

    @register_to_config
    def __init__(self, decoder_channels: int = 64, decoder_blocks: int = 2) -> None:
        super().__init__()
        self.latent_channels = len(CHANNELS)
        patterns, spread = _basis(PATCH, CHANNELS), _spread(CHANNELS)
        self.register_buffer("analysis", patterns / spread, persistent=False)
        self.register_buffer("synthesis", patterns * spread, persistent=False)
        self.refine = DecoderTiny(
            in_channels=self.latent_channels,
            out_channels=3 * PATCH**2,
            num_blocks=(decoder_blocks,),
            block_out_channels=(decoder_channels,),
            upsampling_scaling_factor=1,
            act_fn="relu",
            upsample_fn="nearest",
        )
        for parameter in self.refine.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def encode(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to (N, 8, H/4, W/4)."""
        return F.conv2d(pictures, self.analysis, stride=PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """(N, 8, h, w) to (N, 3, 4h, 4w), not clipped."""
        # DecoderTiny answers in [-1, 1] for a zero output at -1; the correction is centred on nothing.
        correction = (self.refine(latents) + 1) / 2
        return F.conv_transpose2d(latents, self.synthesis, stride=PATCH) + F.pixel_shuffle(correction, PATCH)

    def forward(self, pictures: Tensor) -> Tensor:
        """The reconstruction, (N, 3, H, W): what the phase `autoencode` trains."""
        return self.decode(self.encode(pictures))
