"""Captioner, which puts a clip into words; Caption, what it wrote; and the cleaning that every text from outside goes through."""

import html
import re
import unicodedata
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from curate.models import identity
from curate.scorers.base import ClipBatch

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
        problem: why it is not to be used; None when it is fine.
    """

    text: str
    prompt: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    problem: str | None = None


class Captioner(ABC):
    """Puts clips into words.

    Attributes:
        name, version: how its captions are signed; a change of wording needs a new version.
        needs: `proxies`, and columns of clips or of their sources.
        models: names in curate.models, whose digests become part of its identity.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    models: ClassVar[tuple[str, ...]] = ()

    def identity(self) -> str:
        """`name@version`, with what else tells its captions from others'."""
        return identity(self.name, self.version, self.models)

    def setup(self) -> None:  # noqa: B027 - a captioner without weights has nothing to set up
        """Loads weights or opens connections, once per worker."""

    @abstractmethod
    def write(self, batch: ClipBatch) -> list[list[Caption]]:
        """Per clip its captions, one for each window described; none where there is nothing to say."""


def cleaned(text: str | None) -> str:
    """Text from outside as one plain line: no markup, no addresses, no control or invisible characters; composed (NFC), at most LONGEST characters."""
    plain = html.unescape(text or "")
    plain = ADDRESS.sub(" ", MARKUP.sub(" ", plain))
    # Categories C (control, format, surrogate, private use) hide or reorder text; separators of every kind become one space.
    plain = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in unicodedata.normalize("NFC", plain))
    plain = " ".join(plain.replace("<", " ").replace(">", " ").split())
    return plain if len(plain) <= LONGEST else plain[:LONGEST].rsplit(" ", 1)[0]
