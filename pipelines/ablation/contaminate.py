"""Contaminate: known harms done to clips on purpose, so that an ablation can show that it would see them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARK_BOX = (0.52, 0.68, 0.98, 0.96)
"""Where the watermark is laid, as shares of the frame: left, top, right, bottom. The loss in this region is what it moves."""
MARK_TEXT = "SAMPLE"
MARK_OPACITY = 0.75
DONOR_SHARE = 0.05
"""Harm by duplication: the harmed clips become copies of this share of the clips."""

Frames = np.ndarray
"""uint8, shape (frames, height, width, 3), RGB."""


def watermark(frames: Frames) -> Frames:
    """A pale bar with text laid over one corner of every frame."""
    _, height, width, _ = frames.shape
    box = tuple(round(share * size) for share, size in zip(MARK_BOX, (width, height, width, height)))
    mark, opacity = _mark(box[2] - box[0], box[3] - box[1])
    marked = frames.copy()
    under = marked[:, box[1] : box[3], box[0] : box[2]].astype(np.float32)
    marked[:, box[1] : box[3], box[0] : box[2]] = np.round(under * (1 - opacity) + mark * opacity).astype(np.uint8)
    return marked


def _mark(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The mark's colours and opacity, shapes (height, width, 3) and (height, width, 1), drawn large and shrunk."""
    large = Image.new("L", (width * 4, height * 4), 235)
    drawing = ImageDraw.Draw(large)
    font = ImageFont.load_default(size=max(8, round(height * 2.2)))
    drawing.text((width * 2, height * 2), MARK_TEXT, fill=40, font=font, anchor="mm")
    grey = np.asarray(large.resize((width, height), Image.Resampling.BOX), dtype=np.float32)
    return np.repeat(grey[..., None], 3, axis=2), np.full((height, width, 1), MARK_OPACITY, dtype=np.float32)


def frozen(frames: Frames) -> Frames:
    """The middle frame, for as long as the clip lasted."""
    return np.repeat(frames[len(frames) // 2][None], len(frames), axis=0)


def low_resolution(frames: Frames) -> Frames:
    """An eighth of the size and back, as if enlarged from a thumbnail: a quarter of the size at which controls train."""
    _, height, width, _ = frames.shape
    small = (max(1, width // 8), max(1, height // 8))
    pictures = [Image.fromarray(frame).resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BILINEAR) for frame in frames]
    return np.stack([np.asarray(picture) for picture in pictures])


HARMS_TO_PICTURES: dict[str, Callable[[Frames], Frames]] = {"watermark": watermark, "frozen": frozen, "low_resolution": low_resolution}


def wrong_captions(captions: Mapping[str, str]) -> dict[str, str]:
    """For each clip the caption of another whose caption differs; a clip that is like all others keeps its own."""
    ranked = sorted(captions, key=lambda key: rank(key, 0))
    wrong = {}
    for place, key in enumerate(ranked):
        others = (captions[ranked[(place + step) % len(ranked)]] for step in range(1, len(ranked)))
        wrong[key] = next((caption for caption in others if caption != captions[key]), captions[key])
    return wrong


def duplicates_of(keys: Sequence[str], seed: int) -> dict[str, str]:
    """For each clip one of a few donors, whose copy it becomes where it is harmed.

    The donors are the last by `rank`, which every dose below all leaves unharmed.
    """
    ranked = sorted(keys, key=lambda key: rank(key, seed))
    donors = ranked[-max(1, round(len(ranked) * DONOR_SHARE)) :]
    return {key: donors[place % len(donors)] for place, key in enumerate(ranked)}


def rank(key: str, seed: int) -> str:
    """A clip's place in an order drawn by `seed`: the same clip keeps its place whatever other clips there are."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def harmed_keys(keys: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Which clips are harmed at a dose. A smaller dose harms a subset of what a larger one does; another seed harms others."""
    ranked = sorted(keys, key=lambda key: rank(key, seed))
    return frozenset(ranked[: round(len(ranked) * share)])
