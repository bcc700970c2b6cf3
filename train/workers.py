"""Training on several workers through Ray Train: each computes its places of every batch, and the losses are those of one worker."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from schemas.run import TrainingRun
from train.loop import World, train


class DividedWorld(World):
    """One of the workers that torch.distributed has joined."""

    def __init__(self) -> None:
        import torch.distributed as distributed

        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        if torch.cuda.is_available():
            from ray.train.torch import get_device

            torch.cuda.set_device(get_device())

    def wrap(self, network: nn.Module) -> nn.Module:
        from torch.nn.parallel import DistributedDataParallel

        on_gpu = next(network.parameters()).is_cuda
        return DistributedDataParallel(network, device_ids=[torch.cuda.current_device()] if on_gpu else None)

    def mean(self, number: torch.Tensor) -> torch.Tensor:
        import torch.distributed as distributed

        total = number.clone()
        distributed.all_reduce(total)
        return total / self.size

    def wait(self) -> None:
        import torch.distributed as distributed

        distributed.barrier()


def train_on_ray(run: TrainingRun, folder: Path | str, workers: int) -> Path:
    """Train a run on several workers of a Ray cluster, on GPUs where the run asks for them.

    Args:
        run: batches must divide among the workers.
        folder: on a filesystem that all workers share.

    Returns:
        The folder of the cascade.
    """
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    folder = Path(folder).resolve()
    started = not ray.is_initialized()
    if started:
        packages = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")]))
        cluster = os.environ.get("RAY_ADDRESS")
        environment = {"env_vars": {"PYTHONPATH": packages}}
        ray.init(address=cluster, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=None if cluster else False)
    try:
        scaling = ScalingConfig(num_workers=workers, use_gpu=run.device == "cuda", resources_per_worker={"CPU": 0.5})
        told = {"run": run.model_dump(mode="json"), "folder": str(folder)}
        trainer = TorchTrainer(_train_here, train_loop_config=told, scaling_config=scaling, run_config=RunConfig(storage_path=str(folder / "ray")))
        trainer.fit()
    finally:
        if started:
            ray.shutdown()
    return folder / "cascade"


def _train_here(told: dict[str, Any]) -> None:
    """What each worker runs."""
    train(TrainingRun.model_validate(told["run"]), Path(told["folder"]), world=DividedWorld())
