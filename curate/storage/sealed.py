"""Seals: a last line with the digest of all that stands before it, by which a file that was changed shows."""

import hashlib
import re

HEXADECIMAL = re.compile(rb"[0-9a-f]{20}")
"""What no last line without a seal holds, and what is left of a seal in which one character was changed."""


def sealed(text: str, comment: str = "# {}") -> bytes:
    """A text as bytes, with its seal in a line that its format takes for a comment."""
    body = (text.rstrip("\n") + "\n").encode()
    return body + _seal(body, comment)


def seal_is_broken(data: bytes, comment: str = "# {}") -> bool:
    """Whether a file has a seal that does not fit; one that was written without any has none that could break."""
    body, end, last = data.removesuffix(b"\n").rpartition(b"\n")
    return bool(HEXADECIMAL.search(last)) and _seal(body + end, comment) != data[len(body + end) :]


def _seal(body: bytes, comment: str) -> bytes:
    return comment.format(f"sha256 {hashlib.sha256(body).hexdigest()}").encode() + b"\n"
