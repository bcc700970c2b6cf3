"""Treatment: what one trial trains on, drawn from the pool: which clips, under which captions, with which harm."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from curate.media.encode import encode
from curate.media.frames import Frames
from curate.packing.shards import write_tar
from curate.video import decode
from pipelines.ablation.contaminate import HARMS_TO_PICTURES, duplicates_of, harmed_keys, rank, wrong_captions
from pipelines.ablation.pieces import Piece, Pieces, digest_of
from pipelines.ablation.plan import PlannedArm
from pipelines.ablation.pool import Pool, write_shards
from pipelines.progress import Listener
from schemas.experiment import Arm, Harm
from schemas.sample import Sample

PLAIN, CLEAN = "plain", "clean"
CRF = 12
REWRITING = 1
"""Version of how clips of controls are written again."""


@dataclass(frozen=True)
class Dose:
    """One clip as a trial is shown it.

    Attributes:
        key: its id.
        picture: `plain` as packed, `clean` written again unharmed, or a harm done to the picture.
        of: the clip whose picture and caption it shows; itself, except for harm by duplication.
        caption: the text to train with.
    """

    key: str
    picture: str
    of: str
    caption: str


def doses(arm: PlannedArm, seed: int, pool: Pool) -> list[Dose]:
    """What a trial of an arm trains on, in order. The same seed draws the same clips, whatever else there is."""
    keys = _drawn(arm, seed, pool)
    captions = {key: _caption(arm.entrant.arm, key, seed, pool) for key in keys}
    contamination = arm.entrant.arm.contamination
    if contamination is None:
        return [Dose(key, PLAIN, key, captions[key]) for key in keys]
    videos = [key for key in keys if not pool.index[key].is_image]
    harmed = harmed_keys(videos, contamination.share, seed)
    wrong = wrong_captions(captions) if contamination.harm == "wrong_captions" else {}
    copied = duplicates_of(videos, seed) if contamination.harm == "duplicated" else {}
    made = []
    for key in keys:
        plain = Dose(key, PLAIN if pool.index[key].is_image else CLEAN, key, captions[key])
        made.append(_harmed(plain, contamination.harm, wrong, copied, captions) if key in harmed else plain)
    return made


def _harmed(plain: Dose, harm: Harm, wrong: dict[str, str], copied: dict[str, str], captions: dict[str, str]) -> Dose:
    if harm == "wrong_captions":
        return replace(plain, caption=wrong[plain.key])
    if harm == "duplicated":
        return replace(plain, of=copied[plain.key], caption=captions[copied[plain.key]])
    return replace(plain, picture=harm)


def _drawn(arm: PlannedArm, seed: int, pool: Pool) -> list[str]:
    """The clips of one trial: all that the recipe keeps, or a share, half or budget of them drawn by the seed."""
    kept = [key for key in arm.kept if key in pool.index]
    if arm.clips_drawn >= len(arm.kept) and arm.hours_drawn is None:
        return kept
    ranked = sorted(kept, key=lambda key: rank(key, seed))
    if arm.entrant.arm.half == "second":
        ranked = ranked[::-1]
    if arm.hours_drawn is None:
        return ranked[: arm.clips_drawn]
    ends_s = np.cumsum([pool.index[key].seconds for key in ranked])
    return ranked[: max(1, int(np.searchsorted(ends_s, arm.hours_drawn * 3600, side="right")))]


def _caption(arm: Arm, key: str, seed: int, pool: Pool) -> str:
    captioner = _of_mix(arm.caption_mix, int(rank(key, seed)[:12], 16) / 16**12) if arm.caption_mix else arm.captions
    return pool.index[key].caption if captioner is None else pool.index[key].captions[captioner]


def _of_mix(mix: Mapping[str, float], place: float) -> str:
    """The captioner in whose share of [0, 1) a place lies."""
    edges = np.cumsum(list(mix.values()))
    return list(mix)[min(int(np.searchsorted(edges, place, side="right")), len(mix) - 1)]


class Treatments:
    """Makes the shards of trials from the pool; clips of controls are written again once, small, and shared by all doses.

    Args:
        shorter_side: pixels of the clips written again: twice what is trained, so that writing them again costs no detail.
    """

    def __init__(self, pool: Pool, pieces: Pieces, shorter_side: int, listener: Listener) -> None:
        self.pool, self.pieces, self.shorter_side, self.listener = pool, pieces, shorter_side, listener
        self._open: dict[str, Pool] = {}

    def shards(self, arm: PlannedArm, seed: int) -> Piece:
        """The shards of one trial, made or found; trials that train on the same share them."""
        given = doses(arm, seed, self.pool)
        content = [[dose.key, dose.picture, self.pool.index[dose.of].digest, dose.caption] for dose in given]
        made_from = {"clips": content, "shorter_side": self.shorter_side if any(dose.picture != PLAIN for dose in given) else None, "rewriting": REWRITING}
        found = self.pieces.find("shards", made_from)
        if found is not None:
            return found
        sources = {picture: self._source(picture, arm) for picture in dict.fromkeys(dose.picture for dose in given)}
        name, digest = arm.name, digest_of(content)
        return self.pieces.make("shards", made_from, lambda folder: write_shards(_samples(given, sources), folder, name, digest))

    def _source(self, picture: str, arm: PlannedArm) -> Pool:
        if picture == PLAIN:
            return self.pool
        if picture not in self._open:
            keys = sorted(key for key in arm.kept if key in self.pool.index and not self.pool.index[key].is_image)
            content = [[key, self.pool.index[key].digest] for key in keys]
            made_from = {"clips": content, "picture": picture, "shorter_side": self.shorter_side, "rewriting": REWRITING}
            piece = self.pieces.make("rewritten", made_from, lambda folder: self._rewrite(folder, picture, keys))
            self._open[picture] = Pool(str(piece.folder), self.pool.index)
        return self._open[picture]

    def _rewrite(self, folder: Path, picture: str, keys: Sequence[str]) -> dict[str, int]:
        def rewritten() -> Iterator[Sample]:
            for number, key in enumerate(keys):
                yield rewrite(self.pool.read(key), picture, self.shorter_side)
                self.listener(f"control: {picture.replace('_', ' ')}", number + 1, len(keys))

        with (folder / "shard-000000.tar").open("wb") as file:
            write_tar(file, rewritten())
        return {"clips": len(keys)}


def _samples(given: Iterable[Dose], sources: dict[str, Pool]) -> Iterator[Sample]:
    for dose in given:
        yield replace(sources[dose.picture].read(dose.of), key=dose.key, caption=dose.caption)


def rewrite(sample: Sample, picture: str, shorter_side: int) -> Sample:
    """A sample decoded, harmed where `picture` names a harm, and encoded again at another size.

    Raises:
        MediaError: it does not decode, or cannot be encoded.
    """
    with tempfile.TemporaryDirectory(prefix="clipmill-control-") as folder:
        path = Path(folder) / "clip.mp4"
        path.write_bytes(sample.video or b"")
        encoded = sample.facts["encoded"]
        longer_side = round(shorter_side * max(encoded["width"], encoded["height"]) / min(encoded["width"], encoded["height"]))
        chunks = list(decode(str(path), side=longer_side))
    pictures = np.concatenate([chunk.pictures for chunk in chunks])
    if picture != CLEAN:
        pictures = HARMS_TO_PICTURES[picture](pictures)
    numbers, times_s, ends_s = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("numbers", "times_s", "ends_s"))
    whole = Frames(numbers, times_s, ends_s, pictures)
    made = encode(iter([whole]), shorter_side, encoded["fps"], CRF)
    told = {"frames": made.frames, "width": made.width, "height": made.height, "fps": made.fps, "duration_s": made.duration_s}
    return replace(sample, video=made.data, facts={**sample.facts, "encoded": told, "treatment": picture})
