"""Training on several workers through Ray Train: each computes its places of every batch, and the losses are those of one worker."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from schemas.run import TrainingRun
from train.attention import RotaryEmbedding
from train.loop import train
from train.world import World


class DividedWorld(World):
    """One of the workers that torch.distributed has joined; each keeps whole weights."""

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


class ShardedWorld(DividedWorld):
    """A worker that keeps its share of weights, gradients and optimizer, and gathers a layer's weights while it computes it.

    This is FSDP2, PyTorch's `fully_shard`. A layer is what the network says must not be split: a transformer or a resnet.
    """

    def wrap(self, network: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(next(network.parameters()).device.type, (self.size,))
        layers = getattr(network, "_no_split_modules", None) or ()
        # A constant that many layers list, and none reads: it cannot belong to each of them.
        constants = {module.freqs for module in network.modules() if isinstance(module, RotaryEmbedding)}
        for module in network.modules():
            if type(module).__name__ in layers:
                fully_shard(module, mesh=mesh, ignored_params=constants)
        fully_shard(network, mesh=mesh, ignored_params=constants)
        return network

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        from torch.distributed.tensor import DTensor

        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def share(self, whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor) or whole.shape != like.shape:
            return whole
        return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


WORLDS: dict[str, type[DividedWorld]] = {"replicate": DividedWorld, "fsdp": ShardedWorld}
"""What a run's `parallel` may be."""


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
        # Without an address Ray would join any cluster that it finds on this machine, whoever's it is.
        cluster = os.environ.get("RAY_ADDRESS")
        local: dict[str, Any] = {} if cluster else {"include_dashboard": False}
        environment = {"env_vars": {"PYTHONPATH": packages}}
        ray.init(address=cluster or "local", runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR, **local)
    try:
        scaling = ScalingConfig(num_workers=workers, use_gpu=run.device == "cuda", resources_per_worker={"CPU": 0.5})
        told = {"run": run.model_dump(mode="json"), "folder": str(folder)}
        trainer = TorchTrainer(train_here, train_loop_config=told, scaling_config=scaling, run_config=RunConfig(storage_path=str(folder / "ray")))
        trainer.fit()
    finally:
        if started:
            ray.shutdown()
    return folder / "cascade"


def train_here(told: dict[str, Any]) -> None:
    """What each worker runs, once torch.distributed has joined it to the others: `told` is a run as JSON values, and its folder."""
    run = TrainingRun.model_validate(told["run"])
    train(run, Path(told["folder"]), world=WORLDS[run.parallel]())
