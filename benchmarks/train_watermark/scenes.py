"""Scenes: sixteen or fewer luma frames of generated or real moving content, with static cameras and hard negatives among them."""

from dataclasses import dataclass

import cv2
import numpy as np
from marks import Lettering, words
from materials import Materials

SIZES = {(640, 360): 0.6, (480, 360): 0.12, (360, 640): 0.12, (640, 272): 0.08, (360, 360): 0.08}
"""Working sizes (width, height) and how often each is drawn; those `working_luma` makes of 16:9, 4:3, 9:16, 2.35:1 and 1:1."""


@dataclass(frozen=True)
class Scene:
    """Frames float32 (T, H, W), and whether the camera stood still."""

    frames: np.ndarray
    static: bool


def draw_scene(rng: np.random.Generator, stock: Materials, size: tuple[int, int], count: int) -> Scene:
    """A scene of `count` sampled frames of the size (width, height)."""
    if rng.random() < 0.2:
        return _film_scene(rng, stock, size, count)
    static = bool(rng.random() < 0.5)
    ground = _ground(rng, stock, size, 0.6 if static else 0.35)
    for _ in range(int(rng.choice([0, 1, 2, 4], p=[0.4, 0.25, 0.2, 0.15]))):
        _standing(rng, stock, ground)
    frames = _camera(rng, ground, size, count, static)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.25, 0.35, 0.25, 0.15]))):
        _sprite(rng, stock, frames)
    return Scene(_light(rng, frames), static)


