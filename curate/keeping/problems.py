"""Problems: what verification found, in words, however many there are of a kind."""

from collections.abc import Iterator, Sequence

TOLD = 20


def listed(what: str, found: Sequence[str]) -> Iterator[str]:
    """One sentence with the first of what was found; none where nothing was."""
    if found:
        more = f" and {len(found) - TOLD} more" if len(found) > TOLD else ""
        yield f"{len(found)} {what}: {', '.join(map(str, found[:TOLD]))}{more}"
