"""Documents people write (recipes, runs, experiments, policies): TOML into frozen pydantic models, with errors that name the line and the allowed values."""

import difflib
import re
import tomllib
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
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise DocumentError(f"{path}: is not valid TOML: {error}") from None
    return parse_document(data, model, str(path), text)


def parse_document(data: dict[str, Any], model: type[Model], where: str, text: str = "") -> Model:
    """Validate already parsed data; `text` lets errors name a line."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        told = [f"{where}{_line(text, item['loc'])}: {_explain(item, model)}" for item in error.errors()]
        raise DocumentError("\n".join(told)) from None


def _line(text: str, location: tuple[int | str, ...]) -> str:
    """`, line N` for the key an error is about, where it can be found."""
    keys = [str(part) for part in location if isinstance(part, str)]
    lines = text.splitlines()
    for key in reversed(keys):
        pattern = re.compile(rf'^\s*(\[+[^\]]*\b{re.escape(key)}\b[^\]]*\]+|"?{re.escape(key)}"?\s*=|.*[{{,]\s*"?{re.escape(key)}"?\s*=)')
        for number, line in enumerate(lines, start=1):
            if pattern.match(line):
                return f", line {number}"
    return ""


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
