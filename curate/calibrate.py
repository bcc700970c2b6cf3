"""Calibrate: carry a threshold from one scorer's scale to another's, by the quantiles of both over the same clips."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus
from schemas.clip import CLIPS

FEWEST_CLIPS = 30
RESAMPLES = 200


class CalibrationError(ValueError):
    """The two scorers cannot be compared on this corpus; the message says why and what to do."""


@dataclass(frozen=True)
class Calibration:
    """How one scorer's values of a column map onto another's.

    Attributes:
        column: the column of clips.
        source, target: the scorers' identities.
        pairs: their values, float64 (clips, 2), over the clips that both measured.
        agreement: Spearman's rank correlation of the two; near 0, a carried threshold keeps as many clips, but not the same ones.
    """

    column: str
    source: str
    target: str
    pairs: np.ndarray
    agreement: float

    def carry(self, threshold: float) -> float:
        """The target's value that keeps the same share of clips as `threshold` keeps of the source's (equipercentile; Braun and Holland 1982)."""
        return _carried(self.pairs, threshold)

    def interval(self, threshold: float, seed: int = 0) -> tuple[float, float]:
        """A 90 % bootstrap interval of the carried threshold over which clips were sampled."""
        random = np.random.default_rng(seed)
        carried = [_carried(self.pairs[random.integers(0, len(self.pairs), len(self.pairs))], threshold) for _ in range(RESAMPLES)]
        low, high = np.quantile(carried, [0.05, 0.95])
        return float(low), float(high)

    def summary(self, threshold: float) -> str:
        """The carried threshold in words, with how sure it is."""
        low, high = self.interval(threshold)
        share = float((self.pairs[:, 0] >= threshold).mean())
        told = (
            f"{self.column} {threshold:g} by {self.source} is {self.carry(threshold):.4g} by {self.target} (90 % interval {low:.4g} to {high:.4g}, "
            f"{len(self.pairs)} clips): both keep {share:.0%}. Rank agreement {self.agreement:.2f}"
        )
        return told if self.agreement >= 0.5 else f"{told}, which is weak: they keep as many clips, but not the same ones"


def calibrate(corpus: Corpus, column: str, source: str, target: str) -> Calibration:
    """Compare two scorers on the clips that both have measured.

    Args:
        column: a numeric column that both write, such as `aesthetic`.
        source, target: identities such as `laion_v2@1-0123abcd`, or a scorer's name, which stands for its latest version here.

    Raises:
        CalibrationError: no such column or measures, or fewer than FEWEST_CLIPS clips in common.
    """
    if column not in CLIPS.names or not pa.types.is_floating(CLIPS.field(column).type):
        numeric = [field.name for field in CLIPS if pa.types.is_floating(field.type)]
        raise CalibrationError(f"`{column}` is not a numeric column of clips; there are {', '.join(numeric)}")
    makers = [_maker(corpus, column, name) for name in (source, target)]
    values = [corpus.read(f"measures/{maker}").select(["clip_id", column]).rename_columns(["clip_id", place]) for maker, place in zip(makers, "ab")]
    both = values[0].join(values[1], "clip_id", join_type="inner")
    both = both.filter(pc.and_(pc.is_valid(both["a"]), pc.is_valid(both["b"]))).sort_by("clip_id")
    if both.num_rows < FEWEST_CLIPS:
        raise CalibrationError(
            f"{makers[0]} and {makers[1]} have {both.num_rows} clips in common, and {FEWEST_CLIPS} are needed: run the missing one "
            f"with `clipmill measure --only NAME` on the same corpus"
        )
    pairs = np.stack([both["a"].to_numpy(), both["b"].to_numpy()], axis=1)
    return Calibration(column, makers[0], makers[1], pairs, _spearman(pairs))


def _maker(corpus: Corpus, column: str, name: str) -> str:
    """The identity of a scorer that measured the column here."""
    there = [relation.removeprefix("measures/") for relation in corpus.names("measures/")]
    found = [maker for maker in there if maker == name or maker.split("@")[0] == name]
    found = [maker for maker in found if column in corpus.read(f"measures/{maker}").column_names]
    if not found:
        raise CalibrationError(f"no measure of {column} by `{name}` in {corpus.url}; measures there are by {', '.join(there) or 'nobody'}")
    return found[-1]


def _carried(pairs: np.ndarray, threshold: float) -> float:
    """Where the target has as many clips below as the source has below the threshold; beyond the sample, its end."""
    source, target = np.sort(pairs[:, 0]), np.sort(pairs[:, 1])
    return float(np.interp(threshold, source, target))


def _spearman(pairs: np.ndarray) -> float:
    from scipy.stats import spearmanr

    found = float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
    return found if np.isfinite(found) else 0.0
