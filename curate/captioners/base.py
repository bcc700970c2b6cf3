"""Captioner, which puts a clip into words; Caption, what it wrote; and the cleaning that every text from outside goes through."""

import html
import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from curate.models import identity
from curate.scorers.base import ClipBatch, Picture
from curate.stage import Resources

LONGEST = 1000
"""Characters; what is longer is cut at a word."""

MARKUP = re.compile(r"<[^<>]{0,2000}>|<!--.{0,2000}?-->", re.DOTALL)
ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+\.\w+", re.IGNORECASE)


@dataclass(frozen=True)
class Caption:
    """One caption of a clip.

    Attributes:
        text: the words, cleaned.
        prompt: what a model was asked.
        start_s, end_s: the window described, seconds within the source; None for the whole clip.
        problem: why it is not to be used; None when the captioner knows of nothing. The text is cleaned and checked once more when it is stored.
        prompt_tokens, completion_tokens: what a service counted.
    """

    text: str
    prompt: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    problem: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Window:
    """A part of a clip that is described apart: from `start_s` to `end_s` in its source, and the pictures kept of it."""

    start_s: float
    end_s: float
    pictures: tuple[Picture, ...]


class Captioner(ABC):
    """Puts clips into words.

    Attributes:
        name, version: how its captions are signed; a change of wording needs a new version.
        needs: `proxies`, and columns of clips or of their sources.
        models: names in curate.models, whose digests become part of its identity.
        resources: what one worker takes up.
        batch_clips: clips it is given at once.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    models: ClassVar[tuple[str, ...]] = ()
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_gb=1.0)
    batch_clips: ClassVar[int] = 16

    def identity(self) -> str:
        """`name@version`, with what else tells its captions from others'."""
        return identity(self.name, self.version, self.models)

    def setup(self) -> None:  # noqa: B027 - a captioner without weights has nothing to set up
        """Loads weights or opens connections, once per worker."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Money for so many tokens; nothing, unless a service is paid."""
        return 0.0

    @abstractmethod
    def write(self, batch: ClipBatch) -> Sequence[list[Caption] | None]:
        """Per clip its captions, one for each window described; none where there is nothing to say; None where it could not be asked now."""


def windows_of(row: Mapping[str, Any], pictures: Sequence[Picture], window_s: float) -> list[Window]:
    """A clip in equal windows of at most `window_s` seconds; those without a picture are joined to the one before."""
    start_s, end_s = float(row["start_s"]), float(row["end_s"])
    count = max(1, math.ceil((end_s - start_s) / window_s - 1e-6))
    made: list[Window] = []
    for number in range(count):
        left, right = (start_s + (end_s - start_s) * at / count for at in (number, number + 1))
        inside = tuple(picture for picture in pictures if left <= picture.time_s < right or (number == count - 1 and picture.time_s >= right))
        if inside or not made:
            made.append(Window(left, right, inside))
        else:
            made[-1] = replace(made[-1], end_s=right)
    seen = [window for window in made if window.pictures]
    return seen if len(seen) == len(made) else [Window(start_s, end_s, tuple(pictures))] if pictures else []


def cleaned(text: str | None) -> str:
    """Text from outside as one plain line: no markup, no addresses, no control or invisible characters; composed (NFC), at most LONGEST characters."""
    plain = html.unescape(text or "")
    plain = ADDRESS.sub(" ", MARKUP.sub(" ", plain))
    # Categories C (control, format, surrogate, private use) hide or reorder text; separators of every kind become one space.
    plain = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in unicodedata.normalize("NFC", plain))
    plain = " ".join(plain.replace("<", " ").replace(">", " ").split())
    return plain if len(plain) <= LONGEST else plain[:LONGEST].rsplit(" ", 1)[0]
