"""Sandbox: the supervised, reused processes in which media is opened; a crash or a hang ends one of them, and its own source's reading only."""

import atexit
import contextlib
import fcntl
import json
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
LAST_ANSWERS = frozenset({"probe", "end", "refused"})
PIPE_BYTES = 2**20
MOST_HEADER_BYTES, MOST_ANSWER_BYTES = 64 * 2**20, 2**31


class MediaError(Exception):
    """Media that cannot be read; the message is a plain reason, without a path."""


@dataclass(frozen=True)
class Patience:
    """How long the process may take, in seconds, counted only while somebody waits for it."""

    silence_s: float = 60.0
    total_s: float = 12 * 3600.0


class MediaProcess:
    """One running media process."""

    def __init__(self) -> None:
        program = "import sys; sys.path.insert(0, sys.argv[1]); from curate.media.process import main; main()"
        environment = {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", program, str(ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        with contextlib.suppress(AttributeError, OSError):  # Linux only; a pipe of the usual size works as well, in sixteen times as many steps
            fcntl.fcntl(self._pipe(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._owner = os.getpid()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe(), selectors.EVENT_READ)

    def _pipe(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    @property
    def is_usable(self) -> bool:
        """Alive, and started by this very process rather than by one it was forked from."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, request: dict[str, Any], patience: Patience) -> Iterator[tuple[dict[str, Any], bytearray]]:
        """Answers until the last one, each a header and raw bytes.

        Raises:
            MediaError: the process crashed or outlasted our patience.
        """
        self._waited_s, self._patience = 0.0, patience
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise MediaError(self._cause_of_death()) from None
        while True:
            head_bytes, body_bytes = struct.unpack(">II", self._read(8))
            if head_bytes > MOST_HEADER_BYTES or body_bytes > MOST_ANSWER_BYTES:
                raise MediaError("the decoder answered nonsense")
            yield json.loads(self._read(head_bytes)), self._read(body_bytes)

    def _read(self, size: int) -> bytearray:
        """Exactly `size` bytes of its answer."""
        data, filled = bytearray(size), 0
        view = memoryview(data)
        while filled < size:
            allowed_s = min(self._patience.silence_s, self._patience.total_s - self._waited_s)
            started = time.monotonic()
            if allowed_s <= 0 or not self._selector.select(allowed_s):
                self.kill()
                raise MediaError(f"the decoder made no progress for {allowed_s:.0f} s" if allowed_s > 0 else f"took over {self._patience.total_s:.0f} s")
            self._waited_s += time.monotonic() - started
            got = os.readv(self._pipe(), [view[filled:]])
            if got == 0:
                raise MediaError(self._cause_of_death())
            filled += got
        return data

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            code = None
        self.kill()
        return f"the decoder crashed (signal {-code})" if code is not None and code < 0 else f"the decoder ended unexpectedly (exit code {code})"

    def kill(self) -> None:
        """End it at once; returns when it is gone."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


_idle: list[MediaProcess] = []
_lock = threading.Lock()


def ask(request: dict[str, Any], patience: Patience | None = None) -> Iterator[tuple[dict[str, Any], bytearray]]:
    """Ask an idle media process (or a new one); it is kept for the next question if it answered this one to the end.

    Raises:
        MediaError: with a plain reason.
    """
    process = _borrow()
    done = False
    try:
        for header, body in process.ask(request, patience or Patience()):
            done = header["kind"] in LAST_ANSWERS
            if header["kind"] == "refused":
                raise MediaError(str(header["reason"]))
            yield header, body
            if done:
                return
    finally:
        if done and process.is_usable:
            with _lock:
                _idle.append(process)
        else:
            process.kill()


def _borrow() -> MediaProcess:
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.is_usable:
                return process
    return MediaProcess()


@atexit.register
def close_idle() -> None:
    """End the idle processes that this process started."""
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.is_usable:
                process.kill()
