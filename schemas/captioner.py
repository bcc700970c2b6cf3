"""CaptionModel: which model puts clips into words, where it is, what it is asked and what that costs; written in TOML."""

from typing import Literal

from pydantic import Field, model_validator

from schemas.document import Document

OF_A_SERVICE = ("url", "key_variable", "timeout_s", "attempts", "at_once", "price_in", "price_out")


class CaptionModel(Document):
    """A vision-language model: behind an OpenAI-compatible endpoint, or run here. What is left out is the captioner's own choice."""

    kind: Literal["openai", "vlm"] = Field(default="openai", description="`openai`: any OpenAI-compatible endpoint, such as a vLLM server; `vlm`: run here")
    model: str = Field(min_length=1, description="the model's name at the endpoint; of a `vlm` a folder, or a repository of the hub")
    revision: str | None = Field(default=None, description="of a `vlm` from the hub: the snapshot")
    prompt: str | None = Field(default=None, min_length=1, description="what the model is asked about the pictures of each window")
    frames: int | None = Field(default=None, ge=1, description="most pictures shown of one window")
    window_s: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="longer clips are described in windows of this length, seconds")
    answer_tokens: int | None = Field(default=None, ge=1, description="most tokens of an answer")
    url: str | None = Field(default=None, pattern=r"^https?://", description="the endpoint's base, such as http://localhost:8000/v1")
    key_variable: str | None = Field(
        default=None, min_length=1, description="environment variable that holds the API key (OPENAI_API_KEY); the key is never stored"
    )
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="most seconds for one request")
    attempts: int | None = Field(default=None, ge=1, description="how often a request is made before the clip is left for another run")
    at_once: int | None = Field(default=None, ge=1, description="requests in flight")
    price_in: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="money per million tokens sent")
    price_out: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="money per million tokens received")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "CaptionModel":
        if self.kind == "openai" and self.url is None:
            raise ValueError("an `openai` captioner needs `url`, such as http://localhost:8000/v1")
        if self.kind == "openai" and self.revision is not None:
            raise ValueError("`revision` is of a model that is run here (kind = 'vlm')")
        foreign = [name for name in OF_A_SERVICE if getattr(self, name) is not None] if self.kind == "vlm" else []
        if foreign:
            raise ValueError(f"`{foreign[0]}` is of a service (kind = 'openai'), and a `vlm` runs here")
        return self
