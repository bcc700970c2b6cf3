"""Recipe: what a selection keeps, written in TOML; the only place where anything is decided."""

import difflib
import importlib.resources
import os
import re
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator, model_validator

from schemas.clip import CLIPS, SCORED
from schemas.document import Document, DocumentError, parse_document, read_toml
from schemas.rights import MOST_DAYS, territory

NUMERIC, TEXTUAL = "a number", "text"
ANY_SCORER = "any"
TOLD = {NUMERIC: re.compile(r"[^{}]*\{(:\.\df)?\}[^{}]*"), TEXTUAL: re.compile(r"[^{}]*\{\}[^{}]*")}
"""Phrases that may follow a caption: nothing but the value is looked up in them."""
BUCKET = "bucket"


class Range(Document):
    """What one column of `clips` must satisfy. A null never satisfies it: unknown is not kept.

    `min` and `max` are inclusive and apply to numbers; `any_of` and `none_of` apply to text and lists of text.
    """

    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)
    any_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Range":
        if self.min is None and self.max is None and not self.any_of and not self.none_of:
            raise ValueError("says nothing; give min, max, any_of or none_of")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}, so nothing would be kept")
        if self.any_of and set(self.any_of) <= set(self.none_of or ()):
            raise ValueError(f"none_of refuses all that any_of asks for ({', '.join(self.any_of)}), so nothing would be kept")
        return self


class RightsTerms(Document):
    """What the rights of a source must allow, beyond its term, which is always checked."""

    stated: bool = Field(default=False, description="refuse sources whose rights nobody stated")
    uses: tuple[str, ...] = Field(default=(), description="every one of these uses must be permitted, such as train or redistribute")
    any_of: tuple[str, ...] = Field(default=(), description="the licence must be one of these")
    none_of: tuple[str, ...] = Field(default=(), description="the licence must be none of these")
    territories: tuple[str, ...] = Field(default=(), description="every one of these must be covered (ISO 3166, such as DE or US-CA); `worldwide` covers all")
    releases: tuple[str, ...] = Field(default=(), description="releases that must be at hand, such as people, property")
    days_left: int = Field(default=0, ge=0, le=MOST_DAYS, description="days for which the rights must still hold; the policy's count where they are more")

    @field_validator("territories")
    @classmethod
    def _are_territories(cls, territories: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(territory(name) for name in territories)


class Duplicates(Document):
    """What to do with near-duplicates, and with clips that are alike: keep the best that passes every rule, or all."""

    keep: Literal["best", "all"] = "best"
    semantic: float | None = Field(default=None, gt=0, le=1, description="of clips with at least this `semantic_similarity`, keep the best as well")


class Quotas(Document):
    """How many clips of each group are kept: at most so many, or in balance with the smallest group."""

    by: str = Field(description="a text column of clips, such as category, or `bucket` (aspect, size and length)")
    most: int | None = Field(default=None, ge=0, description="clips of any one group")
    of: dict[str, int] = Field(default_factory=dict, description="clips of one group, instead of `most`")
    balance: float | None = Field(default=None, ge=1, le=1e9, description="no group keeps more than this many times the clips of the smallest")

    @field_validator("by")
    @classmethod
    def _groups_exist(cls, by: str) -> str:
        allowed = [BUCKET, *(field.name for field in CLIPS if pa.types.is_string(field.type))]
        if by not in allowed:
            raise ValueError(f"`{by}` does not group clips; use one of {', '.join(allowed)}")
        return by

    @field_validator("of")
    @classmethod
    def _counts(cls, of: dict[str, int]) -> dict[str, int]:
        for group, count in of.items():
            if count < 0:
                raise ValueError(f"`{group}` asks for {count} clips; give 0 or more")
        return of


class Caps(Document):
    """How much one source may contribute, so that a long film does not drown the rest."""

    clips: int | None = Field(default=None, ge=1, description="clips of one source")
    hours: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="hours of one source")


class Split(Document):
    """A part of the corpus kept apart for validation: whole clusters of copies, with what is alike to them and the rest of their shots.

    Recipes with the same share and seed agree about it, whatever else they ask. Adding footage moves no clip that it does not join to others.
    """

    held_out: float = Field(gt=0, lt=1, description="about this share of such groups is set aside")
    seed: int = 0
    part: Literal["training", "held_out"] = Field(default="training", description="which part this recipe keeps clips of")


