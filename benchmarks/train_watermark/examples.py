"""One training example from one seed: a scene, bars, captions and a mark, through x264, reduced to what a corpus keeps of a clip."""

import io
from dataclasses import dataclass

import av
import cv2
import numpy as np
from marks import KINDS, Overlay, draw_captions, draw_mark
from materials import Materials
from scenes import SIZES, draw_scene

from curate.observers.overlay_maps import CELL, planes_from
from curate.scorers.watermark_features import PICTURES, canvas_of

VISIBLE = 6.0
"""A mark whose pixels change by less than this on average (grey levels) is drawn stronger: nobody could label it."""


@dataclass(frozen=True)
class Example:
    """What the network sees, and what it should say.

    Attributes:
        planes, pictures, valid: as in `Canvas`.
        mark, caption: where a mark that stays and a caption lie, share of each cell 0-255, uint8 (R, C).
        moving: the same of a moving mark in each picture, uint8 (4, R/2, C/2).
        kind: of the mark, `none` without one; static: whether the camera stands still; captioned; box: of a mark that stays, 0-1.
        strength: how much the mark changes the pixels it covers, grey levels; area: the share of the frame it covers.
    """

    planes: np.ndarray
    pictures: np.ndarray
    valid: np.ndarray
    mark: np.ndarray
    caption: np.ndarray
    moving: np.ndarray
    kind: str
    static: bool
    captioned: bool
    box: tuple[float, float, float, float] | None
    strength: float
    area: float


