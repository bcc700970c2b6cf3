"""Glance: whether one picture could be a part of another, told from their miniatures, before anything is loaded.

The part is looked for among centre and off-centre crops by low frequencies. What is left of the difference once it may still shift, stretch, turn
and change contrast a little is the tangent distance (Simard, LeCun and Denker 1993, "Efficient pattern recognition using a new transformation
distance"); it must be small, and small nearly everywhere. It is laxer than `compare`, which decides.
"""

import numpy as np

from curate.copies.fingerprint import CHOSEN, COLUMNS, COSINES, LOW, ROWS, SIDE, window

AGREES = 0.8
"""Share of the deviation that the part must account for."""
PARTS, FLAT, DIFFERS, UNLIKE_SHARE = 8, 0.12, 0.6, 0.2
"""Of PARTS x PARTS parts so many may differ by more than DIFFERS of what is to be seen there."""
SHARES, PLACES = (0.95, 0.9, 0.85, 0.8), (0.0, 0.5, 1.0)
"""Crops tried, as shares of width and height, and where they lie."""
OUTLYING = 1.0
"""Deviations of the picture beyond which pixels have little say in how it is moved, and none in how well it agrees: a mark, a banner."""
HOPELESS = 0.23
"""Share of the deviation that the part may leave before it is moved; of 459 copies that pass, none leaves more than .205, and 90 % of strangers do."""
STIFFNESS = 0.05
"""Keeps directions in which a picture does not change out of the solution."""
BATCH = 64


def alike(first: np.ndarray, which: np.ndarray, second: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Whether each second picture could show a part of its first one, or all of it: bool (P,).

    Args:
        first: miniatures, uint8 (F, SIDE, SIDE).
        which: int64 (P,), which of the first each second one is held against.
        second: miniatures, uint8 (P, SIDE, SIDE).
        mirrored: bool (P,), where the second is to be mirrored.
    """
    outer, told = _even(first), np.zeros(len(second), bool)
    parts = np.concatenate([_low_parts(outer[at : at + BATCH]) for at in range(0, len(outer), BATCH)]) if len(outer) else np.empty(0)
    for at in range(0, len(second), BATCH):
        some, flipped = second[at : at + BATCH], mirrored[at : at + BATCH, None, None]
        inner, of = _even(np.where(flipped, some[:, :, ::-1], some)), which[at : at + BATCH]
        best = np.matmul(parts[of], _low(inner)[:, :, None])[:, :, 0].argmax(axis=1)
        seen = _even(_WINDOWS[_YS[best]] @ outer[of] @ _WINDOWS[_XS[best]].transpose(0, 2, 1))
        hopeful = np.flatnonzero(_left(seen - inner) <= HOPELESS)
        told[at + hopeful] = _fits(seen[hopeful], inner[hopeful])
    return told


def _fits(seen: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Whether the part seen is the inner picture, near enough: bool (P,)."""
    rest = np.abs(_rest(seen, inner))
    unlike = (_pooled(rest) / (np.maximum(_detail(seen), _detail(inner)) + FLAT) > DIFFERS).mean(axis=(1, 2))
    return (_left(rest) <= 1 - AGREES) & (unlike <= UNLIKE_SHARE)


def _left(rest: np.ndarray) -> np.ndarray:
    """Share of the deviation that is left, what lies far out cut off: float32 (P,)."""
    return (np.clip(rest, -OUTLYING, OUTLYING) ** 2).mean(axis=(1, 2))


def _even(pictures: np.ndarray) -> np.ndarray:
    """Pictures of mean 0 and deviation 1, float32 (P, SIDE, SIDE)."""
    wide = pictures.reshape(-1, SIDE**2).astype(np.float32)
    wide -= wide.mean(axis=1, keepdims=True)
    wide /= np.sqrt(np.einsum("pi,pi->p", wide, wide) / SIDE**2 + 1e-6)[:, None]
    return wide.reshape(-1, SIDE, SIDE)


_WINDOWS = np.stack([window(0.0, 1.0), *(window((1 - share) * place, share) for share in SHARES for place in PLACES)])
_YS, _XS = np.array([(0, 0), *((1 + 3 * i + y, 1 + 3 * i + x) for i in range(len(SHARES)) for y in range(3) for x in range(3))]).T
_WEIGHTS = np.sqrt(1.0 + ROWS + COLUMNS)[CHOSEN].astype(np.float32)
_GROUPS = [(COSINES @ windows).reshape(-1, SIDE) for windows in (_WINDOWS[:1], *_WINDOWS[1:].reshape(len(SHARES), len(PLACES), SIDE, SIDE))]
_STEP = np.asarray(np.gradient(np.eye(SIDE, dtype=np.float32), axis=0))
_POOL = np.kron(np.eye(PARTS), np.full((1, SIDE // PARTS), PARTS / SIDE)).astype(np.float32)
_SPREAD = _POOL.T @ _POOL
_ACROSS, _DOWN = np.meshgrid(np.linspace(-1, 1, SIDE, dtype=np.float32), np.linspace(-1, 1, SIDE, dtype=np.float32))


def _low_parts(outer: np.ndarray) -> np.ndarray:
    """Low frequencies of every crop of some pictures, of length one: float32 (P, crops, frequencies)."""
    made = []
    for windows in _GROUPS:
        places = len(windows) // LOW
        found = (windows @ outer @ windows.T).reshape(-1, places, LOW, places, LOW).transpose(0, 1, 3, 2, 4)
        made.append(found[..., CHOSEN].reshape(len(outer), places**2, -1) * _WEIGHTS)
    parts = np.concatenate(made, axis=1)
    return parts / (np.linalg.norm(parts, axis=2, keepdims=True) + 1e-6)


def _low(pictures: np.ndarray) -> np.ndarray:
    """Low frequencies of whole pictures: float32 (P, frequencies)."""
    return (COSINES @ pictures @ COSINES.T)[:, CHOSEN] * _WEIGHTS


def _rest(seen: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """What of the inner pictures the seen ones do not account for, though they may move a little: float32 (P, SIDE, SIDE)."""
    down, across = _STEP @ seen, seen @ _STEP.T
    moved = (seen, seen**2, down, _DOWN * down, _ACROSS * down, across, _DOWN * across, _ACROSS * across)
    ways = np.stack(moved, axis=1).reshape(len(seen), len(moved), SIDE**2)
    ways -= ways.mean(axis=2, keepdims=True)
    target = inner.reshape(len(inner), SIDE**2, 1)
    left = target - _solved(ways, ways, target)
    weights = 1 / (1 + (left / OUTLYING) ** 2)
    return (target - _solved(ways, ways * weights.transpose(0, 2, 1), target)).reshape(inner.shape)


def _solved(ways: np.ndarray, weighed: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The sum of ways (P, W, pixels) that is nearest the target (P, pixels, 1), pixels weighed as they are in the second."""
    normal = weighed @ ways.transpose(0, 2, 1) + STIFFNESS * np.eye(ways.shape[1], dtype=np.float32)
    return ways.transpose(0, 2, 1) @ np.linalg.solve(normal, weighed @ target)


def _pooled(pictures: np.ndarray) -> np.ndarray:
    """Means of PARTS x PARTS parts."""
    return _POOL @ pictures @ _POOL.T


def _detail(pictures: np.ndarray) -> np.ndarray:
    """How much each part deviates from its own mean."""
    return _pooled(np.abs(pictures - _SPREAD @ pictures @ _SPREAD.T * (SIDE // PARTS) ** 2))