class Sampling(Document):
    """How much is kept of what passes every rule, and what is preferred."""

    clips: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    weight: str | None = Field(default=None, description="column whose value makes a clip likelier to be drawn; null or not above 0 is drawn last")

    @field_validator("weight")
    @classmethod
    def _is_a_number(cls, weight: str | None) -> str | None:
        if weight is not None and (weight not in CLIPS.names or kind_of(CLIPS.field(weight).type) != NUMERIC):
            raise ValueError(f"`{weight}` is not a column of clips that holds numbers")
        return weight


class Encoding(Document):
    """How selected clips are cut and encoded when they are packed."""

    mode: Literal["encode", "copy"] = "encode"
    height: int | None = Field(default=None, ge=16, le=16384, description="pixels of the shorter side; None keeps the source's size")
    fps: float | None = Field(default=None, gt=0, le=1000, description="frames per second; None keeps the source's frames")
    codec: Literal["h264", "av1", "h264_nvenc", "av1_nvenc"] = Field(default="h264", description="NVENC needs an NVIDIA GPU, and promises no equal bytes")
    crf: int = Field(default=18, ge=0, le=51, description="constant quality, on the codec's own scale (AV1's 30 is about H.264's 18)")
    audio: Literal["drop", "keep", "separate"] = Field(
        default="drop", description="`keep` lays it into the MP4; `separate` puts a FLAC of exactly the clip beside it, and clips without sound in shards apart"
    )
    shard_mb: float = Field(default=256.0, gt=0, allow_inf_nan=False, description="megabytes after which a new shard is begun")
    buckets: bool = Field(default=False, description="one bucket (aspect, size and length) to a shard")


