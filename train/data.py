"""Batches of clips from shards, as a pure function of seed, phase and step: deterministic, resumable at any step, dividable among workers."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from schemas.document import DocumentError
from schemas.run import Phase
from train.draws import generator
from train.frames import FrameCache, UnreadableClip, Window, cut_window, decode_frames, draw_window
from train.latents import LatentCache
from train.shards import Entry, Shards

CACHE_BYTES = 2**29
LOG = logging.getLogger(__name__)
# Frames uint8 (F, 3, H, W), the caption, and the part of the picture that is shown: left, top, right, bottom as shares.
Shown = tuple[Tensor, str, tuple[float, float, float, float]]


@dataclass(frozen=True)
class Batch:
    """Clips of one shape.

    Attributes:
        keys: B clip ids.
        frames: uint8 (B, F, 3, H, W); or, from a cache, their latents, float (B, F, C, h, w).
        captions: B texts.
        shown: the part of each clip's picture that was cut out: left, top, right, bottom as shares.
        images: uint8 (B, M, 3, H, W) joined stills; M may be 0.
        image_captions: B tuples of M texts.
        features: of captions, (L, D), where they come from a cache.
    """

    keys: tuple[str, ...]
    frames: Tensor
    captions: tuple[str, ...]
    shown: tuple[tuple[float, float, float, float], ...]
    images: Tensor
    image_captions: tuple[tuple[str, ...], ...]
    features: Mapping[str, Tensor] = field(default_factory=dict)

    def part(self, start: int, stop: int) -> "Batch":
        """Some of the clips."""
        cut = slice(start, stop)
        return Batch(self.keys[cut], self.frames[cut], self.captions[cut], self.shown[cut], self.images[cut], self.image_captions[cut])

    def with_captions(self, captions: Sequence[str]) -> "Batch":
        """The same clips under other captions."""
        return replace(self, captions=tuple(captions))

    def to(self, device: torch.device) -> "Batch":
        return replace(self, frames=self.frames.to(device, non_blocking=True), images=self.images.to(device, non_blocking=True))


def pixels(frames: Tensor) -> Tensor:
    """uint8 (B, F, 3, H, W) to float (B, 3, F, H, W) in [-1, 1]."""
    return frames.transpose(1, 2).float() / 127.5 - 1


class ClipReader:
    """Clips of a phase's shape.

    Attributes:
        clips: the videos long enough for the phase; images too where one frame is enough.
        too_short: how many are not.
    """

    def __init__(self, shards: Shards, phase: Phase, cache_bytes: int = CACHE_BYTES, latents: LatentCache | None = None) -> None:
        self.shards, self.phase, self.latents = shards, phase, latents
        self.features: dict[str, Tensor] = {}
        candidates = shards.entries if phase.frames == 1 else shards.videos
        self.clips = tuple(entry for entry in candidates if entry.is_image or entry.frames == 0 or entry.frames >= phase.frames)
        self.too_short = len(candidates) - len(self.clips)
        self.stills = shards.images or self.clips
        if not self.clips:
            longest = max((entry.frames for entry in candidates), default=0)
            raise DocumentError(f"{phase.task}: no clip in {shards.url} has {phase.frames} frames (the longest has {longest}); lower `frames`")
        self._cache = FrameCache(cache_bytes)
        self._shown: dict[str, tuple[float, float, float, float]] = {}

    def clip(self, entry: Entry, chance: torch.Generator | None) -> Shown:
        """A window of a clip; without chance its middle."""
        pictures, caption = self._pictures(entry)
        phase = self.phase
        if len(pictures) < phase.frames:
            raise UnreadableClip(f"clip {entry.key} has {len(pictures)} frames that decode, of {phase.frames} wanted")
        window = draw_window(len(pictures), phase.frames, phase.stride, phase.crop == "random", chance)
        frames, shown = self._cut(pictures, window, phase.frames)
        return frames, caption, self._shown.get(entry.key, shown)

    def still(self, entry: Entry, chance: torch.Generator) -> tuple[Tensor, str]:
        """One picture, uint8 (3, H, W), and its caption."""
        pictures, caption = self._pictures(entry)
        shares = torch.rand(3, generator=chance, dtype=torch.float64).tolist()
        first = int(shares[0] * len(pictures))
        window = Window(first, 1, *shares[1:]) if self.phase.crop == "random" else Window(first)
        return self._cut(pictures, window, 1)[0][0], caption

    def _cut(self, pictures: np.ndarray, window: Window, frames: int) -> tuple[Tensor, tuple[float, float, float, float]]:
        if self.latents is None:
            return cut_window(pictures, window, frames, self.phase.width, self.phase.height)
        chosen = pictures[window.start : window.start + (frames - 1) * window.stride + 1 : window.stride]
        return torch.from_numpy(np.ascontiguousarray(chosen)), (0.0, 0.0, 1.0, 1.0)

    def _pictures(self, entry: Entry) -> tuple[np.ndarray, str]:
        found = self._cache.get(entry.key)
        if found is None and self.latents is not None:
            latents, caption, self.features[caption], self._shown[entry.key] = self.latents.read(entry)
            found = latents, caption
            self._cache.put(entry.key, *found)
        if found is None:
            sample = self.shards.read(entry)
            found = decode_frames(sample, self.phase.width, self.phase.height), sample.caption
            self._cache.put(entry.key, *found)
        return found


class TrainingBatches(Dataset[Batch]):
    """The batch of each step, or a worker's `places` of it.

    Every epoch is a new permutation of all clips; a batch takes the next ones, over the end of an epoch if need be.
    """

    def __init__(self, reader: ClipReader, seed: int, places: range) -> None:
        self.reader, self.seed, self.places = reader, seed, places
        self._orders: dict[tuple[str, int], list[int]] = {}

    def __len__(self) -> int:
        return self.reader.phase.steps

    def __getitem__(self, step: int) -> Batch:
        phase = self.reader.phase
        drawn = []
        for place in self.places:
            chance = generator(self.seed, phase.task, "window", step, place)
            drawn.append(self._draw(step * phase.batch + place, chance))
        batch = gather(drawn)
        captions = {*batch.captions, *(caption for captions in batch.image_captions for caption in captions)}
        return replace(batch, features={caption: self.reader.features[caption] for caption in captions if caption in self.reader.features})

    def _draw(self, position: int, chance: torch.Generator) -> "Drawn":
        phase, reader = self.reader.phase, self.reader
        entry, (frames, caption, shown) = self._readable(position, chance)
        chosen = [reader.stills[self._at("stills", position * phase.images + number, len(reader.stills))] for number in range(phase.images)]
        stills = [reader.still(still, chance) for still in chosen]
        images = torch.stack([picture for picture, _ in stills]) if stills else frames[:0]
        return Drawn(entry.key, frames, caption, shown, images, tuple(text for _, text in stills))

    def _readable(self, position: int, chance: torch.Generator) -> tuple[Entry, Shown]:
        """The clip at a position; where it does not decode the next that does, always the same one, and a warning."""
        count = len(self.reader.clips)
        for further in range(count):
            entry = self.reader.clips[self._at("clips", position + further, count)]
            try:
                return entry, self.reader.clip(entry, chance)
            except UnreadableClip as error:
                LOG.warning("%s; the next clip takes its place", error)
        raise DocumentError(f"{self.reader.shards.url}: none of its {count} clips decodes; pack them again")

    def _at(self, kind: str, position: int, count: int) -> int:
        """Which of `count` comes at a position of the endless sequence of epochs."""
        epoch, place = divmod(position, count)
        if (kind, epoch) not in self._orders:
            self._orders = {known: order for known, order in self._orders.items() if known[1] >= epoch - 1}
            self._orders[kind, epoch] = torch.randperm(count, generator=generator(self.seed, self.reader.phase.task, kind, epoch)).tolist()
        return self._orders[kind, epoch][place]


@dataclass(frozen=True)
class Drawn:
    """One clip of a batch, with its joined stills."""

    key: str
    frames: Tensor
    caption: str
    shown: tuple[float, float, float, float]
    images: Tensor
    image_captions: tuple[str, ...]


def gather(drawn: Sequence[Drawn]) -> Batch:
    """Clips of one shape as a batch."""
    return Batch(
        tuple(one.key for one in drawn),
        torch.stack([one.frames for one in drawn]),
        tuple(one.caption for one in drawn),
        tuple(one.shown for one in drawn),
        torch.stack([one.images for one in drawn]),
        tuple(one.image_captions for one in drawn),
    )


def training_batches(reader: ClipReader, seed: int, places: range, start: int, workers: int) -> Iterator[Batch]:
    """The batches from a step on, decoded here or ahead in other processes; they are the same."""
    batches = TrainingBatches(reader, seed, places)
    steps = range(start, reader.phase.steps)
    if workers == 0:
        return (batches[step] for step in steps)
    return iter(DataLoader(batches, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=4))


def held_out_batches(reader: ClipReader, batch: int) -> Iterator[Batch]:
    """Every clip once, in order, its middle; the last batch may be smaller."""
    for start in range(0, len(reader.clips), batch):
        drawn = []
        for entry in reader.clips[start : start + batch]:
            frames, caption, shown = reader.clip(entry, None)
            drawn.append(Drawn(entry.key, frames, caption, shown, frames[:0], ()))
        yield gather(drawn)
