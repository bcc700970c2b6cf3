"""Last words: what FFmpeg said before it failed, the same for the same failure: without the addresses in memory by which it calls its parts."""

import re


def last_words(said: bytes) -> str:
    """The last line that it wrote to standard error; a ledger and a manifest may hold it, so it must not differ from run to run."""
    lines = said.decode(errors="replace").strip().splitlines()
    return re.sub(r" @ 0x[0-9a-f]+", "", lines[-1]) if lines else "no reason given"
