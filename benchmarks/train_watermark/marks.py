"""Marks and captions drawn by program: logos, words, stock text, tiles, moving handles, subtitles and banners, as opacity and grey."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

KINDS = {"corner_logo": 0.24, "corner_text": 0.2, "corner_bug": 0.12, "centre": 0.12, "tiled": 0.14, "moving": 0.18}
"""Kinds of mark and how often each is drawn among marks."""

CONSONANTS, VOWELS = "bcdfghjklmnprstvwxz", "aeiouy"


@dataclass(frozen=True)
class Overlay:
    """Something laid over frames: opacity float32 (T, H, W) or (1, H, W) 0-1, and grey (H, W) or (T, H, W) 0-255."""

    alpha: np.ndarray
    grey: np.ndarray


def word(rng) -> str:
    """A pronounceable made-up word."""
    made = "".join(rng.choice(list(CONSONANTS)) + rng.choice(list(VOWELS)) for _ in range(int(rng.integers(1, 5))))
    return made + (rng.choice(list(CONSONANTS)) if rng.random() < 0.6 else "")


def words(rng, low: int = 1, high: int = 3) -> str:
    """A name, handle, address or notice."""
    text = " ".join(word(rng) for _ in range(int(rng.integers(low, high + 1))))
    text = {0: text.upper(), 1: text.title(), 2: text}[int(rng.integers(3))]
    form = rng.random()
    if form < 0.12:
        return "@" + text.replace(" ", "_").lower()
    if form < 0.22:
        return "www." + text.replace(" ", "").lower() + rng.choice([".com", ".net", ".tv", ".org"])
    if form < 0.3:
        return f"© {text}"
    if form < 0.4:
        return f"{text} {rng.integers(1, 9999)}"
    return text


class Lettering:
    """A text in one of the fonts as opacity float32 (h, w), with a little room around it."""

    def __init__(self, rng, stock, text: str, height: int) -> None:
        font = ImageFont.truetype(str(stock.fonts[rng.integers(len(stock.fonts))]), max(6, height))
        left, top, right, bottom = font.getbbox(text)
        room = 4
        canvas = Image.new("L", (max(1, right - left) + 2 * room, max(1, bottom - top) + 2 * room))
        ImageDraw.Draw(canvas).text((room - left, room - top), text, fill=255, font=font)
        self.alpha = np.asarray(canvas, np.float32) / 255
        if rng.random() < 0.3:
            stretch = rng.uniform(0.75, 1.4)
            self.alpha = cv2.resize(self.alpha, (max(1, round(self.alpha.shape[1] * stretch)), self.alpha.shape[0]), interpolation=cv2.INTER_AREA)


def emblem(rng, side: int) -> np.ndarray:
    """A made-up logo as opacity float32 (side, side): discs, rings, stars, bars, with something cut out."""
    scale = 4
    canvas = np.zeros((side * scale, side * scale), np.float32)
    middle, radius = side * scale // 2, side * scale * 0.46
    for layer in range(int(rng.integers(1, 4))):
        fill, reach = (1.0 if layer % 2 == 0 else 0.0), radius * (0.62**layer)
        kind = rng.integers(5)
        if kind == 0:
            cv2.circle(canvas, (middle, middle), int(reach), fill, -1 if rng.random() < 0.5 else max(1, int(reach * rng.uniform(0.1, 0.3))))
        elif kind == 1:
            corners = int(rng.integers(3, 7))
            turn = rng.uniform(0, 2 * np.pi)
            angles = turn + np.arange(corners) * 2 * np.pi / corners
            cv2.fillPoly(canvas, [np.int32(middle + reach * np.stack([np.cos(angles), np.sin(angles)], 1))], fill)
        elif kind == 2:
            points = int(rng.integers(4, 9))
            angles = np.arange(2 * points) * np.pi / points
            radii = reach * np.where(np.arange(2 * points) % 2, rng.uniform(0.35, 0.7), 1)
            cv2.fillPoly(canvas, [np.int32(middle + radii[:, None] * np.stack([np.sin(angles), -np.cos(angles)], 1))], fill)
        elif kind == 3:
            box = int(reach * 0.85)
            cv2.rectangle(canvas, (middle - box, middle - box), (middle + box, middle + box), fill, -1 if rng.random() < 0.6 else max(1, int(box * 0.2)))
        else:
            for bar in range(int(rng.integers(2, 5))):
                x = int(middle - reach + (bar + 0.2) * reach * 0.5)
                cv2.rectangle(canvas, (x, int(middle - reach * rng.uniform(0.2, 0.9))), (x + int(reach * 0.3), int(middle + reach * 0.8)), fill, -1)
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)


def stamp(rng, stock, height: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A mark alone: opacity and grey float32 (h, w), before its overall opacity. `height` is that of its letters in pixels."""
    if kind == "bug":
        body = emblem(rng, max(10, int(height * rng.uniform(1.5, 3))))
        if rng.random() < 0.5:
            letters = Lettering(rng, stock, word(rng).upper()[: int(rng.integers(1, 5))], height).alpha
            body = _beside(rng, body, letters)
    elif kind == "logo":
        body = _beside(rng, emblem(rng, max(8, int(height * rng.uniform(1.1, 2.2)))), Lettering(rng, stock, words(rng, 1, 2), height).alpha)
    else:
        body = Lettering(rng, stock, words(rng), height).alpha
    grey = np.full_like(body, rng.choice([255.0, rng.uniform(200, 255), rng.uniform(90, 200), rng.uniform(0, 60)], p=[0.45, 0.25, 0.15, 0.15]))
    dressing = rng.random()
    room = max(2, height // 3)
    body, grey = np.pad(body, room), np.pad(grey, room, mode="edge")
    if dressing < 0.3:
        soft = cv2.GaussianBlur(np.roll(body, (1, 1), (0, 1)), (0, 0), rng.uniform(0.6, 2))
        shadow = np.clip(soft * rng.uniform(0.5, 1.5), 0, 1)
        total = body + shadow * (1 - body)
        grey = np.where(total > 0, (grey * body + (255 - grey) * 0.3 * shadow * (1 - body)) / np.maximum(total, 1e-3), grey)
        body = total
    elif dressing < 0.42:
        plate = np.zeros_like(body)
        plate[1:-1, 1:-1] = rng.uniform(0.3, 1)
        total = np.maximum(body, plate)
        grey = np.where(body > 0.5, grey, 255 - grey * rng.uniform(0.7, 1))
        body = total
    elif dressing < 0.5:
        body = np.clip(cv2.dilate(body, np.ones((3, 3))) - body * rng.uniform(0.6, 1), 0, 1)
    return body.astype(np.float32), grey.astype(np.float32)


def draw_mark(rng, stock, size: tuple[int, int], count: int, kind: str) -> Overlay:
    """A mark of the kind over frames of the size (width, height); its overall opacity is drawn too."""
    width, height = size
    if kind == "tiled":
        return _tiled(rng, stock, size)
    if kind == "centre":
        body, grey = stamp(rng, stock, int(rng.uniform(0.08, 0.2) * height), "text" if rng.random() < 0.7 else "logo")
        body, grey = _fitted(body, grey, width * rng.uniform(0.35, 0.9))
        if rng.random() < 0.3:
            body, grey = _turned(body, grey, rng.uniform(-35, 35))
        opacity = rng.uniform(0.12, 0.6)
        place = (np.array([width, height]) - body.shape[::-1]) / 2 + rng.normal(0, 0.05, 2) * size
        return _laid(body * opacity, grey, size, place[None])
    letters = int(np.exp(rng.uniform(np.log(6), np.log(30))))
    style = {"corner_logo": "logo", "corner_text": "text", "corner_bug": "bug", "moving": rng.choice(["text", "text", "logo", "bug"])}[kind]
    body, grey = stamp(rng, stock, letters, style)
    body, grey = _fitted(body, grey, width * rng.uniform(0.15, 0.35))
    opacity = float(rng.choice([rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.85), 1.0], p=[0.4, 0.35, 0.25]))
    if kind == "moving":
        return _laid(body * opacity, grey, size, _path(rng, size, body.shape[::-1], count))
    return _laid(body * opacity, grey, size, _corner(rng, size, body.shape[::-1])[None])


