"""Clips as arrays, as tensors and as files: uint8 (F, H, W, 3), float (1, 3, F, H, W) in [-1, 1], and H.264."""

from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor


def to_frames(clip: Tensor) -> np.ndarray:
    """(1, 3, F, H, W) in [-1, 1] to uint8 (F, H, W, 3)."""
    return ((clip[0].float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 3, 0).cpu().numpy()


def to_clip(frames: np.ndarray) -> Tensor:
    """uint8 (F, H, W, 3) to (1, 3, F, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def write_mp4(frames: np.ndarray, path: Path | str, fps: float) -> None:
    """Write frames uint8 (F, H, W, 3) as H.264, whole or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    height, width = (size - size % 2 for size in frames.shape[1:3])
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(fps))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.options = {"crf": "16", "threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")))
        container.mux(stream.encode())
    partial.replace(path)
