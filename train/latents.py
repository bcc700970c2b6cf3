"""Latents and text features made once and kept beside the shards, so that no later epoch, phase or run decodes or encodes them again.

SHARDS/latents/DIGEST/CLIP-DIGEST.npz holds every frame of a clip, its middle part cut out, as float32 latents, and its caption's features.
The first digest is of the encoders and the size, the second of the clip's media and caption: what changes either makes a new file. Files are
named for their clips and lie below the shards, where a takedown looks for them.
"""

import hashlib
import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schemas.document import DocumentError
from schemas.run import Phase
from schemas.sample import Sample
from train.encoders import Encoders
from train.frames import UnreadableClip, Window, cut_window, decode_frames
from train.shards import Entry, Shards

FOLDER = "latents"
Shown = tuple[float, float, float, float]


class LatentCache:
    """The latents and text features of a phase's clips.

    Args:
        encoders: what they are made with; only `fill` computes with them.

    Raises:
        DocumentError: the phase cuts out random parts of pictures, which cannot be kept, or the shards are no folder.
    """

    def __init__(self, shards: Shards, phase: Phase, encoders: Encoders) -> None:
        if phase.crop != "centre":
            raise DocumentError(f"{phase.task}: cached latents show the middle of every clip; set crop = 'centre', or cache = false in the run")
        if not shards.is_folder:
            raise DocumentError(f"cache = true keeps latents beside the shards, in their folder, and {shards.url!r} names single tars; name the folder")
        self.shards, self.phase, self.encoders = shards, phase, encoders
        self.folder = f"{shards.folder}/{FOLDER}/{_digest_of(phase, encoders)}"

    def fill(self, entries: Iterable[Entry], listener: Callable[[int], None] = lambda done: None) -> int:
        """Encode what is not there yet; how many clips that was. What does not decode is left out, to be found so by who reads it."""
        self.shards.filesystem.makedirs(self.folder, exist_ok=True)
        there = {path.rsplit("/", 1)[-1] for path in self.shards.filesystem.ls(self.folder, detail=False, refresh=True)}
        made = 0
        for done, entry in enumerate(entries, start=1):
            sample = self.shards.read(entry)
            if _name(sample) not in there:
                try:
                    self._write(sample)
                    made += 1
                except UnreadableClip:
                    pass
            listener(done)
        return made

    def read(self, entry: Entry) -> tuple[np.ndarray, str, Tensor, Shown]:
        """A clip's latents (N, C, h, w), its caption, the caption's features (L, D), and the part of the picture they show.

        Raises:
            UnreadableClip: the clip could not be encoded.
        """
        sample = self.shards.read(entry)
        path = f"{self.folder}/{_name(sample)}"
        if not self.shards.filesystem.exists(path):
            raise UnreadableClip(f"clip {entry.key} has no cached latents: it did not decode when they were made")
        with np.load(io.BytesIO(self.shards.filesystem.cat_file(path))) as held:
            return held["latents"], sample.caption, torch.from_numpy(held["text"]), tuple(held["shown"].tolist())

    def _write(self, sample: Sample) -> None:
        width, height = self.phase.width, self.phase.height
        pictures = decode_frames(sample, width, height)
        frames, shown = cut_window(pictures, Window(), len(pictures), width, height)
        clip = frames[None].transpose(1, 2).float() / 127.5 - 1
        latents = self.encoders.latents.encode(clip.to(self.encoders.text.device))[0].transpose(0, 1)
        text = self.encoders.text.encode([sample.caption])[0]
        file = io.BytesIO()
        np.savez(file, latents=latents.cpu().numpy(), text=text.cpu().numpy(), shown=np.array(shown))
        path = f"{self.folder}/{_name(sample)}"
        # Under its name only when whole; the name before begins with the clip too, so that a takedown finds what a crash has left.
        partial = f"{path}.partial"
        self.shards.filesystem.pipe_file(partial, file.getvalue())
        self.shards.filesystem.mv(partial, path)


def _name(sample: Sample) -> str:
    digest = hashlib.blake2b(sample.video or sample.image or b"", digest_size=8)
    digest.update(sample.caption.encode())
    return f"{sample.key}-{digest.hexdigest()}.npz"


def _digest_of(phase: Phase, encoders: Encoders) -> str:
    """Of the encoders' kinds, settings and weights, and of the size of pictures."""
    digest = hashlib.blake2b(f"{phase.width}x{phase.height}".encode(), digest_size=8)
    for network in (encoders.latents.autoencoder, encoders.text.network):
        digest.update(f"{type(network).__name__}".encode())
        for name, tensor in sorted(_frozen(network)):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _frozen(network: Any) -> list[tuple[str, Tensor]]:
    """What the latents or features depend on: all weights, but of our own autoencoders only the fixed patterns, since their decoders learn."""
    if isinstance(getattr(network, "analysis", None), Tensor):
        return [("analysis", network.analysis)]
    assert isinstance(network, nn.Module)
    return list(network.state_dict().items())
