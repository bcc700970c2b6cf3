"""Stage: the one interface of a step that turns a table into a table, and the worker that runs it anywhere."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage takes up.

    Attributes:
        cpus: CPU cores.
        gpus: GPUs; fractions share one.
        memory_gb: memory, in gigabytes.
        isolated: whether each batch is a task of its own, so that one bad input takes nothing else down.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 1.0
    isolated: bool = False


class Stage(ABC):
    """Turns a table into a table, one batch at a time.

    Plain data until `setup`, so that it pickles to any worker. The result must not depend on where batches are cut:
    a step that needs every row is a function, not a Stage.
    """

    reads: ClassVar[frozenset[str]]
    writes: ClassVar[frozenset[str]]
    resources: Resources = Resources()
    batch_rows: int = 32

    def setup(self) -> None:  # noqa: B027 - a stage without weights has nothing to set up
        """Load weights and open handles, once per worker."""

    @abstractmethod
    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Same, more or fewer rows; yields, so that a long film stays flat in memory."""

    def lost(self, rows: pa.Table, reason: str) -> Iterator[pa.Table]:
        """What to hand on for rows that took their worker down at every attempt. Only isolated stages are asked; this one stops the run."""
        raise RuntimeError(f"{type(self).__name__}: {rows.to_pylist()}: {reason}")


class Worker:
    """A private copy of a stage, set up once, that checks what the stage promised. Both engines run it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = copy.deepcopy(stage)
        self.stage.setup()

    def __call__(self, rows: pa.Table) -> Iterator[pa.Table]:
        missing = self.stage.reads - set(rows.column_names)
        if missing:
            raise KeyError(f"{type(self.stage).__name__} reads {sorted(missing)}, which no earlier step wrote; there are {rows.column_names}")
        for made in self.stage.process(rows):
            unwritten = self.stage.writes - set(made.column_names)
            if unwritten:
                raise KeyError(f"{type(self.stage).__name__} promised to write {sorted(unwritten)} and did not")
            yield made
