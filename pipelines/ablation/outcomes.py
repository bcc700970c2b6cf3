"""Outcomes: what trained arms scored, as one table, and each metric of it as a matrix of seeds by held-out clips."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.experiment import Metric
from schemas.table import column

OUTCOMES = pa.schema(
    [
        column("arm", pa.string(), "The arm", by="ablate"),
        column("seed", pa.int64(), "The seed of its initial weights, batches and draws", by="ablate"),
        column("task", pa.string(), "The phase that was evaluated", by="ablate"),
        column("key", pa.string(), "The held-out clip", by="ablate"),
        column("level", pa.float64(), "Noise level: the timestep at which the loss was taken", by="ablate"),
        column("loss", pa.float64(), "Held-out loss; lower is better", by="ablate"),
        column("loss_wrong_caption", pa.float64(), "The same with the caption of another clip", by="ablate"),
        column("loss_in_region", pa.float64(), "The same where the watermark control lays its mark", by="ablate"),
    ]
)


@dataclass(frozen=True)
class Measure:
    """A metric: what it is called, which way is better, and how it follows from the columns of OUTCOMES."""

    title: str
    lower_is_better: bool
    doc: str
    of: Callable[[dict[str, np.ndarray]], np.ndarray]


MEASURES: dict[Metric, Measure] = {
    "held_out_loss": Measure("held-out loss", True, "Mean denoising loss on clips that no arm trained on", lambda columns: columns["loss"]),
    "caption_gain": Measure(
        "caption gain",
        False,
        "How much the right caption lowers the loss, compared with the caption of another clip",
        lambda columns: columns["loss_wrong_caption"] - columns["loss"],
    ),
    "region_loss": Measure(
        "loss in the marked region", True, "Held-out loss in the corner in which the watermark control lays its mark", lambda columns: columns["loss_in_region"]
    ),
}


@dataclass(frozen=True)
class Scores:
    """One metric of one arm.

    Attributes:
        seeds: the seeds that finished.
        keys: the held-out clips.
        values: shape (seeds, clips).
    """

    seeds: tuple[int, ...]
    keys: tuple[str, ...]
    values: np.ndarray

    @property
    def by_seed(self) -> np.ndarray:
        return np.asarray(self.values.mean(axis=1))


def scores(outcomes: pa.Table, arm: str, task: str, metric: Metric, keys: Collection[str] | None = None) -> Scores:
    """A metric of an arm, averaged over noise levels; of the clips in `keys`, by default all."""
    seeds, clips, cube = _cube(outcomes, arm, task, metric, keys)
    return Scores(seeds, clips, cube.mean(axis=2) if cube.size else cube.reshape(len(seeds), len(clips)))


def by_level(outcomes: pa.Table, arm: str, task: str, metric: Metric) -> tuple[tuple[int, ...], tuple[float, ...], np.ndarray]:
    """A metric of an arm, averaged over clips: its seeds, the noise levels, and values of shape (seeds, levels)."""
    seeds, _, cube = _cube(outcomes, arm, task, metric, None)
    rows = outcomes.filter(_of(outcomes, arm, task))
    levels = tuple(sorted(set(rows["level"].to_pylist())))
    return seeds, levels, cube.mean(axis=1) if cube.size else np.zeros((len(seeds), len(levels)))


def paired(one: Scores, other: Scores) -> tuple[tuple[int, ...], np.ndarray]:
    """The seeds that both finished, and the differences one minus other, shape (seeds, clips)."""
    seeds = tuple(seed for seed in one.seeds if seed in other.seeds)
    if not seeds:
        return (), np.zeros((0, 0))
    if one.keys != other.keys:
        raise ValueError("the two arms were not evaluated on the same clips")
    return seeds, np.array([one.values[one.seeds.index(seed)] - other.values[other.seeds.index(seed)] for seed in seeds]).reshape(len(seeds), len(one.keys))


def _of(outcomes: pa.Table, arm: str, task: str) -> pa.Array:
    return pa.array((np.asarray(outcomes["arm"].to_pylist(), dtype=object) == arm) & (np.asarray(outcomes["task"].to_pylist(), dtype=object) == task))


def _cube(outcomes: pa.Table, arm: str, task: str, metric: Metric, keys: Collection[str] | None) -> tuple[tuple[int, ...], tuple[str, ...], np.ndarray]:
    """Values of shape (seeds, clips, levels), each axis sorted.

    Raises:
        ValueError: a seed lacks some clip or level that others have, so that it cannot be averaged with them.
    """
    rows = outcomes.filter(_of(outcomes, arm, task))
    columns = {name: rows[name].to_numpy(zero_copy_only=False).astype(float) for name in ("loss", "loss_wrong_caption", "loss_in_region")}
    values = MEASURES[metric].of(columns)
    seeds, at_seed = np.unique(rows["seed"].to_numpy(), return_inverse=True)
    clips, at_clip = np.unique(np.asarray(rows["key"].to_pylist(), dtype=str), return_inverse=True)
    levels, at_level = np.unique(rows["level"].to_numpy(), return_inverse=True)
    cube = np.full((len(seeds), len(clips), len(levels)), np.nan)
    cube[at_seed, at_clip, at_level] = values
    chosen = [place for place, clip in enumerate(clips) if keys is None or str(clip) in keys]
    # A metric that a clip cannot have (a region outside its picture, a wrong caption where all are equal) is null everywhere for that clip.
    chosen = [place for place in chosen if not np.isnan(cube[:, place]).all()]
    cube = cube[:, chosen]
    if np.isnan(cube).any():
        raise ValueError(f"arm `{arm}` has no {MEASURES[metric].title} for some clip and level of {task}")
    return tuple(map(int, seeds)), tuple(str(clips[place]) for place in chosen), cube
