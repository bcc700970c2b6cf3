"""Documents people write (recipes, runs, experiments, policies): TOML into frozen pydantic models, with errors that name the line and the allowed values."""

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Document(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentError(ValueError):
    """A mistake in a document: the message says where (file and line), what is wrong and what is allowed."""


Model = TypeVar("Model", bound=Document)


def read_document(path: str | Path, model: type[Model]) -> Model:
    """Read one TOML file as `model`.

    Raises:
        DocumentError: the file is missing, is not TOML, or does not fit the model.
    """
    data, text = read_toml(path)
    return parse_document(data, model, str(path), text)


def read_toml(path: str | Path) -> tuple[dict[str, Any], str]:
    """What a TOML file says, and its text.

    Raises:
        DocumentError: the file is missing or is not TOML.
    """
    try:
        return parse_toml(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}") from None


def parse_toml(data: bytes, where: str) -> tuple[dict[str, Any], str]:
    """What TOML says, and its text.

    Raises:
        DocumentError: it is not TOML.
    """
    try:
        text = data.decode()
        return tomllib.loads(text), text
    except UnicodeDecodeError as error:
        raise DocumentError(f"{where}: is not UTF-8 text ({error.reason} at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise DocumentError(f"{where}: is not valid TOML: {error}") from None


def parse_document(data: dict[str, Any], model: type[Model], where: str, text: str = "") -> Model:
    """Validate already parsed data; `text` lets errors name a line."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        told = [f"{where}{_line(text, item)}: {_explain(item, model)}" for item in error.errors()]
        raise DocumentError("\n".join(told)) from None


KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
HEADER = re.compile(rf"^\s*(\[\[?)\s*({KEY}(?:\s*\.\s*{KEY})*)\s*\]")
ASSIGNED = re.compile(rf"(?:^|[{{,])\s*({KEY}(?:\s*\.\s*{KEY})*)\s*=")
NAMED = re.compile(r"`([^`]+)`")


def _line(text: str, item: Any) -> str:
    """`, line N` for the key an error is about, where it can be found: the line that agrees with the longest part of its place."""
    wanted = [*item["loc"], *NAMED.findall(item["msg"])[:1]]
    best, found = 0, 0
    for number, place in _places(text):
        agreeing = next((at for at, (told, here) in enumerate(zip(wanted, place)) if told != here), min(len(wanted), len(place)))
        if agreeing > best:
            best, found = agreeing, number
    return f", line {found}" if found else ""


def _places(text: str) -> Iterator[tuple[int, list[int | str]]]:
    """Each line that defines keys, with the whole place of each: tables above it, its keys, and the keys inside its braces."""
    table: list[int | str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = [*_parts(header[2])]
            if header[1] == "[[":
                seen[header[2]] = seen.get(header[2], -1) + 1
                table.append(seen[header[2]])
            yield number, table
            continue
        own: list[int | str] = []
        for assigned in ASSIGNED.finditer(line):
            keys = _parts(assigned[1])
            own = own or keys
            yield number, [*table, *own] if keys is own else [*table, *own, *keys]


def _parts(dotted: str) -> list[int | str]:
    return [part.strip("\"'") for part in re.findall(KEY, dotted)]


def _explain(item: Any, model: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in item["loc"]) or model.__name__
    if item["type"] == "extra_forbidden":
        allowed = _fields_at(model, item["loc"][:-1])
        wrong = str(item["loc"][-1])
        near = difflib.get_close_matches(wrong, allowed, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        return f"`{name}` is not a key here{hint}" + (f" (allowed: {', '.join(sorted(allowed))})" if allowed else "")
    if item["type"] == "missing":
        return f"`{name}` is missing"
    message = item["msg"].removeprefix("Value error, ")
    return f"`{name}`: {message}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at a location, following nested models."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        field = getattr(current, "model_fields", {}).get(part)
        current = _model_in(field.annotation) if field is not None else current
    return list(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    """The first pydantic model inside an annotation such as `tuple[Phase, ...]` or `Phase | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in getattr(annotation, "__args__", ()) if (found := _model_in(inner)) is not None), None)
