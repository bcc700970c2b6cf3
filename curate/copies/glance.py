"""Glance: whether one picture could be a part of another, told from their miniatures, before anything is loaded.

The part is looked for among centre and off-centre crops by low frequencies. What is left of the difference once it may still shift, stretch, turn
and change contrast a little is the tangent distance (Simard, LeCun and Denker 1993, "Efficient pattern recognition using a new transformation
distance"); it must be small, and small nearly everywhere. It is laxer than `compare`, which decides.
"""

import cv2
import numpy as np

from curate.copies.fingerprint import SIDE

AGREES = 0.85
"""Share of the deviation that the part must account for."""
PARTS, FLAT, DIFFERS, UNLIKE_SHARE = 8, 0.12, 0.6, 0.2
"""Of PARTS x PARTS parts so many may differ by more than DIFFERS of what is to be seen there."""
SHARES, PLACES = (0.95, 0.9, 0.85, 0.8), (0.0, 0.5, 1.0)
"""Crops tried, as shares of width and height, and where they lie."""
LOW = 10
STIFFNESS = 0.05
"""Keeps directions in which a picture does not change out of the solution."""
BATCH = 1024


def alike(first: np.ndarray, second: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Whether each second picture could show a part of the first, or all of it: bool (P,).

    Args:
        first: miniatures, uint8 (P, SIDE, SIDE).
        second: the same.
        mirrored: bool (P,), where the second is to be mirrored.
    """
    told = [_alike(first[at : at + BATCH], second[at : at + BATCH], mirrored[at : at + BATCH]) for at in range(0, len(first), BATCH)]
    return np.concatenate(told) if told else np.empty(0, bool)


def _alike(first: np.ndarray, second: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    outer, inner = _even(first), _even(np.where(mirrored[:, None, None], second[:, :, ::-1], second))
    seen = _nearest_part(outer, inner)
    rest = _rest(seen, inner)
    unlike = (_pooled(np.abs(rest)) / (np.maximum(_detail(seen), _detail(inner)) + FLAT) > DIFFERS).mean(axis=(1, 2))
    return ((rest**2).mean(axis=(1, 2)) <= 1 - AGREES) & (unlike <= UNLIKE_SHARE)


def _even(pictures: np.ndarray) -> np.ndarray:
    """Pictures of mean 0 and deviation 1, float32."""
    wide = pictures.astype(np.float32)
    wide -= wide.mean(axis=(1, 2), keepdims=True)
    return wide / (wide.std(axis=(1, 2), keepdims=True) + 1e-6)


def _window(start: float, share: float) -> np.ndarray:
    """Takes SIDE pixels to SIDE that show the stretch from `start` for `share` of them, by linear interpolation: float32 (SIDE, SIDE)."""
    at = np.clip((start + share * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5, 0, SIDE - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(SIDE))).astype(np.float32)


_WINDOWS = np.stack([_window(0.0, 1.0), *(_window((1 - share) * place, share) for share in SHARES for place in PLACES)])
_YS, _XS = np.array([(0, 0), *((1 + 3 * i + y, 1 + 3 * i + x) for i in range(len(SHARES)) for y in range(3) for x in range(3))]).T
_COSINES = cv2.dct(np.eye(SIDE, dtype=np.float32), flags=cv2.DCT_ROWS).T[:LOW]
_ROWS, _COLUMNS = np.meshgrid(np.arange(LOW), np.arange(LOW), indexing="ij")
_WEIGHTS = (np.sqrt(1.0 + _ROWS + _COLUMNS) * ((_ROWS + _COLUMNS > 0) & (_ROWS + _COLUMNS < LOW))).astype(np.float32)
_LOW_WINDOWS = _COSINES @ _WINDOWS
_ACROSS, _DOWN = np.meshgrid(np.linspace(-1, 1, SIDE, dtype=np.float32), np.linspace(-1, 1, SIDE, dtype=np.float32))


def _nearest_part(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The crop of each outer picture whose low frequencies are nearest the inner one's, evened: float32 (P, SIDE, SIDE)."""
    halves = _LOW_WINDOWS @ outer[:, None]
    parts = ((halves[:, _YS] @ _LOW_WINDOWS[_XS].transpose(0, 2, 1)) * _WEIGHTS).reshape(len(outer), len(_YS), -1)
    wanted = ((_COSINES @ inner @ _COSINES.T) * _WEIGHTS).reshape(len(inner), -1, 1)
    best = ((parts @ wanted)[:, :, 0] / (np.linalg.norm(parts, axis=2) + 1e-6)).argmax(axis=1)
    return _even(_WINDOWS[_YS[best]] @ outer @ _WINDOWS[_XS[best]].transpose(0, 2, 1))


def _rest(seen: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """What of the inner pictures the seen ones do not account for, though they may move a little: float32 (P, SIDE, SIDE)."""
    down, across = np.gradient(seen, axis=(1, 2))
    moved = (seen, down, _DOWN * down, _ACROSS * down, across, _DOWN * across, _ACROSS * across)
    ways = np.stack(moved, axis=1).reshape(len(seen), len(moved), -1)
    ways -= ways.mean(axis=2, keepdims=True)
    target = inner.reshape(len(inner), -1, 1)
    normal = ways @ ways.transpose(0, 2, 1) + STIFFNESS * np.eye(len(moved), dtype=np.float32)
    return (target - ways.transpose(0, 2, 1) @ np.linalg.solve(normal, ways @ target)).reshape(inner.shape)


def _pooled(pictures: np.ndarray) -> np.ndarray:
    """Means of PARTS x PARTS parts."""
    width = SIDE // PARTS
    return pictures.reshape(-1, PARTS, width, PARTS, width).mean(axis=(2, 4))


def _detail(pictures: np.ndarray) -> np.ndarray:
    """How much each part deviates from its own mean."""
    width = SIDE // PARTS
    cut = pictures.reshape(-1, PARTS, width, PARTS, width)
    return np.abs(cut - cut.mean(axis=(2, 4), keepdims=True)).mean(axis=(2, 4))
