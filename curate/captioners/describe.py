"""Captions composed from what was measured: always available, plain English, and never a word beyond the measurements."""

import cv2
import numpy as np

from curate.captioners.base import Caption, Captioner, cleaned
from curate.captioners.check import problem_of
from curate.scorers.base import OF_ONE_CLIP, ClipBatch

CERTAIN = 0.75
"""Label confidence from which a thing is named outright; below it, the picture `seems to show` it."""

HUES = ((8, "red"), (20, "orange"), (33, "yellow"), (80, "green"), (100, "turquoise"), (130, "blue"), (155, "purple"), (170, "pink"), (181, "red"))
"""Upper bounds of OpenCV hues (0-180) and what they are called."""


class Describe(Captioner):
    """Light and colour, what is seen where labels are confident, how camera and subject move, and the words on screen."""

    name = "describe"
    version = "1"
    needs = frozenset(
        {"proxies", "labels", "label_confidences", "motion", "camera_motion", "subject_motion", "pan", "tilt", "zoom", "shake", "slideshow", "freeze_share"}
        | {"brightness", "text_kind", "texts", "media_type", "border"}
    )

    def write(self, batch: ClipBatch) -> list[list[Caption]]:
        written = []
        for index, row in enumerate(batch.rows):
            try:
                colour = colours(batch.frames(index))
            except OF_ONE_CLIP:
                colour = None
            text = described(row, colour)
            written.append([Caption(text, problem=problem_of(text))])
        return written


def described(row: dict[str, object], colour: str | None) -> str:
    """The caption of one clip from its row and its `colours`."""
    look = " ".join(part for part in (_light(row), colour if colour == "black-and-white" else None) if part)
    kind = "picture" if row.get("media_type") == "image" else "slideshow" if _number(row, "slideshow") > 0.7 else "shot"
    opening = f"{'An' if look[:1] in 'aeiou' and look else 'A'} {f'{look} ' if look else ''}{kind}"
    sentence = opening + _subject(row) + (f" in mostly {colour} tones" if colour and colour != "black-and-white" else "")
    movement = [] if kind != "shot" else [part for part in (_camera(row), _activity(row)) if part]
    if movement:
        sentence += f", {' and '.join(movement)}"
    return f"{sentence}.{_words(row)}"


def colours(frames: list[np.ndarray]) -> str | None:
    """`black-and-white`, the one or two hues that carry the colour of uint8 (H, W, 3) RGB frames, or None when no hue stands out."""
    pixels = np.concatenate([cv2.resize(frame, (64, 36), interpolation=cv2.INTER_AREA) for frame in frames])
    hue, saturation, value = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))
    weight = (saturation / 255.0) * (value / 255.0)
    if float(np.quantile(weight, 0.98)) < 0.06:
        return "black-and-white"
    strong = weight > 0.15
    if strong.mean() < 0.15:
        return None
    names = np.array([name for _, name in HUES])[np.searchsorted([top for top, _ in HUES], hue[strong], side="right").clip(0, len(HUES) - 1)]
    found, counts = np.unique(names, return_counts=True)
    shares = dict(zip(found.tolist(), (counts / counts.sum()).tolist()))
    leading = sorted(shares, key=lambda name: (-shares[name], name))
    if shares[leading[0]] > 0.6:
        return leading[0]
    return f"{leading[0]} and {leading[1]}" if len(leading) > 1 and shares[leading[0]] + shares[leading[1]] > 0.75 else None


def _light(row: dict[str, object]) -> str | None:
    brightness = row.get("brightness")
    if not isinstance(brightness, float):
        return None
    return "dark" if brightness < 0.22 else "bright" if brightness > 0.68 else None


def _subject(row: dict[str, object]) -> str:
    labels, confidences = row.get("labels"), row.get("label_confidences")
    if not isinstance(labels, list) or not isinstance(confidences, list) or not labels:
        return ""
    named = f"{'an' if labels[0][:1].lower() in 'aeiou' else 'a'} {labels[0]}"
    return f" of {named}" if confidences[0] >= CERTAIN else f" of what seems to be {named}"


def _camera(row: dict[str, object]) -> str | None:
    """What the camera does, when it does one thing clearly; directions are those of the camera."""
    if row.get("camera_motion") is None:
        return None
    moves = {"pan": _number(row, "pan"), "tilt": _number(row, "tilt"), "zoom": _number(row, "zoom")}
    leading = max(moves, key=lambda name: abs(moves[name]))
    if _number(row, "shake") > 1.0 and _number(row, "shake") > abs(moves[leading]):
        return "filmed with a shaky camera"
    if abs(moves[leading]) >= 0.15:
        ways = {"pan": ("left", "right"), "tilt": ("up", "down"), "zoom": ("out", "in")}
        verbs = {"pan": "panning", "tilt": "tilting", "zoom": "moving"}
        pace = "slowly " if abs(moves[leading]) < 0.6 else "quickly " if abs(moves[leading]) > 3 else ""
        return f"with the camera {verbs[leading]} {pace}{ways[leading][moves[leading] > 0]}"
    return "filmed with a still camera" if _number(row, "camera_motion") < 0.05 and _number(row, "shake") < 0.2 else None


def _activity(row: dict[str, object]) -> str | None:
    if row.get("motion") is None:
        return None
    if _number(row, "freeze_share") > 0.9:
        return "in which nothing moves"
    moving = _number(row, "subject_motion")
    return "with a lot of movement" if moving > 1.0 else "with little movement" if moving < 0.08 else None


def _words(row: dict[str, object]) -> str:
    texts, kind = row.get("texts"), row.get("text_kind")
    if not isinstance(texts, list) or not texts or kind in (None, "none"):
        return ""
    said = cleaned(" / ".join(texts[:3])).replace('"', "'")
    where = {"subtitle": "Subtitles read", "banner": "Text on the screen reads", "title": "A title reads", "scene": "Writing in the scene reads"}
    return f' {where.get(str(kind), "Text reads")} "{said}".' if said else ""


def _number(row: dict[str, object], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