def draw_captions(rng, stock, size: tuple[int, int], count: int) -> Overlay:
    """Subtitles that change, a title, or a banner with its plate: text laid over the picture that claims no ownership."""
    width, height = size
    kind = rng.choice(["subtitles", "title", "banner"], p=[0.6, 0.15, 0.25])
    alpha, grey = np.zeros((count, height, width), np.float32), np.full((count, height, width), 255, np.float32)
    letters = int(rng.uniform(0.04, 0.075) * height) if kind == "subtitles" else int(rng.uniform(0.06, 0.16) * height)
    changes = sorted({0, *rng.integers(0, count, int(rng.integers(0, 4)))}) if kind == "subtitles" else [int(rng.integers(0, max(1, count // 3)))]
    baseline = rng.uniform(0.78, 0.9) * height if kind != "title" else rng.uniform(0.15, 0.6) * height
    dressing, ink = rng.random(), float(rng.choice([255.0, rng.uniform(180, 250)]))
    for start, end in zip(changes, [*changes[1:], count if kind == "subtitles" else int(rng.integers(count // 2, count + 1))]):
        for line in range(int(rng.integers(1, 3))):
            text = Lettering(rng, stock, words(rng, 2, 6), letters).alpha
            text = text if text.shape[1] < width * 0.95 else cv2.resize(text, (int(width * 0.95), text.shape[0]), interpolation=cv2.INTER_AREA)
            left = (width - text.shape[1]) / 2 if kind != "banner" else width * 0.06
            body = _at(text, size, (left, baseline + line * letters * 1.25 - letters))
            around = cv2.dilate(body, np.ones((5, 5))) if dressing < 0.5 else np.zeros_like(body)
            if kind == "banner" or dressing > 0.8:
                around = cv2.dilate(body, np.ones((letters | 1, 2 * letters | 1))) * 0.75
            total = np.maximum(body, around)
            alpha[start:end] = np.maximum(alpha[start:end], total)
            grey[start:end] = np.where(body > 0.3, ink, np.where(around > 0.05, 10, grey[start:end]))
    return Overlay(alpha, grey)


def _beside(rng, one, other):
    """Two bodies side by side, or one above the other, each in the middle of the other's extent."""
    upright = rng.random() < 0.2
    gap = max(1, one.shape[0] // 8)
    shape = [max(one.shape[0], other.shape[0]), max(one.shape[1], other.shape[1])]
    axis = 0 if upright else 1
    shape[axis] = one.shape[axis] + gap + other.shape[axis]
    body = np.zeros(shape, np.float32)
    for piece, start in ((one, 0), (other, one.shape[axis] + gap)):
        place = [(shape[0] - piece.shape[0]) // 2, (shape[1] - piece.shape[1]) // 2]
        place[axis] = start
        body[place[0] : place[0] + piece.shape[0], place[1] : place[1] + piece.shape[1]] = piece
    return body


def _fitted(body, grey, width):
    """Shrunk to a width in pixels where it is wider."""
    scale = min(1.0, width / body.shape[1])
    size = (max(4, round(body.shape[1] * scale)), max(4, round(body.shape[0] * scale)))
    return (body, grey) if scale == 1 else (cv2.resize(body, size, interpolation=cv2.INTER_AREA), cv2.resize(grey, size, interpolation=cv2.INTER_AREA))


def _turned(body, grey, degrees):
    side = int(np.hypot(*body.shape)) + 2
    matrix = cv2.getRotationMatrix2D((body.shape[1] / 2, body.shape[0] / 2), degrees, 1)
    matrix[:, 2] += (np.array([side, side]) - body.shape[::-1]) / 2
    return cv2.warpAffine(body, matrix, (side, side)), cv2.warpAffine(grey, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)


def _at(body, size, place, border=0.0):
    matrix = np.float32([[1, 0, place[0]], [0, 1, place[1]]])
    return cv2.warpAffine(body, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border)


def _laid(body, grey, size, places):
    shade = float(np.median(grey))
    return Overlay(np.stack([_at(body, size, place) for place in places]), np.stack([_at(grey, size, place, shade) for place in places]))


def _corner(rng, size, extent):
    """Where a corner mark lies: a corner mostly, the middle of an edge sometimes, seldom anywhere; in whole pixels."""
    free = np.array(size) - extent
    margin = rng.uniform(0.005, 0.06, 2) * min(size)
    side = rng.integers(0, 2, 2)
    place = np.where(side == 0, margin, free - margin)
    chance = rng.random()
    if chance < 0.12:
        place[0] = free[0] / 2
    elif chance < 0.2:
        place = rng.uniform(0, 1, 2) * free
    return np.round(np.clip(place, -2, np.maximum(free, 0)))


def _path(rng, size, extent, count):
    """Where a moving mark is in each frame: drifting with bounces, jumping between places, or circling."""
    free = np.maximum(np.array(size) - extent, 1)
    kind, time = rng.choice(["drift", "jump", "circle"], p=[0.6, 0.25, 0.15]), np.arange(count)[:, None]
    if kind == "drift":
        speed = rng.uniform(0.01, 0.12, 2) * rng.choice([-1, 1], 2) * (rng.random(2) < 0.8)
        speed[0] += 0.02 * (speed == 0).all()
        phase = (rng.random(2) + speed * time) % 2
        return free * np.where(phase > 1, 2 - phase, phase)
    if kind == "jump":
        spots = rng.random((count, 2))
        return free * spots[(np.arange(count) // int(rng.integers(2, max(3, count // 2)))) % count]
    turn = 2 * np.pi * (time * rng.uniform(0.03, 0.12) + rng.random())
    return free * (0.5 + rng.uniform(0.2, 0.5) * np.concatenate([np.cos(turn), np.sin(turn)], 1))


def _tiled(rng, stock, size):
    width, height = size
    body, grey = stamp(rng, stock, int(rng.uniform(0.035, 0.09) * height), rng.choice(["text", "text", "logo"]))
    body, grey = _fitted(body, grey, width * 0.45)
    gap = (rng.uniform(0.3, 2.5, 2) * body.shape[0]).astype(int) + 2
    cell = np.pad(body, ((0, gap[0]), (0, gap[1])))
    side = int(np.hypot(width, height)) + 8
    repeats = (side // cell.shape[0] + 2, side // cell.shape[1] + 2)
    sheet = np.tile(cell, repeats)
    if rng.random() < 0.5:
        sheet = np.concatenate([np.roll(row, (index % 2) * cell.shape[1] // 2, 1) for index, row in enumerate(np.split(sheet, repeats[0]))])
    sheet, shade = sheet[:side, :side], float(np.median(grey))
    degrees = 0.0 if rng.random() < 0.25 else rng.uniform(-45, 45)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1)
    matrix[:, 2] += (np.array(size) - side) / 2
    alpha = cv2.warpAffine(sheet, matrix, size) * rng.uniform(0.1, 0.45)
    return Overlay(alpha[None], np.full((1, height, width), shade, np.float32))
