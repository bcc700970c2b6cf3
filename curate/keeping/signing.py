"""Signed statements: JSON with an Ed25519 signature over its canonical bytes, and the public key to check it with."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.document import DocumentError

RAW, PEM = serialization.Encoding.Raw, serialization.Encoding.PEM


def key_file() -> Path:
    """Where this person's signing key lies: `$CLIPMILL_SIGNING_KEY`, or below their configuration folder. Never in a corpus."""
    stated = os.environ.get("CLIPMILL_SIGNING_KEY")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(stated) if stated else home / "clipmill" / "signing-key.pem"


def signing_key() -> Ed25519PrivateKey:
    """This person's key; made at first use, readable by them alone.

    Raises:
        DocumentError: the file holds no Ed25519 key, or one that asks for a password.
    """
    path = key_file()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Ed25519PrivateKey.generate().private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise DocumentError(f"{path}: holds no Ed25519 key in PEM without a password; name another file in CLIPMILL_SIGNING_KEY")
    return key


def signed(statement: Mapping[str, Any]) -> bytes:
    """The statement with this person's public key and signature, as JSON."""
    key = signing_key()
    public = key.public_key().public_bytes(RAW, serialization.PublicFormat.Raw)
    told = {"statement": statement, "public_key": _text(public), "signature": _text(key.sign(canonical(statement))), "algorithm": "Ed25519"}
    return json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False).encode()


def checked(data: bytes) -> dict[str, Any] | None:
    """The statement, where its signature is that of the key beside it; None where it is not. Whose key it is, is for people to know."""
    try:
        told = json.loads(data)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(told["public_key"]))
        key.verify(base64.b64decode(told["signature"]), canonical(told["statement"]))
    except (ValueError, KeyError, TypeError, InvalidSignature):
        return None
    return told["statement"]


def canonical(statement: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: JSON with sorted keys and no spaces."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