def _film_scene(rng, stock, size, count):
    film = stock.films[int(rng.random() < 0.3)]
    step = int(rng.integers(1, max(2, min(9, len(film) // count))))
    start = int(rng.integers(0, len(film) - step * (count - 1)))
    chosen = film[start : start + step * (count - 1) + 1 : step]
    static = bool(rng.random() < 0.2)
    if static:
        chosen = np.repeat(chosen[:1], count, axis=0)
    height, width = film.shape[1:]
    shape = size[0] / size[1]
    crop_width = min(width, height * shape) * rng.uniform(0.55, 1)
    crop_height = crop_width / shape
    left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
    x, y, w, h = int(left), int(top), int(crop_width), int(crop_height)
    frames = np.stack([cv2.resize(frame[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA if w > size[0] else cv2.INTER_LINEAR) for frame in chosen])
    if rng.random() < 0.5:
        frames = frames[:, :, ::-1]
    frames = np.ascontiguousarray(frames[::-1] if rng.random() < 0.3 else frames).astype(np.float32)
    if static:
        for _ in range(int(rng.integers(0, 3))):
            _sprite(rng, stock, frames)
    return Scene(_light(rng, frames), static)


def _ground(rng, stock, size, written):
    """A picture larger than the frame to look at: a photograph, a page or screen, or generated; with scene text on it by the chance `written`."""
    span = 1.6 * max(size)
    if rng.random() < 0.1:
        return _page(rng, stock, int(span))
    if rng.random() < 0.55:
        picture = stock.pictures[rng.integers(len(stock.pictures))].astype(np.float32)
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
        picture = cv2.warpAffine(
            picture,
            cv2.getRotationMatrix2D((picture.shape[1] / 2, picture.shape[0] / 2), rng.uniform(-12, 12), rng.uniform(0.9, 2.2)),
            picture.shape[::-1],
            borderMode=cv2.BORDER_REFLECT,
        )
        scale = span / min(picture.shape) * rng.uniform(0.6, 1)
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    else:
        picture = _generated(rng, int(span))
    picture = np.clip((picture - 128) * rng.uniform(0.3, 1.1) + rng.uniform(60, 190), 0, 255)
    if rng.random() < written:
        for _ in range(int(rng.integers(1, 4))):
            _scene_text(rng, stock, picture, size)
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 6)) if rng.random() < 0.3 else picture


def _generated(rng, span):
    """Noise in octaves, drawn shapes, or stripes and squares."""
    kind = rng.choice(["noise", "shapes", "grid", "plain"], p=[0.3, 0.4, 0.2, 0.1])
    picture = np.zeros((span, span), np.float32)
    for octave in (2, 4, 8, 16, 32, 64, 128, 256):
        weight = rng.uniform(0, 1) if kind == "noise" else (0.6 if octave <= 4 else 0.03)
        picture += weight / np.sqrt(octave) * cv2.resize(rng.standard_normal((octave, octave)).astype(np.float32), (span, span), interpolation=cv2.INTER_CUBIC)
    picture = 128 + 45 * picture / (picture.std() + 1e-3)
    if kind == "shapes":
        for _ in range(int(rng.integers(15, 120))):
            centre, radius, grey = rng.integers(0, span, 2), rng.uniform(6, span / 7), float(rng.uniform(0, 255))
            corners = int(rng.integers(3, 9))
            angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
            points = (centre + radius * rng.uniform(0.4, 1, (corners, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.int32)
            if rng.random() < 0.3:
                cv2.polylines(picture, [points], bool(rng.random() < 0.5), grey, int(rng.integers(1, 5)), cv2.LINE_AA)
            elif rng.random() < 0.3:
                cv2.circle(picture, [int(each) for each in centre], int(radius * 0.6), grey, int(rng.choice([-1, 1, 2, 4])), cv2.LINE_AA)
            else:
                cv2.fillPoly(picture, [points], grey, cv2.LINE_AA)
    if kind == "grid":
        period, angle = rng.uniform(10, 90), rng.uniform(0, np.pi)
        rows, columns = np.mgrid[:span, :span].astype(np.float32)
        along, across = rows * np.cos(angle) + columns * np.sin(angle), columns * np.cos(angle) - rows * np.sin(angle)
        wave = np.sign(np.sin(2 * np.pi * along / period)) * (np.sign(np.sin(2 * np.pi * across / period / rng.uniform(1, 3))) if rng.random() < 0.6 else 1)
        picture += rng.uniform(10, 60) * wave
    return np.clip(picture, 0, 255)


def _scene_text(rng, stock, picture, size):
    """Signs and print that belong to the scene: larger, in perspective, sometimes blurred, moving with what they stand on."""
    alpha = Lettering(rng, stock, words(rng), int(rng.choice([rng.uniform(0.025, 0.08), rng.uniform(0.06, 0.25)]) * min(size))).alpha
    height, width = alpha.shape
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    bent = corners + rng.uniform(-0.22, 0.22, (4, 2)) * [min(width, 3 * height), height]
    turn = cv2.getRotationMatrix2D((0, 0), float(rng.normal(0, 12)), rng.uniform(0.8, 1.6))
    place = rng.uniform(0.05, 0.75, 2) * picture.shape[::-1]
    target = np.float32(bent @ turn[:, :2].T + place)
    laid = cv2.warpPerspective(alpha, cv2.getPerspectiveTransform(corners, target), picture.shape[::-1])
    if rng.random() < 0.5:
        laid = cv2.GaussianBlur(laid, (0, 0), rng.uniform(0.6, 2.5))
    if rng.random() < 0.4:
        plate = cv2.fillConvexPoly(np.zeros_like(picture), np.int32(target + (target - target.mean(0)) * 0.12), 1.0)
        picture += (rng.uniform(0, 255) - picture) * plate * rng.uniform(0.6, 1)
    picture += (rng.choice([rng.uniform(0, 80), rng.uniform(150, 255)]) - picture) * laid * rng.uniform(0.5, 1)


def _page(rng, stock, span):
    """Print or a screen: columns of words in lines, between rules and boxes, dark on light or light on dark."""
    paper, ink = rng.choice([[rng.uniform(190, 255), rng.uniform(0, 90)], [rng.uniform(10, 60), rng.uniform(140, 240)]])
    picture = np.full((span, span), paper, np.float32) + np.linspace(0, rng.uniform(-30, 30), span, dtype=np.float32)
    letters = int(rng.uniform(8, 34))
    left = top = int(rng.uniform(0, 0.1) * span)
    while top < span - 2 * letters:
        line = Lettering(rng, stock, words(rng, 2, 8), letters).alpha[:, : span - left]
        if rng.random() < 0.85:
            picture[top : top + len(line), left : left + line.shape[1]] += (ink - paper) * line[: span - top]
        else:
            cv2.rectangle(picture, (left, top), (int(rng.uniform(0.3, 1) * span), top + letters), float(ink), int(rng.choice([-1, 1, 2])))
        top += int(letters * rng.choice([1.3, 1.5, 2.5], p=[0.6, 0.3, 0.1]))
    return np.clip(picture, 0, 255)


def _standing(rng, stock, ground):
    """Something that belongs to the place, where nothing moves it: a bottle, a box, a plate, with a sharp edge and at times a word on it."""
    height, width = (int(rng.uniform(0.05, 0.35) * edge) for edge in (min(ground.shape), min(ground.shape)))
    shape = np.zeros((height, width), np.float32)
    kind = rng.integers(3)
    if kind == 0:
        cv2.ellipse(shape, (width // 2, height // 2), (max(1, width // 2 - 2), max(1, height // 2 - 2)), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    elif kind == 1:
        shape[2:-2, 2:-2] = 1
    else:
        neck = np.interp(np.linspace(0, 1, height), [0, 0.25, 0.4, 1], [0.15, 0.15, 0.45, 0.45]) * width
        shape = (np.abs(np.arange(width) - width / 2)[None] < neck[:, None]).astype(np.float32)
    look = np.full_like(shape, rng.uniform(0, 255)) + np.linspace(0, rng.uniform(-80, 80), width, dtype=np.float32)
    if rng.random() < 0.5:
        label = Lettering(rng, stock, words(rng, 1, 2), max(6, height // int(rng.integers(4, 9)))).alpha[: height // 2, :width]
        at = (height // 2, (width - label.shape[1]) // 2)
        look[at[0] : at[0] + len(label), at[1] : at[1] + label.shape[1]] += (rng.uniform(0, 255) - look.mean()) * label[: height - at[0]]
    y, x = (int(rng.uniform(0.15, 0.85) * edge) for edge in ground.shape)
    seen = ground[y : y + height, x : x + width]
    cover = cv2.GaussianBlur(shape, (0, 0), rng.uniform(0.4, 2))
    inside = (slice(len(seen)), slice(seen.shape[1]))
    seen += (np.clip(look, 0, 255)[inside] - seen) * cover[inside]


def _camera(rng, ground, size, count, static):
    """Looks at the ground along a smooth path of pan, zoom and roll, or stands still with at most a tremble."""
    time = np.linspace(0, 1, count)
    width, height = size
    reach = 0.0 if static else float(rng.choice([rng.uniform(4, 30), rng.uniform(30, 300)]))
    angle = rng.uniform(0, 2 * np.pi)
    bend = np.sin(2 * np.pi * (time * rng.uniform(0.3, 1.5) + rng.random())) * rng.uniform(0, 0.5)
    across, down = reach * (np.cos(angle) * time + np.sin(angle) * bend), reach * (np.sin(angle) * time + np.cos(angle) * bend)
    tremble = rng.choice([0, rng.uniform(0, 0.5)]) if static else rng.choice([0, rng.uniform(0, 6)])
    across, down = across + rng.normal(0, 1, count) * tremble, down + rng.normal(0, 1, count) * tremble
    zooming = not static and rng.random() < 0.5
    zoom = np.exp(time * rng.normal(0, 0.25)) if zooming else np.ones(count)
    roll = time * rng.normal(0, 6) if not static and rng.random() < 0.25 else np.zeros(count)
    scale = max(width / ground.shape[1], height / ground.shape[0], 0.55) * rng.uniform(1, 1.6)
    start = rng.uniform(0.35, 0.65, 2) * ground.shape[::-1]
    frames = np.empty((count, height, width), np.float32)
    for at in range(count):
        matrix = cv2.getRotationMatrix2D((0, 0), roll[at], scale * zoom[at])
        matrix[:, 2] = np.array([width / 2, height / 2]) - matrix[:, :2] @ (start + np.array([across[at], down[at]]))
        frames[at] = cv2.warpAffine(ground, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return frames


def _sprite(rng, stock, frames):
    """Something moves through the frames, in place: a piece of a picture in a blob, or a flat shape, with or without a soft edge."""
    count, height, width = frames.shape
    side = int(rng.uniform(0.08, 0.5) * min(height, width))
    angles, radii = np.linspace(0, 2 * np.pi, 14)[:-1], rng.uniform(0.5, 1, 13)
    outline = np.int32(side / 2 + side / 2 * radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1))
    blob = cv2.fillPoly(np.zeros((side, side), np.float32), [outline], 1.0)
    blob = cv2.GaussianBlur(blob, (0, 0), rng.uniform(0.7, 4))
    if rng.random() < 0.6:
        picture = stock.pictures[rng.integers(len(stock.pictures))]
        y, x = (int(rng.integers(0, edge - side)) for edge in picture.shape)
        look = picture[y : y + side, x : x + side].astype(np.float32)
    else:
        look = np.full((side, side), rng.uniform(10, 245), np.float32) + rng.normal(0, 6, (side, 1)).astype(np.float32)
    time = np.linspace(0, 1, count)
    start, end = rng.uniform(-0.1, 1.1, 2), rng.uniform(-0.1, 1.1, 2)
    wobble = rng.uniform(0, 0.06) * np.sin(2 * np.pi * (time[:, None] * rng.uniform(1, 5) + rng.random(2)))
    path = (start + (end - start) * time[:, None] + wobble) * [width, height]
    swell = np.exp(rng.normal(0, 0.3) * time)
    for at in range(count):
        matrix = np.float32([[swell[at], 0, path[at, 0] - side * swell[at] / 2], [0, swell[at], path[at, 1] - side * swell[at] / 2]])
        cover = cv2.warpAffine(blob, matrix, (width, height))
        frames[at] += (cv2.warpAffine(look, matrix, (width, height)) - frames[at]) * cover


def _light(rng, frames):
    """Exposure that drifts or flickers, and sensor noise."""
    count = len(frames)
    if rng.random() < 0.3:
        frames *= (1 + rng.normal(0, 0.03, count) + rng.normal(0, 0.15) * np.linspace(-0.5, 0.5, count))[:, None, None].astype(np.float32)
    if rng.random() < 0.6:
        height, width = frames.shape[1:]
        grain = rng.standard_normal((height + 64, width + 64), dtype=np.float32) * np.float32(rng.uniform(0.5, 7))
        grain = cv2.GaussianBlur(grain, (3, 3), 0) if rng.random() < 0.4 else grain
        for frame in frames:
            y, x = rng.integers(0, 64, 2)
            frame += grain[y : y + height, x : x + width]
    return np.clip(frames, 0, 255, out=frames)
