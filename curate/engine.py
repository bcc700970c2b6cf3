"""Where stages run: in this process, or on Ray, with the same rows in the same order; the only file that knows Ray."""

import contextlib
import functools
import logging
import math
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from curate.stage import Stage, Worker

Listener = Callable[[str, float, float], None]
Engine = Callable[..., Iterator[pa.Table]]

ATTEMPTS = 3
"""How often a row of an isolated stage may take its worker down before the stage is asked to record it as lost."""

MOST_BLOCKS = 4096
OBJECT_STORE_BYTES = 512 << 20
START_PATIENCE_S, PROGRESS_PATIENCE_S = 1800, 4 * 3600
CORES_WORTH_RAY, FOOTAGE_WORTH_RAY_S = 4, 900.0


class EngineError(RuntimeError):
    """Ray cannot run the stages; the message says what they ask for, what there is, and what to do."""


def quiet(what: str, done: float, total: float) -> None:
    """Nobody listens."""


def choose_engine(on: Literal["auto", "here", "ray"], footage_s: float) -> Engine:
    """The engine by name; `auto` takes Ray where a cluster was named (RAY_ADDRESS), or cores and footage repay its start of half a minute."""
    if on == "ray" or (on == "auto" and (os.environ.get("RAY_ADDRESS") or _repays(footage_s))):
        return run_on_ray
    return run_here


def run_here(rows: pa.Table, stages: Sequence[Stage], listener: Listener = quiet) -> Iterator[pa.Table]:
    """Fold the stages over the rows in this process.

    The listener hears how many rows the last stage handed on, against how many were given (a stage may make more of them, or fewer).
    """
    flow: Iterator[pa.Table] = iter([rows])
    for stage in stages:
        flow = _through(stage, flow)
    return _told(flow, rows.num_rows, stages, listener)


def run_on_ray(rows: pa.Table, stages: Sequence[Stage], listener: Listener = quiet) -> Iterator[pa.Table]:
    """Run the stages as one Ray Data pipeline, a `map_batches` each; the same rows in the same order as `run_here`.

    Raises:
        EngineError: the stages do not fit on the cluster, or nothing progresses.
    """
    if not rows.num_rows:
        return iter(())
    return _told(_flow_on_ray(rows, stages), rows.num_rows, stages, listener)


def _told(flow: Iterator[pa.Table], total: int, stages: Sequence[Stage], listener: Listener) -> Iterator[pa.Table]:
    done, what = 0, type(stages[-1]).__name__ if stages else "rows"
    for made in flow:
        done += made.num_rows
        yield made
        listener(what, done, total)


