"""Recipe: what a selection keeps, written in TOML; the only place where anything is decided."""

import difflib
import importlib.resources
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from schemas.clip import CLIPS
from schemas.document import Document, DocumentError, read_document

NUMERIC, TEXTUAL = "a number", "text"


class Range(Document):
    """What one column of `clips` must satisfy. A null never satisfies it: unknown is not kept.

    `min` and `max` are inclusive and apply to numbers; `any_of` and `none_of` apply to text and lists of text.
    """

    min: float | None = None
    max: float | None = None
    any_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Range":
        if self.min is None and self.max is None and not self.any_of and not self.none_of:
            raise ValueError("says nothing; give min, max, any_of or none_of")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}, so nothing would be kept")
        return self


class Duplicates(Document):
    """What to do with near-duplicates: keep the best copy of each cluster, or all."""

    keep: Literal["best", "all"] = "best"


class Encoding(Document):
    """How selected clips are cut and encoded when they are packed."""

    mode: Literal["encode", "copy"] = "encode"
    height: int | None = Field(default=None, ge=16, description="pixels of the shorter side; None keeps the source's size")
    fps: float | None = Field(default=None, gt=0, description="frames per second; None keeps the source's frames")
    crf: int = Field(default=18, ge=0, le=51)
    audio: Literal["drop", "keep"] = "drop"
    shard_mb: float = Field(default=256, gt=0, description="megabytes after which a new shard is begun")


class Recipe(Document):
    """A selection rule over the table of clips."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    description: str = ""
    seed: int = 0
    keep: dict[str, Range] = Field(default_factory=dict)
    duplicates: Duplicates = Duplicates()
    scorers: dict[str, str] = Field(default_factory=dict, description="column to the scorer it was tuned for, such as aesthetic = 'handcrafted@1'")
    encoding: Encoding = Encoding()

    @field_validator("keep")
    @classmethod
    def _columns_exist(cls, keep: dict[str, Range]) -> dict[str, Range]:
        for name, wanted in keep.items():
            if name not in CLIPS.names:
                near = difflib.get_close_matches(name, CLIPS.names, n=1)
                raise ValueError(f"`{name}` is not a column of clips{f'; did you mean `{near[0]}`?' if near else ''}")
            kind = kind_of(CLIPS.field(name).type)
            if kind == TEXTUAL and (wanted.min is not None or wanted.max is not None):
                raise ValueError(f"`{name}` holds text: use any_of or none_of, not min or max")
            if kind == NUMERIC and (wanted.any_of or wanted.none_of):
                raise ValueError(f"`{name}` holds numbers: use min or max, not any_of or none_of")
        return keep


def kind_of(type_: pa.DataType) -> str:
    """Whether a column is ranged over by numbers or by words."""
    return NUMERIC if pa.types.is_integer(type_) or pa.types.is_floating(type_) else TEXTUAL


def read_recipe(file_or_name: str | Path) -> Recipe:
    """A recipe from a TOML file, or by the name of one that ships with clipmill (`pipelines/recipes`).

    Raises:
        DocumentError: there is no such recipe, or it is wrong; the message says where and what is allowed.
    """
    if Path(file_or_name).suffix == ".toml" or Path(file_or_name).exists():
        return read_document(file_or_name, Recipe)
    shipped = importlib.resources.files("pipelines") / "recipes"
    names = sorted(Path(str(entry)).stem for entry in shipped.iterdir() if str(entry).endswith(".toml"))
    if str(file_or_name) not in names:
        raise DocumentError(f"no recipe `{file_or_name}`: give a .toml file, or one of the shipped names: {', '.join(names)}")
    return read_document(str(shipped / f"{file_or_name}.toml"), Recipe)
