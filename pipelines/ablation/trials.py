"""Trials: one arm under one seed, trained, evaluated and sampled; each a row, so that they run here one by one or over a cluster."""

import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from curate.stage import Resources, Stage
from pipelines.ablation.contaminate import MARK_BOX
from pipelines.ablation.pieces import Facts, Piece, Pieces
from pipelines.ablation.plan import PlannedArm, work
from pipelines.progress import Listener
from pipelines.train import BASE_FPS, INTERPOLATED_FPS
from schemas.experiment import Ablation
from schemas.run import TrainingRun

VALIDATIONS = 4
LOSSES = "losses.parquet"
REPORT = pa.schema([("arm", pa.string()), ("seed", pa.int64()), ("status", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Trial:
    """What one worker needs to know, as JSON values. The arm's name is for people: nothing that is made depends on it.

    Attributes:
        arm, seed: which trial.
        shards, shards_digest: what it trains on.
        held_out, held_out_digest: what it is evaluated on.
        watched, watched_digest: a few of those, on which its learning is followed; empty for controls.
        run: the training run without shards.
        levels, evaluation_seed: noise levels and noise of the evaluation.
        prompts, sampler_steps, guidance: what is sampled; no prompts, no samples.
    """

    arm: str
    seed: int
    shards: str
    shards_digest: str
    held_out: str
    held_out_digest: str
    watched: str
    watched_digest: str
    run: dict[str, Any]
    levels: tuple[int, ...]
    evaluation_seed: int
    prompts: tuple[str, ...] = ()
    sampler_steps: int = 12
    guidance: float = 3.0

    @property
    def training_run(self) -> TrainingRun:
        return TrainingRun.model_validate({**self.run, "shards": self.shards, "held_out": self.watched or None})

    @property
    def tasks(self) -> list[str]:
        """The phases to evaluate, in order."""
        return [phase.task for phase in self.training_run.phases if phase.task != "autoencode"]

    # What each piece is made from

    @property
    def training(self) -> Facts:
        return {"shards": self.shards_digest, "watched": self.watched_digest, "run": self.run, "versions": versions()}

    @property
    def evaluation(self) -> Facts:
        return {"training": self.training, "held_out": self.held_out_digest, "levels": self.levels, "seed": self.evaluation_seed}

    @property
    def sampling(self) -> Facts:
        return {"training": self.training, "prompts": self.prompts, "seed": self.seed, "steps": self.sampler_steps, "guidance": self.guidance}


def versions() -> dict[str, str]:
    """What the numbers depend on."""
    from train.checkpoint import versions as of_training

    return {"clipmill": importlib.metadata.version("clipmill"), **of_training()}


def training_run(experiment: Ablation, arm: PlannedArm, seed: int) -> dict[str, Any]:
    """The run of a trial without its shards: phases that are not told when to validate do so a few times, to show how they learn."""
    phases = [phase.model_dump(mode="json") for phase in arm.entrant.phases]
    for phase in phases:
        phase["validate_every"] = phase["validate_every"] or (0 if arm.entrant.control else max(1, phase["steps"] // VALIDATIONS))
    shared = {name: getattr(experiment, name) for name in ("preset", "init", "latent", "text", "models", "precision", "device", "threads")}
    return {"name": "trial", "seed": seed, "grids": False, **shared, "phases": phases}


def noise_levels(count: int) -> tuple[int, ...]:
    """Diffusion times in the middle of `count` equal ranges."""
    return tuple(round((place + 0.5) * 1000 / count) for place in range(count))


class RunTrials(Stage):
    """Trains, evaluates and samples one trial a row. A trial that fails says why, and stops no other; one done before is found."""

    reads: ClassVar[frozenset[str]] = frozenset({"arm", "seed", "trial"})
    writes: ClassVar[frozenset[str]] = frozenset(REPORT.names)
    batch_rows = 1

    def __init__(self, pieces: Pieces, listener: Listener | None = None, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self.pieces, self.listener = pieces, listener or _quiet
        self.resources = Resources(cpus=cpus, gpus=gpus, memory_gb=4.0, isolated=True)  # type: ignore[misc]

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        for row in rows.to_pylist():
            trial = Trial(**json.loads(row["trial"]))
            try:
                run_trial(trial, self.pieces, self.listener)
            except Exception as error:  # whatever it is, it is this trial's: it is told in the report, and the others go on
                yield _report(trial.arm, trial.seed, "failed", f"{type(error).__name__}: {error}")
            else:
                yield _report(trial.arm, trial.seed, "ok", None)

    def lost(self, rows: pa.Table, reason: str) -> Iterator[pa.Table]:
        for row in rows.to_pylist():
            yield _report(row["arm"], row["seed"], "failed", reason)


def _quiet(what: str, done: float, total: float) -> None:
    """Nobody listens."""


def _report(arm: str, seed: int, status: str, reason: str | None) -> pa.Table:
    return pa.Table.from_pylist([{"arm": arm, "seed": seed, "status": status, "reason": reason}], schema=REPORT)


def run_trial(trial: Trial, pieces: Pieces, listener: Listener) -> None:
    """Make what is missing of one trial."""
    named = f"{trial.arm}, seed {trial.seed}"
    training = pieces.make("training", trial.training, lambda folder: _train(trial, folder, named, listener), resumable=True)
    pieces.make("evaluation", trial.evaluation, lambda folder: _evaluate(trial, training, folder, listener))
    if trial.prompts:
        pieces.make("samples", trial.sampling, lambda folder: _sample(trial, training, folder, listener))


def _train(trial: Trial, folder: Path, named: str, listener: Listener) -> Facts:
    from train.loop import train

    run = trial.training_run
    train(run, folder, lambda task, done, total: listener(f"{named}: {task.replace('_', ' ')}", done, total))
    return {"megapixels": sum(work(phase) * phase.steps for phase in run.phases), "steps": sum(phase.steps for phase in run.phases)}


def _evaluate(trial: Trial, training: Piece, folder: Path, listener: Listener) -> Facts:
    from train.metrics import held_out_losses

    cascade, parts = training.folder / "cascade", []
    for task in trial.tasks:
        losses = held_out_losses(cascade, trial.held_out, task, trial.evaluation_seed, trial.levels, MARK_BOX, listener)
        parts.append(losses.append_column("task", pa.array([task] * losses.num_rows, pa.string())))
    table = pa.concat_tables(parts)
    pq.write_table(table, folder / LOSSES)
    return {"rows": table.num_rows}


def _sample(trial: Trial, training: Piece, folder: Path, listener: Listener) -> Facts:
    from train.cascade import open_cascade, write_mp4

    cascade = open_cascade(training.folder)
    for number, prompt in enumerate(trial.prompts):
        frames = cascade(prompt=prompt, seed=trial.seed, steps=trial.sampler_steps, guidance=trial.guidance)
        write_mp4(frames, sample_path(folder, number), INTERPOLATED_FPS if "interpolate" in trial.tasks else BASE_FPS)
        listener("sample", number + 1, len(trial.prompts))
    return {"prompts": list(trial.prompts)}


def sample_path(folder: Path, number: int) -> Path:
    """Where the video of a prompt lies in the piece of a trial's samples."""
    return folder / f"{number:02d}.mp4"


def as_rows(trials: Sequence[Trial]) -> pa.Table:
    """Trials as the stage reads them."""
    told = [{"arm": trial.arm, "seed": trial.seed, "trial": json.dumps(asdict(trial))} for trial in trials]
    return pa.Table.from_pylist(told, schema=pa.schema([("arm", pa.string()), ("seed", pa.int64()), ("trial", pa.string())]))