def example(seed: int, stock: Materials, kind: str | None = None) -> Example:
    """The example of a seed. A `kind` (of KINDS, or `none`) asks for that mark; otherwise 56 % have one.

    Seeds 2n and 2n + 1 look at the same scene, so that a scene is seen with a mark and without, or with another.
    """
    scenery = np.random.default_rng([20261125, seed // 2])
    shapes = list(SIZES)
    size = shapes[scenery.choice(len(shapes), p=list(SIZES.values()))]
    count = 16 if scenery.random() < 0.6 else int(scenery.integers(4, 16))
    scene = draw_scene(scenery, stock, size, count)
    rng = np.random.default_rng([20261125, seed // 2, seed % 2])
    frames = _barred(rng, scene.frames) if rng.random() < 0.18 else scene.frames
    captions = draw_captions(rng, stock, size, count) if rng.random() < 0.28 else None
    drawn = "none" if rng.random() >= 0.56 else str(rng.choice(list(KINDS), p=list(KINDS.values())))
    kind = drawn if kind is None else kind
    mark = None if kind == "none" else draw_mark(rng, stock, size, count, kind)
    under = frames if captions is None else laid(frames, captions)
    over, strength, area = under, 0.0, 0.0
    if mark is not None:
        mark = Overlay(np.minimum(mark.alpha * max(1.0, VISIBLE / max(visibility(under, mark), 0.5)), 1), mark.grey)
        over, strength = laid(under, mark), visibility(under, mark)
        area = float((mark.alpha[0] > 0.3 * mark.alpha.max()).mean())
    luma = _encoded(rng, np.clip(np.rint(over), 0, 255).astype(np.uint8))
    return _reduced(rng, luma, mark, captions, (kind, scene.static, strength, area))


def laid(frames: np.ndarray, overlay: Overlay) -> np.ndarray:
    """Frames with an overlay over them, (T, H, W)."""
    return frames + overlay.alpha * (overlay.grey - frames)


def visibility(frames: np.ndarray, overlay: Overlay) -> float:
    """The mean change of the pixels an overlay covers, grey levels."""
    alpha, grey = overlay.alpha[:1], overlay.grey[:1]
    covered = alpha > 0.3 * overlay.alpha.max()
    return float(np.abs(alpha * (grey - frames[:1]))[covered].mean()) if covered.any() else VISIBLE


def _barred(rng, frames):
    """Black bars above and below or at the sides, or the picture between blurred copies of itself."""
    height, width = frames.shape[1:]
    kind, share = rng.choice(["letterbox", "pillars", "blurred"]), rng.uniform(0.06, 0.17)
    inner = (width, round(height * (1 - 2 * share))) if kind == "letterbox" else (round(width * (1 - 2 * share)), height)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    barred = np.full_like(frames, rng.choice([0, 16]))
    for at, frame in enumerate(frames):
        if kind == "blurred":
            barred[at] = cv2.GaussianBlur(cv2.resize(frame, (width, height)), (0, 0), 14) * 0.9
        barred[at, top : top + inner[1], left : left + inner[0]] = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA)
    return barred


def _encoded(rng, luma):
    """Through x264 once or twice at CRF 17-33, sometimes at a smaller size, as luma of the same size again."""
    if rng.random() < 0.08:
        return luma
    height, width = luma.shape[1:]
    scale = float(rng.choice([1.0, rng.uniform(0.45, 0.95)], p=[0.75, 0.25]))
    small = (max(64, round(width * scale / 2) * 2), max(64, round(height * scale / 2) * 2))
    shown = luma if scale == 1 else np.stack([cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in luma])
    for _ in range(1 + (rng.random() < 0.2)):
        shown = x264(shown, int(rng.integers(17, 34)))
    return shown if scale == 1 else np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in shown])


def x264(luma: np.ndarray, crf: int) -> np.ndarray:
    """Frames uint8 (T, H, W) after grey x264 at a rate factor, one thread."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = luma.shape[1], luma.shape[2], "gray"
        for frame in luma:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode())
    with av.open(io.BytesIO(buffer.getvalue())) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


def _reduced(rng, luma, mark, captions, facts):
    """What the corpus keeps: nine maps, and four JPEG proxies, with the truth on the same grids."""
    (kind, static, strength, area), (count, height, width) = facts, luma.shape
    long_side = int(rng.choice([384, 384, 320, 256, 512]))
    quality = int(rng.integers(75, 96))
    shown = sorted(int(at) for at in rng.permutation(count)[:PICTURES]) if rng.random() < 0.2 else [round(at) for at in np.linspace(0.1, 0.9, 4) * (count - 1)]
    proxies = [_jpeg(luma[at], long_side, quality) for at in shown]
    canvas = canvas_of(planes_from(luma), proxies)
    rows, columns = canvas.planes.shape[1:]
    still = mark is not None and kind != "moving"
    marked = _cells(mark.alpha.max(0) / mark.alpha.max(), rows, columns, CELL) if still else np.zeros((rows, columns), np.uint8)
    captioned = _cells(captions.alpha.max(0), rows, columns, CELL) if captions is not None else np.zeros((rows, columns), np.uint8)
    moving = np.zeros((PICTURES, rows // 2, columns // 2), np.uint8)
    if kind == "moving":
        moving = np.stack([_cells(mark.alpha[at] / mark.alpha.max(), rows // 2, columns // 2, 2 * CELL) for at in [*shown, *shown[-1:] * 3][:PICTURES]])
    box = _box(mark, width, height) if still else None
    return Example(canvas.planes, canvas.pictures, canvas.valid, marked, captioned, moving, kind, static, captions is not None, box, strength, area)


def _jpeg(luma, long_side, quality):
    scale = min(1.0, long_side / max(luma.shape))
    small = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def _cells(cover, rows, columns, cell):
    """The largest coverage of each cell after growing it by two pixels, so that a mark's cells hang together."""
    grown = cv2.dilate(cover.astype(np.float32), np.ones((5, 5)))
    full = np.zeros((rows * cell, columns * cell), np.float32)
    full[: grown.shape[0], : grown.shape[1]] = grown[: full.shape[0], : full.shape[1]]
    return np.rint(255 * np.clip(full.reshape(rows, cell, columns, cell).mean((1, 3)), 0, 1)).astype(np.uint8)


def _box(mark, width, height):
    ys, xs = np.nonzero(mark.alpha[0] > 0.25 * mark.alpha.max())
    return (float(xs.min() / width), float(ys.min() / height), float((xs.max() + 1) / width), float((ys.max() + 1) / height))
