"""Captions composed from what was measured: always available, plain English, and never a word beyond the measurements."""

from collections.abc import Mapping

from curate.captioners.base import Caption, Captioner, cleaned
from curate.captioners.colours import GREY, MIXED, colours
from curate.scorers.base import OF_ONE_CLIP, ClipBatch

CERTAIN = 0.8
"""Label confidence from which a thing is named outright; below it, the picture `seems to show` it."""

DARK, BRIGHT = 0.2, 0.7
"""Mean luma below and above which a picture is said to be dark or bright."""

STILL, LITTLE, MUCH = 0.05, 0.15, 1.0
"""Movement in percent of the diagonal per 1/24 s: below the first nothing is said to move, below the second little, above the third a lot."""

CAMERA_MOVES, SHAKES = 0.15, 1.0

WHERE = {"subtitle": "Subtitles read", "banner": "Text on the screen reads", "title": "A title reads", "scene": "Writing in the scene reads"}
LONGEST_QUOTE = 80


class Describe(Captioner):
    """Light and colour, what is seen where labels are confident, how camera and subject move, and the words on screen."""

    name = "describe"
    version = "2"
    needs = frozenset(
        {"proxies", "labels", "label_confidences", "motion", "camera_motion", "subject_motion", "pan", "tilt", "zoom", "shake", "slideshow", "freeze_share"}
        | {"brightness", "text_kind", "texts", "media_type"}
    )

    def write(self, batch: ClipBatch) -> list[list[Caption]]:
        written = []
        for index, row in enumerate(batch.rows):
            try:
                colour = colours(batch.frames(index))
            except OF_ONE_CLIP:
                colour = None
            written.append([Caption(described(row, colour))])
        return written


def described(row: Mapping[str, object], colour: str | None) -> str:
    """The caption of one clip from its row and the name of its `colours`."""
    look = [part for part in (_light(row), "black-and-white" if colour == GREY else None) if part]
    kind = "picture" if row.get("media_type") == "image" else "slideshow" if _number(row, "slideshow") > 0.7 else "shot"
    opening = _with_article(" ".join([*look, kind])).capitalize()
    tones = {GREY: "", MIXED: " in many colours", None: ""}.get(colour, f" in {colour} tones")
    movement = [part for part in (_camera(row), _activity(row)) if part] if kind == "shot" else []
    return f"{opening}{_subject(row)}{tones}{', ' if movement else ''}{' and '.join(movement)}.{_words(row)}"


def _light(row: Mapping[str, object]) -> str | None:
    brightness = row.get("brightness")
    if not isinstance(brightness, float):
        return None
    return "dark" if brightness < DARK else "bright" if brightness > BRIGHT else None


def _subject(row: Mapping[str, object]) -> str:
    labels, confidences = row.get("labels"), row.get("label_confidences")
    if not isinstance(labels, list) or not isinstance(confidences, list) or not labels:
        return ""
    return f" of {_with_article(labels[0])}" if confidences[0] >= CERTAIN else f" of what seems to be {_with_article(labels[0])}"


def _camera(row: Mapping[str, object]) -> str | None:
    """What the camera does, when it does one thing clearly. A camera that pans to the right shows a picture that moves to the left."""
    if row.get("camera_motion") is None:
        return None
    moves = {"pan": _number(row, "pan"), "tilt": _number(row, "tilt"), "zoom": _number(row, "zoom")}
    leading = max(moves, key=lambda name: abs(moves[name]))
    if _number(row, "shake") > max(SHAKES, abs(moves[leading])):
        return "filmed with a shaky camera"
    if abs(moves[leading]) >= CAMERA_MOVES:
        ways = {"pan": ("left", "right"), "tilt": ("up", "down"), "zoom": ("out", "in")}
        verbs = {"pan": "panning", "tilt": "tilting", "zoom": "moving"}
        pace = "slowly " if abs(moves[leading]) < 4 * CAMERA_MOVES else ""
        return f"with the camera {verbs[leading]} {pace}{ways[leading][moves[leading] > 0]}"
    return "filmed with a still camera" if max(_number(row, "camera_motion"), _number(row, "shake")) < STILL else None


def _activity(row: Mapping[str, object]) -> str | None:
    """How much moves besides the camera, where the picture moves at all."""
    if row.get("motion") is None:
        return None
    if _number(row, "freeze_share") > 0.9 or _number(row, "motion") < STILL / 5:
        return "in which nothing moves"
    moving = _number(row, "subject_motion") if row.get("subject_motion") is not None else _number(row, "motion")
    return "with a lot of movement" if moving > MUCH else "with little movement" if moving < LITTLE else "with some movement"


def _words(row: Mapping[str, object]) -> str:
    texts, kind = row.get("texts"), row.get("text_kind")
    if not isinstance(texts, list) or not texts or kind not in WHERE:
        return ""
    said = cleaned(" / ".join(texts)).replace('"', "'")
    if len(said) > LONGEST_QUOTE:
        said = f"{said[:LONGEST_QUOTE].rsplit(' ', 1)[0]} …"
    return f' {WHERE[str(kind)]} "{said}".' if said else ""


def _with_article(words: str) -> str:
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def _number(row: Mapping[str, object], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
