"""Running: what a command and all it starts take, daemons included."""

import contextlib
import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
LOOK_EVERY_S, PATIENCE_S = 0.2, 900.0


@dataclass(frozen=True)
class Taken:
    """What commands took: CPU seconds and wall seconds of all their processes, the peak of the largest one in MB, the worst exit code, and what was said."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    code: int
    said: str


def run(commands: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str]) -> Taken:
    """Run commands one after the other, each until nothing of it is left or `PATIENCE_S` have passed."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("this system does not hand orphans on (Linux does), so what daemons take would not be seen")
    cpu_s, peak_kb, code, said = 0.0, 0.0, 0, ""
    began = time.monotonic()
    for command in commands:
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(command, cwd=folder, stdout=told, stderr=told, env={**os.environ, **environment})
            seen_s, reached_kb = _watch(process)
            _, status, usage = os.wait4(process.pid, 0)
            _end_what_is_left()
            told.seek(0)
            said += told.read().decode(errors="replace")
        # Ray's daemons let the system reap their workers, so the system's own sum lacks them; looking misses what lives for less than a look.
        cpu_s, peak_kb = cpu_s + max(seen_s, usage.ru_utime + usage.ru_stime), max(peak_kb, reached_kb, usage.ru_maxrss)
        code = max(code, abs(os.waitstatus_to_exitcode(status)))
    return Taken(cpu_s, time.monotonic() - began, peak_kb / 1e3, code, said)


def _watch(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Look at all descendants until a process ends, which is killed when it takes too long: their CPU seconds, and the largest one's memory in kB."""
    times_s: dict[tuple[int, float], float] = {}
    peak_kb, ends = 0.0, time.monotonic() + PATIENCE_S
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > ends:
            process.kill()
        for one in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                spent = one.cpu_times()
                times_s[one.pid, one.create_time()] = spent.user + spent.system
                peak_kb = max(peak_kb, one.memory_info().rss / 1024)
        time.sleep(LOOK_EVERY_S)
    return sum(times_s.values()), peak_kb


def _end_what_is_left() -> None:
    """Kill and reap daemons, whose own children fall to us in turn."""
    while left := psutil.Process().children(recursive=True):
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(left, timeout=5)
