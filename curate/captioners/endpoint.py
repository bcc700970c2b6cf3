"""Captions from a vision-language model behind any OpenAI-compatible endpoint, such as a vLLM server: frames go out as images, words come back."""

import base64
import hashlib
import os
import random
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

from curate.captioners.base import Caption, Captioner, Window, windows_of
from curate.captioners.protocol import Answer, CaptionError, Refused, Unreachable, ask
from curate.scorers.base import ClipBatch, Picture

PROMPT = (
    "These frames are from one video clip, in order. Say in one or two plain English sentences what is seen and what happens. "
    "Name only what is visible. Do not mention frames, images, a camera operator or quality, and do not guess names of people."
)
GIVEN_UP_AFTER = 8
"""Clips in a row without an answer, after which the endpoint is taken for down and the run stops; what is written is kept."""


@dataclass(frozen=True)
class Service:
    """Where and how to ask.

    Attributes:
        url: the API's base, such as `http://localhost:8000/v1`.
        model: the model's name there.
        key_variable: environment variable with the API key; the key itself is never stored.
        frames: most frames sent of one window.
        window_s: longer clips are described in windows of this length, seconds.
        answer_tokens: most tokens of an answer.
        timeout_s: most seconds for one whole request, however slowly the answer drips.
        attempts: how often a request is made before the clip is left for another run.
        at_once: requests in flight.
        price_in, price_out: money per million tokens sent and received, for the account.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    frames: int = 8
    window_s: float = 20.0
    answer_tokens: int = 120
    timeout_s: float = 60.0
    attempts: int = 4
    at_once: int = 8
    price_in: float = 0.0
    price_out: float = 0.0


class Endpoint(Captioner):
    """Asks a service about each window of a clip, several at once, again after a while when it is busy or broken.

    A clip that gets no answer is not captioned and stays pending. An answer that is no caption (a refusal, nonsense) is kept with its problem.
    """

    name: ClassVar = "openai"
    version: ClassVar = "1"
    needs: ClassVar = frozenset({"proxies", "start_s", "end_s"})

    def __init__(self, service: Service, prompt: str = PROMPT) -> None:
        self.service = service
        self.prompt = prompt
        self._unanswered = 0

    def identity(self) -> str:
        """`openai@1-MODEL-DIGEST`, the digest over the prompt and what else shapes an answer."""
        told = f"{self.prompt}\n{self.service.frames}\n{self.service.window_s}\n{self.service.answer_tokens}"
        model = re.sub(r"[^A-Za-z0-9.]+", "-", self.service.model).strip("-")
        return f"{super().identity()}-{model}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Money for so many tokens, by the service's prices."""
        return (prompt_tokens * self.service.price_in + completion_tokens * self.service.price_out) / 1e6

    def write(self, batch: ClipBatch) -> list[list[Caption] | None]:
        """Captions per clip; None for a clip that got no answer.

        Raises:
            CaptionError: the service refuses us altogether (a wrong key, an unknown model), or does not answer any more.
        """
        parts = [windows_of(row, pictures, self.service.window_s) for row, pictures in zip(batch.rows, batch.pictures, strict=True)]
        with ThreadPoolExecutor(self.service.at_once) as pool:
            waiting = [[pool.submit(self._caption, window) for window in windows] for windows in parts]
            answered = [[each.result() for each in clip] for clip in waiting]
        for clip in answered:
            self._unanswered = 0 if all(clip) else self._unanswered + 1
            if self._unanswered >= GIVEN_UP_AFTER:
                raise CaptionError(f"{self.service.url} did not answer for {GIVEN_UP_AFTER} clips in a row; see that it runs, then caption again")
        return [[caption for caption in clip if caption] if all(clip) else None for clip in answered]

    def _caption(self, window: Window) -> Caption | None:
        """One window's caption; None when the service did not answer."""
        # The pause differs between windows but not between runs.
        jitter = random.Random(f"{window.start_s}{window.end_s}{len(window.pictures)}")
        for attempt in range(self.service.attempts):
            try:
                answer = ask(self.service.url, self._question(window), os.environ.get(self.service.key_variable), self.service.timeout_s)
                return self._caption_of(answer, window)
            except Refused as refusal:
                return Caption("", self.prompt, window.start_s, window.end_s, f"refused by the service: {refusal}")
            except Unreachable as failure:
                if attempt + 1 < self.service.attempts:
                    time.sleep(failure.wait_s if failure.wait_s is not None else min(30.0, 0.5 * 2**attempt) * jitter.uniform(0.5, 1.0))
        return None

    def _caption_of(self, answer: Answer, window: Window) -> Caption:
        counted = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        return Caption(answer.text, self.prompt, window.start_s, window.end_s, answer.problem, **counted)

    def _question(self, window: Window) -> dict[str, object]:
        shown = evenly(window.pictures, self.service.frames)
        images = [{"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(picture.image).decode()}"}} for picture in shown]
        return {
            "model": self.service.model,
            "messages": [{"role": "user", "content": [*images, {"type": "text", "text": self.prompt}]}],
            "max_tokens": self.service.answer_tokens,
            "temperature": 0,
            "seed": 0,
        }


def evenly(pictures: Sequence[Picture], most: int) -> list[Picture]:
    """At most so many pictures, evenly spread over all."""
    if len(pictures) <= most:
        return list(pictures)
    return [pictures[int((number + 0.5) * len(pictures) / most)] for number in range(most)]
