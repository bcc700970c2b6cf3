"""The captioners: those that run unless others are asked for, and how others are asked for by name; a new one is a file and a line here."""

from curate.captioners.base import Captioner
from curate.captioners.describe import Describe
from curate.captioners.endpoint import Endpoint, Service
from curate.captioners.metadata import Metadata
from curate.captioners.protocol import CaptionError
from curate.captioners.vlm import VisionLanguage

DEFAULT: tuple[Captioner, ...] = (Metadata(), Describe())
"""In order of preference; which caption `clips` shows is stated in curate.storage.views."""

HOW_TO_NAME = (
    "metadata, describe, vlm:MODEL (a folder or a hub repository), openai:URL#MODEL (such as openai:http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct)"
)


def captioner_named(text: str) -> Captioner:
    """The captioner that a name such as `describe`, `vlm:MODEL` or `openai:URL#MODEL` stands for.

    Raises:
        CaptionError: there is no such captioner; the message lists how they are named.
    """
    kind, _, rest = text.partition(":")
    plain = {captioner.name: captioner for captioner in DEFAULT}
    if kind in plain and not rest:
        return plain[kind]
    if kind == VisionLanguage.name and rest:
        return VisionLanguage(rest)
    url, _, model = rest.partition("#")
    if kind == Endpoint.name and url and model:
        return Endpoint(Service(url, model))
    raise CaptionError(f"no captioner is called `{text}`; they are named {HOW_TO_NAME}")
