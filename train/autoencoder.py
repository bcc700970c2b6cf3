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

PATCH = 4
# (colour, vertical frequency, horizontal frequency) and typical spread over natural pictures of a few hundred pixels and less.
CHANNELS = (
    ((0, 0, 0), 2.0),
    ((1, 0, 0), 0.9),
    ((2, 0, 0), 0.65),
    ((0, 0, 1), 0.5),
    ((0, 1, 0), 0.5),
    ((0, 1, 1), 0.25),
    ((0, 0, 2), 0.2),
    ((0, 2, 0), 0.2),
)


def _basis() -> Tensor:
    """(8, 3, 4, 4): orthonormal patterns of a patch, one for each latent channel."""
    place = torch.arange(PATCH) + 0.5
    waves = torch.stack([torch.cos(math.pi * frequency * place / PATCH) for frequency in range(PATCH)])
    waves = waves / waves.norm(dim=1, keepdim=True)
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    return torch.stack([torch.einsum("c,y,x->cyx", colours[c], waves[y], waves[x]) for (c, y, x), _ in CHANNELS])


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
        spread = torch.tensor([spread for _, spread in CHANNELS]).view(-1, 1, 1, 1)
        self.register_buffer("analysis", _basis() / spread, persistent=False)
        self.register_buffer("synthesis", _basis() * spread, persistent=False)
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
