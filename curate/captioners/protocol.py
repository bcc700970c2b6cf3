"""One question to an OpenAI-compatible chat endpoint: a bounded request, a bounded answer, and a plain account of what went wrong."""

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

LARGEST_ANSWER = 1 << 20
"""Bytes; a caption is a few hundred, so more is a fault or an attack."""

LONGEST_WAIT_S = 60.0
"""Most seconds of a `Retry-After` that are honoured."""

BUSY = (408, 409, 425, 429)
SHUT = (401, 403, 404, 405)


class CaptionError(RuntimeError):
    """Captioning cannot go on: the message says what the service said and what to do."""


class Refused(Exception):
    """The service will not answer this question; asking again will not help."""


class Unreachable(Exception):
    """The service did not answer; asking again may help, after `wait_s` seconds where it said so."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Answer:
    """What came back: the words, why they are no caption where they are none, and the tokens the service counted."""

    text: str
    problem: str | None
    prompt_tokens: int
    completion_tokens: int


def ask(url: str, question: Mapping[str, object], key: str | None, timeout_s: float) -> Answer:
    """POST a question to `url/chat/completions`; redirects, which would carry pictures and key to somebody else, are not followed.

    Raises:
        Unreachable: no or no whole answer in time, a server error, too many requests, or an answer that is not the protocol's.
        Refused: the service rejects this question (a 4xx answer).
        CaptionError: the service rejects us: a wrong key, address or model.
    """
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        status, told, body = _post(f"{url.rstrip('/')}/chat/completions", json.dumps(question).encode(), headers, timeout_s)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from None
    if status == 200:
        return understood(body)
    said = " ".join(body[:500].decode("utf-8", "replace").split())[:200] or http.client.responses.get(status, "")
    if status in SHUT:
        raise CaptionError(f"{url} answers {status}: {said}; check the address, the model's name and the API key")
    if 400 <= status < 500 and status not in BUSY:
        raise Refused(f"{status} {said}")
    raise Unreachable(f"{status} {said}", _wait_s(told.get("Retry-After")))


def understood(body: bytes) -> Answer:
    """The answer in a response's body.

    Raises:
        Unreachable: it is not the protocol's.
    """
    try:
        told = json.loads(body)
        choice = told["choices"][0]
        content = choice["message"].get("content")
        usage = told.get("usage") or {}
        tokens = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Unreachable(f"the answer is not the protocol's ({type(error).__name__})") from None
    text = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict)) if isinstance(content, list) else content
    if not isinstance(text, str) or not text.strip():
        refusal = choice["message"].get("refusal") or choice.get("finish_reason")
        return Answer("", f"no words in the answer ({str(refusal)[:80]})", *tokens)
    cut = choice.get("finish_reason") == "length"
    return Answer(text, "cut off at the most tokens of an answer" if cut else None, *tokens)


def _post(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of one exchange. An alarm cuts the line, since a server that drips resets every time-out of a socket."""
    address = urllib.parse.urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise CaptionError(f"{url}: an endpoint's address begins with http:// or https://")
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.netloc, timeout=timeout_s)
    connection.connect()
    alarm = threading.Timer(timeout_s, _cut, [connection.sock])
    alarm.start()
    try:
        connection.request("POST", address.path, body, headers)
        response = connection.getresponse()
        answer = response.read(LARGEST_ANSWER + 1)
        if len(answer) > LARGEST_ANSWER or response.length:
            raise Unreachable(f"the answer is cut short, or larger than {LARGEST_ANSWER} bytes")
        return response.status, dict(response.headers), answer
    finally:
        alarm.cancel()
        connection.close()


def _cut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def _wait_s(told: str | None) -> float | None:
    """Seconds of a `Retry-After`; its other form, a date, is left to our own patience."""
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(told))) if told else None
    except ValueError:
        return None
