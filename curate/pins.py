"""Pins: the digests of model files that nobody could state beforehand, recorded when a file is first fetched and held against it ever after.

As with the keys of hosts that one connects to for the first time, the first fetch is believed, and a change is not.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

PINS_VARIABLE = "CLIPMILL_PINS"
"""Environment variable that names the file of pins; else `clipmill/pins.json` in the user's configuration folder."""


class PinError(RuntimeError):
    """A file is not the one that was pinned, or the pins cannot be read; the message says what to do."""


def pins_file() -> Path:
    """Where pins are kept."""
    named = os.environ.get(PINS_VARIABLE)
    configured = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(named) if named else Path(configured) / "clipmill" / "pins.json"


def pinned(model: str, file: str) -> str | None:
    """The sha256 pinned for a model's file; None where none is."""
    entry = _read().get(f"{model}/{file}")
    return entry["sha256"] if entry else None


def pin(model: str, file: str, sha256: str, source: str) -> None:
    """Record a file's digest, for good.

    Raises:
        PinError: another one is pinned.
    """
    pins, name = _read(), f"{model}/{file}"
    before = pins.get(name)
    if before is not None and before["sha256"] != sha256:
        raise PinError(
            f"{name} has the sha256 {sha256}, and {before['sha256']} was pinned on {before['on']} from {before['source']}. "
            f"If you know why it changed, remove its entry from {pins_file()} and fetch it again"
        )
    if before is None:
        pins[name] = {"sha256": sha256, "source": source, "on": f"{datetime.now(UTC):%Y-%m-%d}"}
        path = pins_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(pins, indent=2, sort_keys=True) + "\n", "utf-8")
        partial.replace(path)


def _read() -> dict[str, dict[str, str]]:
    path = pins_file()
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text("utf-8"))
        return {str(name): {key: str(entry[key]) for key in ("sha256", "source", "on")} for name, entry in told.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise PinError(f"{path}: cannot be read as pins ({type(error).__name__}: {error}); put it right, or remove it and fetch the models again") from error
