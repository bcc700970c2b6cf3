"""The logbook of a run: JSON lines, and the same numbers for TensorBoard."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from schemas.document import DocumentError
from schemas.run import TrainingRun


class Logbook:
    """Numbers by phase and step, appended to metrics.jsonl and to event files in tensorboard/.

    Args:
        folder: of the run.
        run: whose numbers they are.
        task: the phase's.
        step: from which the phase goes on; lines of later steps, from before a crash, are taken out.
    """

    def __init__(self, folder: Path, run: TrainingRun, task: str, step: int) -> None:
        self.path, self.task = folder / "metrics.jsonl", task
        self._keep_before(step)
        self._board = SummaryWriter(str(folder / "tensorboard" / task), purge_step=step)
        self._wandb = _wandb_run(folder, run, task) if run.wandb else None

    def _keep_before(self, step: int) -> None:
        if not self.path.exists():
            return
        lines = [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]
        kept = [line for line in lines if line["task"] != self.task or line["step"] < step]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
        partial.replace(self.path)

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Note numbers at a step, counted from 0."""
        with self.path.open("a") as stream:
            stream.write(json.dumps({"task": self.task, "step": step, **numbers}) + "\n")
        for name, number in numbers.items():
            self._board.add_scalar(f"{self.task}/{name}", number, step)
        if self._wandb is not None:
            self._wandb.log(numbers, step=step)

    def close(self) -> None:
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _wandb_run(folder: Path, run: TrainingRun, task: str) -> Any:
    """A run of Weights & Biases that goes on when this one is resumed; another folder is another run, whatever its name."""
    try:
        import wandb
    except ImportError:
        raise DocumentError("wandb = true needs the package wandb; pip install wandb, or leave it out") from None
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    return wandb.init(project="clipmill", name=f"{run.name}-{task}", id=f"{run.name}-{task}-{place}", resume="allow", dir=folder, config=run.model_dump())
