"""Conditioning: a caption followed by the scores that a recipe wants a model to be told, such as `a boat leaves the harbour, aesthetic 5.2`."""

from collections.abc import Mapping
from typing import Any

from curate.captioners.base import cleaned


def conditioned(caption: str, clip: Mapping[str, Any], phrases: Mapping[str, str]) -> str:
    """The caption with a phrase for every column that has a value; as it is where there is none.

    Args:
        caption: what `clips` shows; may be empty.
        clip: a row of clips.
        phrases: column to the phrase that carries its value (`schemas.recipe.Recipe.conditioning`), in the order they are told.
    """
    values = {column: cleaned(clip[column]) if isinstance(clip[column], str) else clip[column] for column in phrases if clip[column] is not None}
    told = [phrases[column].format(value) for column, value in values.items()]
    return ", ".join(part for part in (caption.rstrip(". ") if told else caption, *told) if part)
