"""Two workers compute what one computes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as distributed

from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from train.checkpoint import load_component
from train.loop import train
from train.workers import ShardedWorld, train_on_ray
from train.world import World


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line]


PHASE = Phase(task="text_to_video", steps=3, batch=4, frames=4, height=16, width=16, images=1)


def test_two_ray_workers_have_the_losses_of_one(shards: Path, tmp_path: Path):
    run = TrainingRun(name="tiny", shards=str(shards), phases=(PHASE,))
    alone, divided = train(run, tmp_path / "alone"), train_on_ray(run, tmp_path / "divided", 2)
    assert losses(tmp_path / "divided") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)
    one, other = (load_component(folder, "base").state_dict() for folder in (alone, divided))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


@pytest.fixture
def group_of_one() -> Iterator[None]:
    """A group of this process alone, in which networks are sharded all the same."""
    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    yield
    distributed.destroy_process_group()


def interrupted(what: str, done: float, total: float) -> None:
    if done == 2:
        raise InterruptedError


def test_what_sharded_workers_kept_one_worker_goes_on_from(shards: Path, tmp_path: Path, group_of_one: None):
    run = TrainingRun(name="tiny", shards=str(shards), phases=(PHASE.model_copy(update={"checkpoint_every": 1}),), parallel="fsdp")
    with pytest.raises(InterruptedError):
        train(run, tmp_path / "resumed", interrupted, ShardedWorld())
    alone, resumed = train(run, tmp_path / "alone"), train(run, tmp_path / "resumed")
    assert losses(tmp_path / "resumed") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)
    one, other = (load_component(folder, "base").state_dict() for folder in (alone, resumed))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


WORKER = """
import json, sys
import torch.distributed as distributed
from train import workers
told = json.loads(sys.argv[1])
def heard(what, done, total):
    if done == told["until"]:
        raise SystemExit
train = workers.train
workers.train = lambda run, folder, world: train(run, folder, heard, world)
distributed.init_process_group("gloo")
workers.train_here(told)
distributed.destroy_process_group()
"""


def train_in_two_processes(run: TrainingRun, folder: Path, until: int | None = None) -> None:
    """What Ray starts on each worker, in processes of this machine; both may be stopped at a step."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-W", "ignore", "-c", WORKER, json.dumps({"run": run.model_dump(mode="json"), "folder": str(folder), "until": until})]
    environment = os.environ | place | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    workers = [subprocess.Popen(command, env=environment | {"RANK": str(rank)}) for rank in range(2)]
    assert [worker.wait(timeout=600) for worker in workers] == [0, 0]


def test_two_sharded_workers_go_on_from_what_one_kept_with_its_losses(shards: Path, tmp_path: Path):
    run = TrainingRun(name="tiny", shards=str(shards), phases=(PHASE.model_copy(update={"checkpoint_every": 1}),), parallel="fsdp")
    with pytest.raises(InterruptedError):
        train(run, tmp_path / "resumed", interrupted)
    alone = train(run, tmp_path / "alone")
    train_in_two_processes(run, tmp_path / "resumed")
    assert losses(tmp_path / "resumed") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)
    one, other = (load_component(folder, "base").state_dict() for folder in (alone, tmp_path / "resumed" / "cascade"))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_one_worker_goes_on_from_what_two_sharded_ones_kept_with_the_losses_of_one(shards: Path, tmp_path: Path):
    run = TrainingRun(name="tiny", shards=str(shards), phases=(PHASE.model_copy(update={"checkpoint_every": 1}),), parallel="fsdp")
    train_in_two_processes(run, tmp_path / "resumed", until=2)
    assert (tmp_path / "resumed" / "state" / "text_to_video.pt").exists()
    alone, resumed = train(run, tmp_path / "alone"), train(run, tmp_path / "resumed")
    assert losses(tmp_path / "resumed") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)
    one, other = (load_component(folder, "base").state_dict() for folder in (alone, resumed))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_a_batch_that_does_not_divide_is_refused():
    class Three(World):
        size = 3

    with pytest.raises(DocumentError, match="divided equally among 3"):
        Three().places(4)
