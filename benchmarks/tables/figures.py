"""Figures of one store: seconds of wall and CPU, and bytes on disk."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Figures:
    """What was measured of one layout: what, and the figure."""

    name: str
    told: dict[str, str] = field(default_factory=dict)

    def timed(self, what: str, work: Callable[[], Any]) -> Any:
        """Do some work and note its seconds."""
        cpu, wall = cpu_s(), time.perf_counter()
        made = work()
        self.told[what] = f"{time.perf_counter() - wall:.2f} s ({cpu_s() - cpu:.2f} CPU)"
        print(f"{self.name}: {what}: {self.told[what]}", flush=True)
        return made


def cpu_s() -> float:
    """CPU seconds of this process and of its children that ended."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def on_disk(folder: Path) -> tuple[int, float]:
    """Files, and megabytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files) / 1e6
