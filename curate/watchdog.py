"""Watchdog: no source may hold its worker for ever or take all of its memory; what does is given up with a reason, and the next one is read."""

import contextlib
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

EVERY_S = 1.0


class GivenUp(Exception):
    """A limit was passed; the message says which."""


class Watchdog:
    """Looks every second, from the main thread's own signal, so that no thread is left behind; elsewhere than in the main thread it only sleeps.

    Args:
        cpu_s: most CPU seconds from one sign of progress to the next. Waiting is not counted: a machine that is busy or asleep is no fault of the source.
        memory_bytes: by how much this process may grow.
    """

    def __init__(self, cpu_s: float, memory_bytes: int) -> None:
        self._cpu_s, self._memory_bytes = cpu_s, memory_bytes
        self._progress_s, self._started_with = time.process_time(), 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is done within.

        Raises:
            GivenUp: a limit was passed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._started_with = _memory()
        self.progress()
        before = signal.signal(signal.SIGALRM, self._look)
        signal.siginterrupt(signal.SIGALRM, False)
        signal.setitimer(signal.ITIMER_REAL, EVERY_S, EVERY_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def progress(self) -> None:
        """Something was done."""
        self._progress_s = time.process_time()

    def _look(self, number: int, frame: FrameType | None) -> None:
        if time.process_time() - self._progress_s > self._cpu_s:
            raise GivenUp(f"measuring it made no progress in {self._cpu_s:g} CPU seconds")
        if _memory() - self._started_with > self._memory_bytes:
            raise GivenUp(f"measuring it took over {self._memory_bytes / 1e9:g} GB")


def _memory() -> int:
    """Bytes of this process in memory: at present on Linux, at most so far elsewhere."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