def _through(stage: Stage, flow: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """One stage over a flow of tables; set up only when a first row arrives."""
    worker: Worker | None = None
    for batch in _batches(flow, stage.batch_rows):
        worker = worker or Worker(stage)
        yield from (made for made in worker(batch) if made.num_rows)


def _batches(flow: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows`, the last one shorter."""
    waiting: list[pa.Table] = []
    for table in flow:
        waiting.append(table)
        while sum(part.num_rows for part in waiting) >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows)
            waiting = [joined.slice(rows)]
    rest = pa.concat_tables(waiting) if waiting else None
    if rest is not None and rest.num_rows:
        yield rest


def _repays(footage_s: float) -> bool:
    return (os.cpu_count() or 1) >= CORES_WORTH_RAY and footage_s >= FOOTAGE_WORTH_RAY_S


def _flow_on_ray(rows: pa.Table, stages: Sequence[Stage]) -> Iterator[pa.Table]:
    ray = _ray_started()
    _check_room(stages, ray.cluster_resources())
    dataset = ray.data.from_arrow(list(_batches([rows], _block_rows(rows, stages))))
    cpus = _cpus_each(stages, _smallest_node(ray.nodes()))
    # It may live on a node that goes: then it starts again elsewhere, and attempts are counted anew.
    counting = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts)
    attempts = counting.remote() if any(stage.resources.isolated for stage in stages) else None
    for stage, share in zip(stages, cpus):
        dataset = _add(ray, dataset, stage, share, attempts if stage.resources.isolated else None)
    try:
        for made in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            if made.num_rows:
                yield made
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except (ray.data.exceptions.ExecutionTimeoutError, ray.exceptions.GetTimeoutError) as error:
        raise EngineError(_advice(stages, ray.cluster_resources(), str(error))) from None
    except KeyboardInterrupt:
        ray.shutdown()
        raise


def _add(ray: Any, dataset: Any, stage: Stage, cpus: float, attempts: Any) -> Any:
    """The dataset after one more stage. Isolated stages are tasks, so that a worker that dies takes one row down; others keep their weights in actors."""
    resources = stage.resources
    asked = {"num_cpus": cpus, "num_gpus": resources.gpus, "memory": int(resources.memory_gb * 2**30)}
    if resources.isolated:
        # Ray's own patience has to outlast ours, which ends with a recorded row instead of a failed run.
        return dataset.map_batches(_isolated(stage, attempts), batch_size=1, batch_format="pyarrow", max_retries=2 * ATTEMPTS, **asked)
    most = max(1, int(ray.cluster_resources().get("CPU", 1.0) / cpus))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most)
    return dataset.map_batches(_named(stage), batch_size=stage.batch_rows, batch_format="pyarrow", compute=pool, **asked)


def _named(stage: Stage) -> type:
    """A worker class called as its stage, which is what Ray's operators and logs are called by."""

    class Hired:
        def __init__(self) -> None:
            self.worker = Worker(stage)

        def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
            return self.worker(batch)

    Hired.__name__ = Hired.__qualname__ = type(stage).__name__
    return Hired


def _isolated(stage: Stage, attempts: Any) -> Callable[[pa.Table], Iterator[pa.Table]]:
    """A task function for one row, which gives a row up once it has taken its worker down too often."""

    pickled = pickle.dumps(stage)

    def one(batch: pa.Table) -> Iterator[pa.Table]:
        import ray

        which = repr(batch.to_pylist())
        if ray.get(attempts.begin.remote(which)) > ATTEMPTS:
            yield from stage.lost(batch, f"its worker died {ATTEMPTS} times while at it")
            return
        yield from _worker_of(pickled)(batch)
        ray.get(attempts.end.remote(which))

    one.__name__ = one.__qualname__ = type(stage).__name__
    return one


@functools.lru_cache(maxsize=2)
def _worker_of(pickled: bytes) -> Worker:
    """One worker per stage and process, since Ray runs many tasks in one process."""
    return Worker(pickle.loads(pickled))


class _Attempts:
    """How often each row was begun and not ended."""

    def __init__(self) -> None:
        self.begun: dict[str, int] = {}

    def begin(self, which: str) -> int:
        self.begun[which] = self.begun.get(which, 0) + 1
        return self.begun[which]

    def end(self, which: str) -> None:
        self.begun.pop(which, None)


def _smallest_node(nodes: Sequence[Mapping[str, Any]]) -> float:
    """CPUs of the smallest node that has any: with one worker of each stage on it, the run goes on when the others are lost."""
    return min((node["Resources"]["CPU"] for node in nodes if node["Alive"] and node["Resources"].get("CPU")), default=1.0)


def _cpus_each(stages: Sequence[Stage], cpus: float) -> list[float]:
    """CPUs for a worker of each stage: what it asks for, or less where one worker of each would not fit at once.

    Ray starts no task that does not fit beside the actors, and would wait for ever: a tenth of a core stays free.
    """
    asked = [max(stage.resources.cpus, 0.1) for stage in stages]
    room = max(cpus - 0.1, 0.5) / sum(asked)
    return asked if room >= 1 else [max(0.01, math.floor(one * room * 100) / 100) for one in asked]


def _block_rows(rows: pa.Table, stages: Sequence[Stage]) -> int:
    """Rows per block, which is what a task takes: a batch, or several where there would be too many blocks."""
    batch = 1 if stages[0].resources.isolated else stages[0].batch_rows
    return batch * max(1, math.ceil(rows.num_rows / (batch * MOST_BLOCKS)))


def _check_room(stages: Sequence[Stage], resources: dict[str, float]) -> None:
    """Refuse at once what Ray would wait for in vain. CPUs are shared out, see `_cpus_each`; GPUs and memory cannot be."""
    gpus, memory = max(stage.resources.gpus for stage in stages), sum(stage.resources.memory_gb for stage in stages) * 2**30
    if gpus > resources.get("GPU", 0.0) or memory > resources.get("memory", math.inf):
        raise EngineError(_advice(stages, resources, "it would not start"))


def _advice(stages: Sequence[Stage], resources: dict[str, float], told: str) -> str:
    asked = ", ".join(
        f"{type(stage).__name__} ({stage.resources.cpus:g} CPU, {stage.resources.gpus:g} GPU, {stage.resources.memory_gb:g} GB)" for stage in stages
    )
    there = f"{resources.get('CPU', 0):g} CPU, {resources.get('GPU', 0):g} GPU, {resources.get('memory', 0) / 2**30:.1f} GB"
    return (
        f"no progress on Ray. The stages ask for {asked}; the cluster has {there}. Give it more room, stop what else runs on it, "
        f"or use `--on here`; what is done is kept, and running the step again resumes. Ray says: {told.splitlines()[0]}"
    )


def _ray_started() -> Any:
    """Ray, started quietly or joined (RAY_ADDRESS), with our packages on its workers' path."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Ray's workers yield to everything else (15); beside many busy processes what takes seconds here would take an hour there.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray
    import ray.data

    if not ray.is_initialized():
        packages = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH")]))
        cluster = os.environ.get("RAY_ADDRESS")
        with _hushed():
            ray.init(
                address=cluster or "local",  # and never a cluster of somebody else's that happens to run here
                runtime_env={"env_vars": {"PYTHONPATH": path}},
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=None if cluster else False,
                object_store_memory=None if cluster else OBJECT_STORE_BYTES,
            )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    context.wait_for_min_actors_s, context.execution_no_progress_timeout_s = START_PATIENCE_S, PROGRESS_PATIENCE_S
    # `max_retries` has no named parameter to go through yet, so what Ray says about unnamed ones helps nobody.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated", category=DeprecationWarning)
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without what Ray's native code says on standard error while it starts; what goes wrong comes as an exception all the same."""
    told, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(told, 2)
        os.close(told)
        os.close(nowhere)