class Recipe(Document):
    """A selection rule over the table of clips."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    description: str = ""
    extends: str | None = Field(default=None, description="a recipe (file beside this one, or shipped name) whose settings hold where this one says nothing")
    drop: tuple[str, ...] = Field(default=(), description="columns of the extended recipe's `keep` on which this one does not rule")
    seed: int = 0
    keep: dict[str, Range] = Field(default_factory=dict)
    rights: RightsTerms = RightsTerms()
    duplicates: Duplicates = Duplicates()
    caps: Caps = Caps()
    quotas: Quotas | None = None
    sample: Sampling = Sampling()
    split: Split | None = None
    scorers: dict[str, str] = Field(default_factory=dict, description="column to the scorer it was tuned for, such as aesthetic = 'handcrafted@1', or 'any'")
    conditioning: dict[str, str] = Field(
        default_factory=dict, description="column to the phrase that tells its value after the caption, such as aesthetic = 'aesthetic {:.1f}'"
    )
    encoding: Encoding = Encoding()

    @field_validator("keep", "scorers")
    @classmethod
    def _columns_exist(cls, given: dict[str, Range] | dict[str, str], info: ValidationInfo) -> dict[str, Range] | dict[str, str]:
        for name, wanted in given.items():
            if name not in CLIPS.names:
                near = difflib.get_close_matches(name, CLIPS.names, n=1)
                raise ValueError(f"`{name}` is not a column of clips{f'; did you mean `{near[0]}`?' if near else ''}")
            if info.field_name == "scorers" and name not in {field.name for field in SCORED}:
                raise ValueError(f"no scorer writes `{name}`; scorers write {', '.join(field.name for field in SCORED)}")
            if isinstance(wanted, Range):
                _fits(name, wanted)
        return given

    @field_validator("conditioning")
    @classmethod
    def _phrases_hold_one_value(cls, phrases: dict[str, str]) -> dict[str, str]:
        for name, phrase in phrases.items():
            kind = TOLD.get(kind_of(CLIPS.field(name).type)) if name in CLIPS.names and _tellable(CLIPS.field(name).type) else None
            if kind is None:
                told = [field.name for field in CLIPS if _tellable(field.type)]
                raise ValueError(f"`{name}` cannot be told in a caption; use one of {', '.join(told)}")
            if not kind.fullmatch(phrase):
                raise ValueError(f"`{phrase}` must hold its value once, as {{}} or, of a number, {{:.1f}}, and no other braces")
        return phrases


def _fits(name: str, wanted: Range) -> None:
    """Refuse a range over words, and words over numbers."""
    type_ = CLIPS.field(name).type
    if kind_of(type_) == TEXTUAL and (wanted.min is not None or wanted.max is not None):
        raise ValueError(f"`{name}` holds text: use any_of or none_of, not min or max")
    if kind_of(type_) == NUMERIC and (wanted.any_of or wanted.none_of):
        raise ValueError(f"`{name}` holds numbers: use min or max, not any_of or none_of")
    if not _rulable(type_):
        raise ValueError(f"`{name}` holds {type_}, which no rule can compare")


def kind_of(type_: pa.DataType) -> str:
    """Whether a column is ranged over by numbers or by words."""
    return NUMERIC if pa.types.is_integer(type_) or pa.types.is_floating(type_) else TEXTUAL


def _tellable(type_: pa.DataType) -> bool:
    """A number or a word can be told in a phrase; lists cannot."""
    return pa.types.is_string(type_) or kind_of(type_) == NUMERIC


def _rulable(type_: pa.DataType) -> bool:
    """Numbers, text and lists of text can be compared with a range; boxes and maps cannot."""
    return kind_of(type_) == NUMERIC or pa.types.is_string(type_) or (pa.types.is_list(type_) and pa.types.is_string(type_.value_type))


def read_recipe(file_or_name: str | Path) -> Recipe:
    """A recipe from a TOML file, or by the name of one that ships with clipmill (`pipelines/recipes`), with what it extends.

    Raises:
        DocumentError: there is no such recipe, it is wrong, or it extends itself; the message says where and what is allowed.
    """
    return _read(_find(str(file_or_name), beside=None), ())


def _read(path: Path, below: tuple[Path, ...]) -> Recipe:
    """The recipe in a file. `below` are the files that led here by `extends`."""
    data, text = read_toml(path)
    parent = data.get("extends")
    if not isinstance(parent, str):
        return parse_document(data, Recipe, str(path), text)
    try:
        found = _find(parent, beside=path.parent)
    except DocumentError as error:
        raise DocumentError(f"{path}: `extends`: {error}") from None
    chain = (*below, path)
    if any(found.resolve() == step.resolve() for step in chain):
        raise DocumentError(f"{path}: `extends`: the recipes extend one another in a circle: {' -> '.join(step.name for step in (*chain, found))}")
    inherited = _read(found, chain).model_dump(mode="json", exclude_unset=True, exclude={"name", "description", "extends", "drop"})
    return parse_document(_laid_over(inherited, data, path), Recipe, str(path), text)


def _laid_over(inherited: dict[str, Any], data: dict[str, Any], path: Path) -> dict[str, Any]:
    """The extended recipe's settings under this one's: tables are joined key by key, and a column's range is replaced whole."""
    rules = dict(inherited.get("keep", {}))
    dropped = data.get("drop", [])
    for name in dropped if isinstance(dropped, list) else []:
        if name not in rules:
            raise DocumentError(f"{path}: `drop`: the extended recipe has no rule on `{name}`; it rules on {', '.join(rules) or 'nothing'}")
        del rules[name]
    joined = {**inherited, "keep": rules}
    for key, value in data.items():
        both = isinstance(value, dict) and isinstance(joined.get(key), dict)
        joined[key] = {**joined[key], **value} if both else value
    return joined


def _find(file_or_name: str, beside: Path | None) -> Path:
    """The file of a recipe, looked for where it is named and then among those that ship."""
    path = Path(file_or_name) if beside is None else beside / file_or_name
    if path.suffix == ".toml" or os.path.isfile(path):
        return path
    shipped = Path(str(importlib.resources.files("pipelines"))) / "recipes"
    names = sorted(entry.stem for entry in shipped.glob("*.toml"))
    if file_or_name not in names:
        raise DocumentError(f"no recipe `{file_or_name}`: give a .toml file, or one of the shipped names: {', '.join(names)}")
    return shipped / f"{file_or_name}.toml"
