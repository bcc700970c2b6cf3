"""Captions from what the owner said: title, description and tags, cleaned."""

import re

from curate.captioners.base import Caption, Captioner, cleaned
from curate.scorers.base import ClipBatch

MOST_WORDS = 60
"""Text encoders of the CLIP family read 77 tokens; what is beyond is lost anyway."""

SENTENCE = re.compile(r"(?<=[.!?])\s+")


class Metadata(Captioner):
    """Title, then the description's sentences as far as MOST_WORDS goes; tags only where neither was given. The whole source's clips share it."""

    name = "metadata"
    version = "1"
    needs = frozenset({"title", "description", "tags"})

    def write(self, batch: ClipBatch) -> list[list[Caption]]:
        return [[Caption(text)] if (text := told(row)) else [] for row in batch.rows]


def told(row: dict[str, object]) -> str:
    """One caption from a row's title, description and tags; empty when there is nothing."""
    title, description = (cleaned(str(row.get(name) or "")) for name in ("title", "description"))
    given = row.get("tags")
    tags = [tag for tag in (cleaned(str(tag)) for tag in given) if tag] if isinstance(given, (list, tuple)) else []
    sentences = [title, *SENTENCE.split(description)] if title.lower() not in description.lower() else SENTENCE.split(description)
    said: list[str] = []
    for sentence in (sentence for sentence in sentences if sentence):
        if said and len(" ".join([*said, sentence]).split()) > MOST_WORDS:
            break
        said.append(sentence if sentence[-1] in ".!?" else f"{sentence}.")
    return " ".join(" ".join(said).split()[:MOST_WORDS]) or ", ".join(tags)
