"""A source's own content credentials (C2PA): read in a process of its own, since the file is hostile until shown otherwise."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

MARK = b"c2pa"
"""Bytes that every embedded manifest store holds; files without them need no look."""

MOST_BYTES, PATIENCE_S = 1 << 20, 60
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from curate.footage.credentials import print_credentials; print_credentials(sys.argv[2])"
TRAINING = ("c2pa.ai_training", "c2pa.ai_generative_training", "c2pa.data_mining", "cawg.ai_training", "cawg.ai_generative_training")
"""Entries of the training-and-data-mining assertion (C2PA 1.4, 18.20; CAWG 1.1) that speak of what a corpus is for."""


def read_credentials(path: str) -> str | None:
    """The manifest store of a file as JSON; None where it has none that can be read."""
    try:
        done = subprocess.run([sys.executable, "-I", "-c", PROGRAM, str(ROOT), path], capture_output=True, timeout=PATIENCE_S, env={}, cwd="/", check=False)
    except subprocess.TimeoutExpired:
        return None
    told = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0 or not told or len(told) > MOST_BYTES:
        return None
    return json.dumps(json.loads(told), sort_keys=True, ensure_ascii=False)


def print_credentials(path: str) -> None:
    """What the process of its own does: print the manifest store, fetching nothing from anywhere."""
    import c2pa

    c2pa.load_settings(json.dumps({"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}))
    reader = c2pa.Reader.try_create(path)
    print(reader.json() if reader is not None else "")


def forbids_training(credentials: str | None) -> bool:
    """Whether the credentials say that the content must not be trained on."""
    if not credentials:
        return False
    told = json.loads(credentials)
    manifest = (told.get("manifests") or {}).get(told.get("active_manifest") or "", {})
    entries = [_entries(assertion) for assertion in manifest.get("assertions") or []]
    return any(entry.get(name, {}).get("use") == "notAllowed" for entry in entries for name in TRAINING)


def _entries(assertion: Any) -> dict[str, dict[str, Any]]:
    data = assertion.get("data") if isinstance(assertion, dict) else None
    entries = data.get("entries") if isinstance(data, dict) else None
    return {name: told for name, told in entries.items() if isinstance(told, dict)} if isinstance(entries, dict) else {}
