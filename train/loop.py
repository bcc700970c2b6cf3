"""The training loop: one for all phases of the cascade, resumable at any step."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from schemas.run import TrainingRun
from train import checkpoint
from train.data import Batch, ClipReader, training_batches
from train.draws import generator, training_draws
from train.encoders import device_of, open_encoders
from train.grids import write_grid
from train.latents import LatentCache
from train.logbook import Logbook
from train.lora import add_lora, merge_lora
from train.metrics import mean_held_out_loss
from train.optimization import WeightAverage, choose_trainable, learning_rate, make_optimizer, trainable
from train.shards import Shards
from train.tasks import TASKS, Task
from train.unet import VideoUNet
from train.weights import initialise, spec_for
from train.world import World

Listener = Callable[[str, float, float], None]
LOG_EVERY = 10


def quiet(what: str, done: float, total: float) -> None:
    """A listener that says nothing."""


class Diverged(RuntimeError):
    """The loss is no longer a number."""


def train(run: TrainingRun, folder: Path | str, listener: Listener = quiet, world: World | None = None) -> Path:
    """Train every phase of a run, or what is left of them.

    Args:
        run: what to train.
        folder: where everything goes; a run that was interrupted goes on from its last checkpoint, to the same weights bit for
            bit on a CPU.
        listener: hears (phase, steps done, steps in all).
        world: this worker among others; alone by default.

    Returns:
        The folder of the cascade, for `Cascade.from_pretrained`.

    Raises:
        DocumentError: the folder holds another run, or shards or weights that the run names are missing.
        Diverged: the loss became infinite or not a number.
    """
    folder, world = Path(folder), world or World()
    shards = Shards(run.shards)
    if world.rank == 0:
        checkpoint.begin(folder, run, shards)
    world.wait()
    with threads(run.threads):
        device = device_of(run)
        for phase in run.phases:
            component = TASKS[phase.task].component
            part = folder / "cascade" / component
            task = TASKS[phase.task](phase, open_encoders(run, component, device, folder / "cascade" / "autoencoder"))
            if not part.exists():
                PhaseTraining(run, task, shards, folder, device, world).finish(part, listener)
            world.wait()
    return folder / "cascade"


class PhaseTraining:
    """One phase under way: its network, data and optimizer at some step."""

    def __init__(self, run: TrainingRun, task: Task, shards: Shards, folder: Path, device: torch.device, world: World) -> None:
        self.run, self.task, self.phase, self.device, self.world = run, task, task.phase, device, world
        self.folder, self.state_path = folder, folder / "state" / f"{task.phase.task}.pt"
        self.reader = ClipReader(shards, task.phase, latents=cached_latents(run, task, shards, world))
        self.held_out = ClipReader(Shards(run.held_out), task.phase) if run.held_out else None
        self.network = self._network().to(device).train()
        choose_trainable(self.network, task.phase)
        wrapped = world.wrap(self.network)
        self.average = WeightAverage(self.network, task.phase.ema_decay)
        self.optimizer = make_optimizer(trainable(self.network), task.phase)
        self.step = 0
        self._restore()
        self.callable: Any = torch.compile(wrapped) if run.compile else wrapped

    def finish(self, part: Path, listener: Listener) -> None:
        """Train the steps that are left and write the part of the cascade."""
        logbook = Logbook(self.folder, self.run, self.phase.task, self.step) if self.world.rank == 0 else None
        places = self.world.places(self.phase.batch)
        began = time.perf_counter()
        for batch in training_batches(self.reader, self.run.seed, places, self.step, self.run.loader_workers):
            numbers = self.advance(batch, places)
            listener(self.phase.task, self.step, self.phase.steps)
            self._record(logbook, numbers, time.perf_counter() - began)
            began = time.perf_counter()
        averaged = self.averaged()
        if logbook is not None:
            checkpoint.save_component(averaged, part)
            checkpoint.write_index(part.parent, self.run)
            self.state_path.unlink(missing_ok=True)
            logbook.close()

    def advance(self, batch: Batch, places: range) -> dict[str, torch.Tensor | float]:
        """One step: errors, gradients, weights and their average."""
        phase, parts = self.phase, self.phase.accumulate
        rate = learning_rate(phase, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        batch = batch.to(self.device)
        self.task.encoders.text.remember(batch.features)
        draws = training_draws(self.run.seed, phase.task, self.step, places, phase.batch, phase.timesteps)
        size = len(places) // parts
        loss = torch.zeros((), device=self.device)
        for start in range(0, len(places), size):
            with self._precision():
                share = self.task.losses(self.callable, batch.part(start, start + size), draws.part(start, start + size)).mean() / parts
            share.backward()
            loss += share.detach()
        loss = self.world.mean(loss)
        norm = self.world.whole(torch.nn.utils.clip_grad_norm_(self.network.parameters(), phase.clip_norm or float("inf")))
        if not torch.isfinite(loss + norm):
            raise Diverged(f"{phase.task}: at step {self.step} the loss is {loss.item()} (gradient norm {norm.item()}); lower learning_rate or clip_norm")
        self.optimizer.step()
        self.average.update(self.network, self.step)
        self.step += 1
        return {"loss": loss, "gradient_norm": norm, "learning_rate": rate}

    def averaged(self) -> Any:
        """The network with its average weights, as it is validated, sampled and kept. Every worker must ask."""
        weights = {name: self.world.whole(tensor) for name, tensor in self.average.weights.items()}
        network: Any = self.task.network(self.run)
        if self.phase.lora_rank:
            add_lora(network, self.phase.lora_rank, generator(self.run.seed, "lora"))
        network.load_state_dict(weights)
        merge_lora(network)
        return network.to(self.device).eval()

    def _network(self) -> Any:
        network: Any = self.task.network(self.run)
        if isinstance(network, VideoUNet) and self.task.stage is not None:
            spec = self.phase.init or spec_for(self.run.init, self.task.stage)
            spec = f"run:{self.folder / 'cascade' / 'base'}" if spec == "base" else spec
            initialise(network, spec, self.run.seed)
            if self.phase.gradient_checkpointing:
                network.enable_gradient_checkpointing()
            if self.phase.lora_rank:
                add_lora(network, self.phase.lora_rank, generator(self.run.seed, "lora"))
        return network

    def _record(self, logbook: Logbook | None, numbers: dict[str, Any], seconds: float) -> None:
        """Log, validate and save where it is time to; the last step does all three. The first worker writes for all."""
        last = self.step == self.phase.steps
        if logbook is not None and (last or self.step % LOG_EVERY == 1):
            logbook.write(self.step - 1, {name: float(number) for name, number in numbers.items()} | {"seconds": round(seconds, 4)})
        due = self.phase.validate_every and self.step % self.phase.validate_every == 0
        if self.held_out is not None and (last or due):
            network = self.averaged()
            if logbook is not None:
                self._validate(logbook, network, self.held_out)
        if not last and self.step % self.phase.checkpoint_every == 0:
            self._save()

    def _validate(self, logbook: Logbook, network: Any, held_out: ClipReader) -> None:
        logbook.write(self.step - 1, {"held_out_loss": mean_held_out_loss(network, self.task, held_out, self.run.seed)})
        if self.run.grids:
            write_grid(self.folder / "grids" / f"{self.phase.task}-{self.step:07d}.png", self.run, self.task, network, held_out)

    def _save(self) -> None:
        """The state whole, whoever holds which share of it, so that any number of workers can go on from it."""
        state = {"step": self.step, "network": self.network.state_dict(), "average": self.average.weights, "optimizer": self.optimizer.state_dict()}
        whole = checkpoint.mapped(state, self.world.whole)
        if self.world.rank == 0:
            checkpoint.save_state(self.state_path, whole)

    def _restore(self) -> None:
        state = checkpoint.load_state(self.state_path, self.device)
        if state is not None:
            self.step = state["step"]
            mine = self.network.state_dict()
            self.network.load_state_dict({name: self.world.share(tensor, mine[name]) for name, tensor in state["network"].items()})
            self.average.weights = {name: self.world.share(tensor, mine[name]) for name, tensor in state["average"].items()}
            parameters, optimizer = trainable(self.network), state["optimizer"]
            optimizer["state"] = {
                number: checkpoint.mapped(of_parameter, partial(self.world.share, like=parameters[number]))
                for number, of_parameter in optimizer["state"].items()
            }
            self.optimizer.load_state_dict(optimizer)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.run.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def cached_latents(run: TrainingRun, task: Task, shards: Shards, world: World) -> LatentCache | None:
    """The latents kept beside the shards, made where they are missing; None where the run keeps none or the task looks at pictures."""
    if not run.cache or task.pixels_needed:
        return None
    cache = LatentCache(shards, task.phase, task.encoders)
    if world.rank == 0:
        cache.fill(shards.entries)
    world.wait()
    return cache


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many CPU threads: the last bits of a sum depend on how many share it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
