"""Captions from a vision-language model run here through transformers: BLIP-2, Qwen-VL and their like, from the hub's cache or a folder."""

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from curate.captioners.base import Caption, Captioner, Window, windows_of
from curate.captioners.endpoint import PROMPT, evenly
from curate.embedding.compute import device_name, fixed_threads
from curate.models import ModelError, file_digest
from curate.scorers.base import OF_ONE_CLIP, ClipBatch, Unmeasured

SHAPE_AN_ANSWER = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


class VisionLanguage(Captioner):
    """Shows a model some frames of each window and keeps what it says, greedily decoded.

    A model whose processor has a chat template is shown several frames and asked; one without (BLIP-2) is shown the middle frame and goes on
    writing from `prompt`. No code from the model's repository is run, and nothing but safetensors is loaded.
    """

    name: ClassVar = "vlm"
    version: ClassVar = "1"
    needs: ClassVar = frozenset({"proxies", "start_s", "end_s"})

    def __init__(
        self, model: str, prompt: str = PROMPT, *, revision: str | None = None, frames: int = 4, window_s: float = 20.0, answer_tokens: int = 80
    ) -> None:
        """
        Args:
            model: a folder in the hub's layout, or a repository of the hub, of which a snapshot is in its cache.
            revision: the snapshot; the one the cache calls `main` when None.
            frames: most frames shown of one window.
            window_s: longer clips are described in windows of this length, seconds.
            answer_tokens: most tokens of an answer.
        """
        self.model, self.prompt, self.revision = model, prompt, revision
        self.frames, self.window_s, self.answer_tokens = frames, window_s, answer_tokens

    @cached_property
    def folder(self) -> Path:
        """Where the model's files are.

        Raises:
            ModelError: neither a folder nor in the hub's cache.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        if Path(self.model).is_dir():
            return Path(self.model)
        try:
            return Path(snapshot_download(self.model, revision=self.revision, local_files_only=True))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            wanted = f"{self.model}{f' --revision {self.revision}' if self.revision else ''}"
            raise ModelError(f"{self.model} is neither a folder nor in the hub's cache: run `hf download {wanted}` where there is a network") from error

    def identity(self) -> str:
        """`vlm@1-MODEL-DIGEST`, the digest over the model's files, the prompt and what else shapes an answer."""
        files = sorted(path for pattern in SHAPE_AN_ANSWER for path in self.folder.glob(pattern))
        told = [self.prompt, str(self.frames), str(self.window_s), str(self.answer_tokens), *(f"{path.name}:{file_digest(path)}" for path in files)]
        model = re.sub(r"[^A-Za-z0-9.]+", "-", Path(self.model).name if Path(self.model).is_dir() else self.model).strip("-")
        return f"{super().identity()}-{model}-{hashlib.sha256(chr(10).join(told).encode()).hexdigest()[:8]}"

    def setup(self) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        if not list(self.folder.glob("*.safetensors")):
            raise ModelError(f"{self.folder} has no *.safetensors file, and other formats can run code when loaded")
        safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self._device = device_name()
        kind = torch.bfloat16 if self._device == "cuda" else torch.float32
        self._processor = AutoProcessor.from_pretrained(self.folder, **safely)
        self._network = AutoModelForImageTextToText.from_pretrained(self.folder, use_safetensors=True, dtype=kind, **safely).eval().to(self._device)

    def write(self, batch: ClipBatch) -> list[list[Caption]]:
        """Captions per clip, a window each; one with a problem where a picture does not decode."""
        written = []
        for row, pictures in zip(batch.rows, batch.pictures, strict=True):
            written.append([self._caption(window) for window in windows_of(row, pictures, self.window_s)])
        return written

    def _caption(self, window: Window) -> Caption:
        try:
            said, problem = self._said(window), None
        except OF_ONE_CLIP as error:
            said, problem = "", str(error) if isinstance(error, Unmeasured) else f"{type(error).__name__}: {error}"
        return Caption(said, self.prompt, window.start_s, window.end_s, problem)

    def _said(self, window: Window) -> str:
        """What the model says of one window. One question at a time: padding beside others would change its sums."""
        from PIL import Image

        chats = bool(getattr(self._processor, "chat_template", None))
        shown = [Image.fromarray(picture.pixels) for picture in evenly(window.pictures, self.frames if chats else 1)]
        if chats:
            content = [*({"type": "image"} for _ in shown), {"type": "text", "text": self.prompt}]
            text = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        else:
            text = self.prompt
        asked = self._processor(images=shown, text=text, return_tensors="pt").to(self._device, self._network.dtype)
        with fixed_threads():
            made = self._network.generate(**asked, max_new_tokens=self.answer_tokens, do_sample=False)
        answer = made[0, asked["input_ids"].shape[1] :] if made.shape[1] > asked["input_ids"].shape[1] else made[0]
        return str(self._processor.decode(answer, skip_special_tokens=True)).strip()
