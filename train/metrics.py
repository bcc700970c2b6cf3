"""Held-out losses: how well a network denoises clips it was not trained on, by clip and noise level, with noise that no model chooses."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor, nn

from schemas.table import column
from train.checkpoint import load_component, read_run
from train.data import Batch, ClipReader, held_out_batches
from train.draws import generator, held_out_draws
from train.encoders import device_of, open_encoders
from train.shards import Shards
from train.tasks import TASKS, Task

LEVELS = (100, 300, 500, 700, 900)
BATCH = 4

HELD_OUT = pa.schema(
    [
        column("key", pa.string(), "The clip", by="train"),
        column("level", pa.int64(), "Diffusion time, 0 to 999, at which it was noised", by="train"),
        column("loss", pa.float64(), "Squared error of the prediction; lower is better", by="train"),
        column("loss_wrong_caption", pa.float64(), "The same under the caption of another clip; null where all captions are equal", by="train"),
        column("loss_in_region", pa.float64(), "The same inside the region asked about; null where the clip does not show it", by="train"),
    ]
)


def held_out_losses(
    checkpoint: Path | str,
    shards: str,
    task: str,
    seed: int,
    levels: Sequence[int] = LEVELS,
    region: tuple[float, float, float, float] | None = None,
    listener: Callable[[str, float, float], None] = lambda what, done, total: None,
    most_clips: int | None = None,
) -> pa.Table:
    """The losses of a trained phase on every clip of some shards at fixed noise levels.

    Noise is fixed by (seed, clip, level) and clips are shown by their middle, so two models of one design are compared on equal
    terms, pair by pair.

    Args:
        checkpoint: the folder that `train` returned.
        shards: what no arm trained on.
        task: `autoencode`, `text_to_video`, `interpolate` or `upscale`, one that the run has trained.
        levels: diffusion times, 0 to 999.
        region: left, top, right, bottom as shares of the picture, for the loss inside it.
        most_clips: how many clips are used, the first in packing order.

    Returns:
        A table of schema HELD_OUT, ordered by clip and level.

    Raises:
        DocumentError: no such checkpoint, phase or shards.
    """
    asked, network, reader = open_task(Path(checkpoint), shards, task)
    reader.clips = reader.clips[:most_clips]
    wrong = wrong_captions(reader, seed)
    rows: list[dict[str, object]] = []
    done = 0
    for batch in held_out_batches(reader, BATCH):
        for level in levels:
            rows += _rows(network, asked, batch, wrong, seed, level, region)
        done += len(batch.keys)
        listener(f"held-out {task}", done, len(reader.clips))
    return pa.Table.from_pylist(rows, schema=HELD_OUT).sort_by([("key", "ascending"), ("level", "ascending")])


def open_task(checkpoint: Path, shards: str, task: str) -> tuple[Task, nn.Module, ClipReader]:
    """A trained phase, its network in eval mode, and clips for it."""
    run = read_run(checkpoint)
    cascade = checkpoint if (checkpoint / "run.json").exists() and not (checkpoint / "cascade").exists() else checkpoint / "cascade"
    phase = next((phase for phase in run.phases if phase.task == task), None)
    if phase is None:
        raise ValueError(f"{checkpoint}: its run has no phase `{task}`; it has {', '.join(phase.task for phase in run.phases)}")
    device = device_of(run)
    asked = TASKS[task](phase, open_encoders(run, TASKS[task].component, device, cascade / "autoencoder"))
    return asked, load_component(cascade, asked.component).to(device), ClipReader(Shards(shards), phase)


def mean_held_out_loss(network: nn.Module, task: Task, reader: ClipReader, seed: int) -> float:
    """The mean over clips and noise levels, for the curve of a training run."""
    total = torch.zeros((), dtype=torch.float64)
    count = 0
    with torch.no_grad():
        for batch in held_out_batches(reader, BATCH):
            for level in LEVELS:
                moved = batch.to(next(network.parameters()).device)
                total += task.losses(network, moved, held_out_draws(seed, batch.keys, level)).double().sum().cpu()
                count += len(batch.keys)
    return float(total / count)


def wrong_captions(reader: ClipReader, seed: int) -> dict[str, str]:
    """For each clip the caption of another one that differs, drawn by clip; empty where all captions are equal."""
    captions = {entry.key: reader.clip(entry, None)[1] for entry in reader.clips}
    texts = sorted(set(captions.values()))
    if len(texts) < 2:
        return {}
    wrong = {}
    for key, caption in captions.items():
        others = [text for text in texts if text != caption]
        wrong[key] = others[int(torch.randint(len(others), (), generator=generator(seed, "wrong caption", key)))]
    return wrong


@torch.no_grad()
def _rows(
    network: nn.Module, task: Task, batch: Batch, wrong: dict[str, str], seed: int, level: int, region: tuple[float, float, float, float] | None
) -> list[dict[str, object]]:
    """One row for each clip of a batch at one level."""
    batch = batch.to(next(network.parameters()).device)
    errors = task.errors(network, batch, held_out_draws(seed, batch.keys, level)).double().cpu()
    losses = errors.mean(dim=(1, 2, 3)).tolist()
    misled: list[float | None] = [None] * len(losses)
    if wrong and task.stage is not None:
        other = batch.with_captions([wrong[key] for key in batch.keys])
        misled = task.errors(network, other, held_out_draws(seed, batch.keys, level)).double().mean(dim=(1, 2, 3)).tolist()
    inside = [mean_inside(error, region, shown) if region else None for error, shown in zip(errors, batch.shown)]
    told = zip(batch.keys, losses, misled, inside)
    return [{"key": key, "level": level, "loss": loss, "loss_wrong_caption": misled_one, "loss_in_region": within} for key, loss, misled_one, within in told]


def mean_inside(errors_Fhw: Tensor, region: tuple[float, float, float, float], shown: tuple[float, float, float, float]) -> float | None:
    """The mean over the cells whose centre lies in a region of the whole picture, of which `shown` was cut out; None if there are none."""
    height, width = errors_Fhw.shape[-2:]
    across = shown[0] + (torch.arange(width) + 0.5) / width * (shown[2] - shown[0])
    down = shown[1] + (torch.arange(height) + 0.5) / height * (shown[3] - shown[1])
    columns = (across >= region[0]) & (across <= region[2])
    rows = (down >= region[1]) & (down <= region[3])
    if not columns.any() or not rows.any():
        return None
    return float(errors_Fhw.cpu()[:, rows][:, :, columns].mean())
