"""Gathering: what finished trials left among the pieces, as the tables of findings."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ablation.findings import CURVES, TRIALS, Sampled
from pipelines.ablation.outcomes import OUTCOMES
from pipelines.ablation.pieces import Pieces, digest_of
from pipelines.ablation.plan import Plan
from pipelines.ablation.trials import LOSSES, Trial, sample_path
from schemas.table import table_of

Status = tuple[str, str | None]


def statuses(flow: Iterable[pa.Table], different: Mapping[str, Trial]) -> dict[str, Status]:
    """Run the trials that differ, and tell of each training (by its digest) how it ended and why."""
    digests = {(trial.arm, trial.seed): digest for digest, trial in different.items()}
    return {digests[row["arm"], row["seed"]]: (row["status"], row["reason"]) for made in flow for row in made.to_pylist()}


def outcomes_of(trials: Sequence[Trial], pieces: Pieces) -> pa.Table:
    """Schema OUTCOMES: every finished trial's losses under its arm's name."""
    parts = [OUTCOMES.empty_table()]
    for trial in trials:
        piece = pieces.find("evaluation", trial.evaluation)
        if piece is None:
            continue
        losses = pq.read_table(piece.folder / LOSSES)
        count = losses.num_rows
        told = {"arm": pa.array([trial.arm] * count, pa.string()), "seed": pa.array([trial.seed] * count, pa.int64())}
        parts.append(pa.table([told.get(field.name, losses[field.name] if field.name in losses.column_names else None) for field in OUTCOMES], schema=OUTCOMES))
    return pa.concat_tables(parts)


def curves_of(trials: Sequence[Trial], pieces: Pieces) -> pa.Table:
    """Schema CURVES: the held-out losses that compared arms wrote down while they trained."""
    rows = []
    for trial in trials:
        piece = pieces.find("training", trial.training) if trial.watched else None
        lines = (piece.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines() if piece else []
        for line in map(json.loads, lines):
            if "held_out_loss" in line and line["task"] in trial.tasks:
                rows.append({"arm": trial.arm, "seed": trial.seed, "task": line["task"], "step": line["step"] + 1, "loss": line["held_out_loss"]})
    return table_of(rows, CURVES)


def samples_of(trials: Sequence[Trial], pieces: Pieces) -> Iterator[Sampled]:
    """The videos of the trials that were to make some."""
    for trial in trials:
        piece = pieces.find("samples", trial.sampling) if trial.prompts else None
        for number, prompt in enumerate(trial.prompts if piece else ()):
            yield Sampled(trial.arm, trial.seed, prompt, sample_path(piece.folder, number))  # type: ignore[union-attr]


def trials_table(trials: Sequence[Trial], ended: Mapping[str, Status], before: Collection[str], plan: Plan, pieces: Pieces) -> pa.Table:
    """Schema TRIALS. `before` are the digests of trainings that were there already."""
    controls = {arm.name: arm.entrant.control for arm in plan.arms}
    shards = {piece.digest: piece.facts for piece in pieces.all("shards")}
    rows: list[dict[str, Any]] = []
    for trial in trials:
        digest = digest_of(trial.training)
        status, reason = ended.get(digest, ("failed", "it did not run"))
        piece, drawn = pieces.find("training", trial.training), shards[trial.shards_digest]
        rows.append(
            {
                "arm": trial.arm,
                "seed": trial.seed,
                "control": controls[trial.arm],
                "status": status,
                "reason": reason,
                "clips": drawn["clips"],
                "hours": drawn["hours"],
                "steps": sum(phase.steps for phase in trial.training_run.phases),
                "seconds": piece.facts["seconds"] if piece else None,
                "fresh": digest not in before,
                "shards": trial.shards_digest,
                "training": piece.digest if piece else None,
            }
        )
    return table_of(rows, TRIALS)
