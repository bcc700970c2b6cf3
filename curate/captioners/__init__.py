"""The captioners: those that run unless others are asked for, and how others are asked for by name; a new one is a file and a line here."""

from collections.abc import Mapping
from typing import Any

from curate.captioners.base import Captioner
from curate.captioners.describe import Describe
from curate.captioners.endpoint import Endpoint, Service
from curate.captioners.metadata import Metadata
from curate.captioners.protocol import CaptionError
from curate.captioners.vlm import VisionLanguage
from schemas.captioner import OF_A_SERVICE, CaptionModel
from schemas.document import parse_document, read_toml

DEFAULT: tuple[Captioner, ...] = (Metadata(), Describe())
"""In order of preference; which caption `clips` shows is stated in curate.storage.views."""

HOW_TO_NAME = (
    "metadata, describe, vlm:MODEL (a folder or a hub repository), openai:URL#MODEL (such as openai:http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct), "
    "or a .toml file that says more (docs/documents.md, Caption model)"
)
SHAPING = ("frames", "window_s", "answer_tokens")


def captioner_named(text: str, settings: Mapping[str, object] | None = None) -> Captioner:
    """The captioner that `describe`, `vlm:MODEL`, `openai:URL#MODEL` or a TOML file (`CaptionModel`) stands for.

    Args:
        settings: of `CaptionModel`; they stand over the file's. Captioners without a model have none, and leave them alone.

    Raises:
        CaptionError: there is no such captioner; the message lists how they are named.
        DocumentError: the file is wrong, or a setting is; the message says where and what is allowed.
    """
    kind, _, rest = text.partition(":")
    plain = {captioner.name: captioner for captioner in DEFAULT}
    if kind in plain and not rest:
        return plain[kind]
    url, _, model = rest.partition("#")
    if text.endswith(".toml"):
        told, document = read_toml(text)
    elif kind == VisionLanguage.name and rest:
        told, document = {"kind": kind, "model": rest}, ""
    elif kind == Endpoint.name and url and model:
        told, document = {"kind": kind, "url": url, "model": model}, ""
    else:
        raise CaptionError(f"no captioner is called `{text}`; they are named {HOW_TO_NAME}")
    return captioner_of(parse_document({**told, **(settings or {})}, CaptionModel, text, document))


def captioner_of(asked: CaptionModel) -> Captioner:
    """The captioner with those settings; what they leave out is its own choice."""

    def given(*names: str) -> dict[str, Any]:
        return asked.model_dump(include=set(names), exclude_none=True)

    if asked.kind == VisionLanguage.name:
        return VisionLanguage(asked.model, **given("revision", "prompt", *SHAPING))
    return Endpoint(Service(model=asked.model, **given(*OF_A_SERVICE, *SHAPING)), **given("prompt"))
