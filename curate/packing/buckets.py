"""Buckets: the class of shape, size and length in which clips can be batched together."""

import itertools

ASPECTS = (("9x16", 9 / 16), ("3x4", 3 / 4), ("1x1", 1.0), ("4x3", 4 / 3), ("16x9", 16 / 9), ("21x9", 21 / 9))
SIZES = (144, 240, 360, 480, 720, 1080, 2160)
LENGTHS = (1, 16, 32, 64, 128, 256)


def bucket(width: int, height: int, num_frames: int) -> str:
    """The bucket of a clip, such as `16x9-720p-64f`: nearest aspect by ratio, and the largest size and length it reaches."""
    aspect = min(ASPECTS, key=lambda named: max(width / height / named[1], named[1] * height / width))[0]
    size = max((step for step in SIZES if step <= min(width, height)), default=0)
    length = max((step for step in LENGTHS if step <= num_frames), default=0)
    return f"{aspect}-{size}p-{length}f"


def bucket_sql() -> str:
    """The same as SQL over a row of clips."""
    ratio = "(width / height)"
    edges = [(name, (low * high) ** 0.5) for (name, low), (_, high) in itertools.pairwise(ASPECTS)]
    aspect = "CASE " + " ".join(f"WHEN {ratio} <= {edge!r} THEN '{name}'" for name, edge in edges) + f" ELSE '{ASPECTS[-1][0]}' END"
    return f"({aspect} || '-' || {_largest('least(width, height)', SIZES)} || 'p-' || {_largest('num_frames', LENGTHS)} || 'f')"


def _largest(value: str, steps: tuple[int, ...]) -> str:
    return "CASE " + " ".join(f"WHEN {value} >= {step} THEN {step}" for step in reversed(steps)) + " ELSE 0 END"
