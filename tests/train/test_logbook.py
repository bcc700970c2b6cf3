"""Numbers of a run reach JSON lines and TensorBoard; what is not installed is asked for by name."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from train.logbook import Logbook
from train.optimization import make_optimizer

PHASE = Phase(task="text_to_video", steps=3)


def test_a_resumed_logbook_has_each_step_once_in_lines_and_in_tensorboard(tmp_path: Path) -> None:
    run = TrainingRun(name="told", phases=(PHASE,))
    for start, losses in ((0, [3.0, 2.0]), (1, [1.5, 1.0])):
        logbook = Logbook(tmp_path, run, PHASE.task, start)
        for step, loss in enumerate(losses, start):
            logbook.write(step, {"loss": loss})
        logbook.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(0, 3.0), (1, 1.5), (2, 1.0)]
    board = EventAccumulator(str(tmp_path / "tensorboard" / PHASE.task)).Reload()
    assert [(event.step, event.value) for event in board.Scalars("text_to_video/loss")] == [(0, 3.0), (1, 1.5), (2, 1.0)]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_wandb_is_asked_for_by_name_where_it_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="wandb = true needs the package wandb"):
        Logbook(tmp_path, TrainingRun(name="told", wandb=True, phases=(PHASE,)), PHASE.task, 0)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_the_8_bit_optimizer_is_refused_with_what_it_needs() -> None:
    with pytest.raises(DocumentError, match="needs the package bitsandbytes: pip install"):
        make_optimizer([torch.nn.Parameter(torch.zeros(1))], PHASE.model_copy(update={"optimizer": "adamw-8bit"}))


def test_the_8_bit_optimizer_learns_as_the_whole_one_does() -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    ends = []
    for name in ("adamw", "adamw-8bit"):
        weight = torch.nn.Parameter(torch.linspace(-2, 2, 8192))
        optimizer = make_optimizer([weight], PHASE.model_copy(update={"optimizer": name, "learning_rate": 0.05}))
        for _ in range(30):
            optimizer.zero_grad()
            weight.square().mean().backward()
            optimizer.step()
        ends.append(weight.square().mean().item())
    assert ends[1] == pytest.approx(ends[0], rel=0.1) and ends[0] < 0.1
