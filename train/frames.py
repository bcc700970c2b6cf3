"""Frames of a sample: decoded, resized to cover the wanted size, and a window of them cut in time and space."""

import io
from collections import OrderedDict
from dataclasses import dataclass

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from schemas.sample import Sample


class UnreadableClip(RuntimeError):
    """A sample's media could not be decoded, or holds fewer frames than it says."""


@dataclass(frozen=True)
class Window:
    """Which frames of a clip and which part of them: time in frames, space in shares of the excess beyond the wanted shape.

    Attributes:
        start, stride: first frame, and step to the next.
        left, top: 0 to 1, where in the excess the crop lies; 0.5 is the centre.
    """

    start: int = 0
    stride: int = 1
    left: float = 0.5
    top: float = 0.5


def draw_window(available: int, frames: int, stride: tuple[int, int], random_crop: bool, chance: torch.Generator | None) -> Window:
    """A window of `frames` among `available`; without chance, the middle one at the smallest stride."""
    longest = (available - 1) // (frames - 1) if frames > 1 else stride[1]
    if chance is None:
        step = max(1, min(stride[0], longest))
        return Window(start=(available - (frames - 1) * step - 1) // 2, stride=step)
    shares = torch.rand(4, generator=chance, dtype=torch.float64).tolist()
    low, high = min(stride[0], longest), min(stride[1], longest)
    step = low + int(shares[0] * (high - low + 1))
    start = int(shares[1] * (available - (frames - 1) * step))
    return Window(start, step, shares[2], shares[3]) if random_crop else Window(start, step)


def covering_size(width: int, height: int, wanted_width: int, wanted_height: int) -> tuple[int, int]:
    """Width and height of the smallest picture of the same shape that covers the wanted size."""
    scale = max(wanted_width / width, wanted_height / height)
    return max(wanted_width, round(width * scale)), max(wanted_height, round(height * scale))


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, 3) at another size: averaged when it shrinks, cubic when it grows."""
    if picture.shape[:2] == (height, width):
        return picture
    way = cv2.INTER_AREA if picture.shape[0] >= height and picture.shape[1] >= width else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, height), interpolation=way)


def decode_frames(sample: Sample, width: int, height: int) -> np.ndarray:
    """All frames of a sample, uint8 (N, h, w, 3), at the size that covers width x height.

    A clip that was copied in whole groups of pictures lies between the `in_frame` and `out_frame` that its facts tell.

    Raises:
        UnreadableClip: it does not decode.
    """
    pictures: list[np.ndarray] = []
    try:
        if sample.image is not None and sample.video is None:
            raw = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR_RGB)
            pictures = [] if raw is None else [resized(raw, *covering_size(raw.shape[1], raw.shape[0], width, height))]
        elif sample.video is not None:
            with av.open(io.BytesIO(sample.video), mode="r", format="mp4") as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                for frame in container.decode(stream):
                    size = covering_size(frame.width, frame.height, width, height)
                    pictures.append(resized(frame.to_ndarray(format="rgb24"), *size))
    except (av.FFmpegError, cv2.error, IndexError) as error:
        raise UnreadableClip(f"clip {sample.key} does not decode: {error}") from error
    told = sample.facts.get("encoded") or {}
    pictures = pictures[told.get("in_frame", 0) : told.get("out_frame")]
    if not pictures:
        raise UnreadableClip(f"clip {sample.key} has no picture in it")
    return np.stack(pictures)


def cut_window(pictures: np.ndarray, window: Window, frames: int, width: int, height: int) -> tuple[Tensor, tuple[float, float, float, float]]:
    """The window's frames, uint8 (F, 3, H, W), and the part of the picture they show: left, top, right, bottom as shares of it."""
    total_height, total_width = pictures.shape[1:3]
    left, top = round(window.left * (total_width - width)), round(window.top * (total_height - height))
    chosen = pictures[window.start : window.start + (frames - 1) * window.stride + 1 : window.stride, top : top + height, left : left + width]
    shown = (left / total_width, top / total_height, (left + width) / total_width, (top + height) / total_height)
    return torch.from_numpy(np.ascontiguousarray(chosen)).permute(0, 3, 1, 2).contiguous(), shown


class FrameCache:
    """The most recently used decoded clips, up to a number of bytes: a small corpus is decoded once, a large one streams through."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.held_bytes = most_bytes, 0
        self._held: OrderedDict[str, tuple[np.ndarray, str]] = OrderedDict()

    def get(self, key: str) -> tuple[np.ndarray, str] | None:
        """Pictures and caption of a clip, if they are still held."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: str, pictures: np.ndarray, caption: str) -> None:
        """Keep a clip, forgetting the longest unused ones beyond the bound."""
        self._held[key] = pictures, caption
        self.held_bytes += pictures.nbytes
        while self.held_bytes > self.most_bytes:
            _, (forgotten, _) = self._held.popitem(last=False)
            self.held_bytes -= forgotten.nbytes
