"""Clips made up in any number, as miniatures: near one another about as often as whole frames of real footage are, and a few of them copies.

Each is a mixture of three real clips' cuts and of a random field that drifts, whose spectrum falls as pictures' do. `FIELD` is set so that of a million
pairs about as many are near (cosine .88) as of whole real frames: 1.4 (`lookalikes-cpu.md`); without it, and with cuts as few as there are, 20 are.
Any stretch of them can be made at any time, the same each time, so that none have to be kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curate.copies.fingerprint import SIDE, miniature, window
from curate.corpus import Corpus
from curate.deduplicate import stills_of

PICTURES = 4
"""Of a clip, as reading keeps them."""
CUTS = 24
"""Pieces of a real clip's frame that clips are mixed from."""
FIELD, FIELDS, WIDE, FALL = 0.2, 4096, 40, 1.2
"""How strong fields are beside the mixture, how many there are, their side, and how fast their amplitudes fall with frequency."""
DISTINCT = 0.74
"""Of pictures after the first, those looked for: 3.2 of four, as of real clips (3.1 to 3.4)."""
BLOCK, AT_ONCE = 4096, 128


def cuts_of(corpus: Corpus, seed: int) -> np.ndarray:
    """The pictures of real clips in CUTS cuts of the frame each, of mean 0 and deviation 1: float32 (cuts, PICTURES, SIDE, SIDE)."""
    rng = np.random.default_rng(seed)
    clips = [row for row in corpus.table("clips").to_pylist() if row["media_type"] == "video" and row["duplicate_of"] is None]
    made = []
    for stills in stills_of(corpus, clips).values():
        for _ in range(CUTS if len(stills) >= PICTURES else 0):
            (height, width), share, down, across, turned = stills[0].luma.shape, rng.uniform(0.4, 1.0), *rng.uniform(0, 1, 2), rng.random() < 0.5
            top, left = round(down * (1 - share) * height), round(across * (1 - share) * width)
            parts = [one.luma[top : top + round(share * height), left : left + round(share * width)] for one in stills[:PICTURES]]
            made.append([miniature(np.ascontiguousarray(part[:, ::-1] if turned else part)) for part in parts])
    return _even(np.array(made, np.float32))


def fields_of(seed: int) -> np.ndarray:
    """Random fields of deviation 1: float32 (FIELDS, WIDE, WIDE)."""
    waves = np.fft.rfft2(np.random.default_rng(seed).standard_normal((FIELDS, WIDE, WIDE)))
    radius = np.hypot(np.fft.fftfreq(WIDE)[:, None], np.fft.rfftfreq(WIDE)[None]) * WIDE
    radius[0, 0] = np.inf
    fields = np.fft.irfft2(waves / radius**FALL, s=(WIDE, WIDE))
    return (fields / fields.std(axis=(1, 2), keepdims=True)).astype(np.float32)


def _even(pictures: np.ndarray) -> np.ndarray:
    """Clips' pictures of mean 0 and deviation 1."""
    pictures = pictures - pictures.mean(axis=(1, 2, 3), keepdims=True)
    return pictures / (pictures.std(axis=(1, 2, 3), keepdims=True) + 1e-3)


@dataclass(frozen=True)
class MadeUp:
    """So many clips, the last few of them copies of the first, cropped by up to 12 %, graded and noisy.

    Attributes:
        cuts: what they are mixed from, as `cuts_of` and
        fields: as `fields_of` make it.
        clips: how many there are.
        copies: how many of these are copies.
        field: as FIELD.
    """

    cuts: np.ndarray
    fields: np.ndarray
    clips: int
    copies: int
    field: float = FIELD

    def source(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Miniatures, uint8 (B, SIDE, SIDE), and the numbers of the clips that they are of, batch by batch."""
        for start in range(0, self.clips, BLOCK):
            end = min(start + BLOCK, self.clips)
            kept = self.kept(start, end)
            yield self.made(start, end)[kept], np.repeat(np.arange(start, end), kept.sum(axis=1))

    def kept(self, start: int, end: int) -> np.ndarray:
        """Which pictures of a stretch of clips are looked for, as if others looked like one of these: bool (clips, PICTURES)."""
        drawn = np.concatenate([np.random.default_rng([3, block]).random((BLOCK, PICTURES)) for block in range(start // BLOCK, -(-end // BLOCK))])
        kept = drawn[start % BLOCK :][: end - start] < DISTINCT
        kept[:, 0] = True
        return kept

    def made(self, start: int, end: int) -> np.ndarray:
        """The miniatures of a stretch of clips: uint8 (clips, PICTURES, SIDE, SIDE)."""
        first_copy = self.clips - self.copies
        own = [self._block(block)[max(0, start - block * BLOCK) : end - block * BLOCK] for block in range(start // BLOCK, -(-end // BLOCK))]
        made = np.concatenate(own)
        for number in range(max(start, first_copy), end):
            made[number - start] = self._copy(number - first_copy)
        return made

    def _copy(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([2, number])
        share, edges = rng.uniform(0.88, 1.0), rng.uniform(0, 1, 2)
        down, across = (window((1 - share) * edge, share) for edge in edges)
        cropped = down @ self._clip(number) @ across.T
        graded = 255 * (np.clip(cropped, 0, 255) / 255) ** rng.uniform(0.7, 1.4)
        return np.clip(graded + rng.normal(0, 2, graded.shape), 0, 255).astype(np.uint8)

    def _clip(self, number: int) -> np.ndarray:
        block, place = divmod(number, BLOCK)
        drawn = self._drawn(block)
        return self._mixed(*(part[place : place + 1] for part in drawn))[0]

    def _block(self, block: int) -> np.ndarray:
        drawn = self._drawn(block)
        return np.concatenate([self._mixed(*(part[at : at + AT_ONCE] for part in drawn)) for at in range(0, BLOCK, AT_ONCE)])

    def _drawn(self, block: int) -> tuple[np.ndarray, ...]:
        """What the clips of a block are: which cuts in which shares, and which field, from where and whither."""
        rng = np.random.default_rng([1, block])
        shares = rng.dirichlet((5, 5, 5), BLOCK).astype(np.float32) * rng.choice((-1, 1), (BLOCK, 3)).astype(np.float32)
        return (
            shares,
            rng.integers(0, len(self.cuts), (BLOCK, 3)),
            rng.integers(0, FIELDS, BLOCK),
            rng.integers(3, WIDE - SIDE - 3, (BLOCK, 2)),
            rng.integers(-1, 2, (BLOCK, 2)),
        )

    def _mixed(self, shares: np.ndarray, which: np.ndarray, fields: np.ndarray, at: np.ndarray, step: np.ndarray) -> np.ndarray:
        shares = shares * (50 / np.sqrt((shares**2).sum(axis=1) * (1 + self.field**2)))[:, None]
        mixed = self.cuts[which[:, 0]] * shares[:, 0, None, None, None]
        for part in (1, 2):
            other = self.cuts[which[:, part]]
            other *= shares[:, part, None, None, None]
            mixed += other
        strength = self.field * np.sqrt((shares**2).sum(axis=1))[:, None, None]
        for picture in range(PICTURES if self.field else 0):
            top, left = (at + step * (picture - 1)).T
            mixed[:, picture] += strength * self._windows[fields, top, left]
        mixed += 128
        return np.clip(mixed, 0, 255, out=mixed).astype(np.uint8)

    @property
    def _windows(self) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(self.fields, (SIDE, SIDE), axis=(1, 2))
