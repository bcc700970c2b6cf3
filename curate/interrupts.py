"""Interrupts: Ctrl-C that is raised again until it is heard, for libraries that lose an exception which arrives in one of their callbacks."""

import _thread
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

PATIENCE_S = 2.0
"""How long an interrupt has to end what it interrupts before it comes again."""

Item = TypeVar("Item")


def interruptible(items: Iterable[Item]) -> Iterator[Item]:
    """The items; while one is waited for, an interrupt comes back every PATIENCE_S until the wait has ended.

    Ray can swallow one that comes just after a batch, and then the run goes on as if nobody had asked.
    """
    waiting = iter(items)
    nothing = object()
    while True:
        with _insisting():
            item = next(waiting, nothing)
        if item is nothing:
            return
        yield item  # type: ignore[misc]


@contextmanager
def _insisting() -> Iterator[None]:
    """Handles SIGINT within the block, where it would have raised KeyboardInterrupt: only in the main thread, and not in place of a handler of others."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    asked, ended = threading.Event(), threading.Event()

    def insist() -> None:
        while not ended.wait(PATIENCE_S):
            _thread.interrupt_main()

    def hear(number: int, frame: object) -> None:
        if not asked.is_set():
            asked.set()
            threading.Thread(target=insist, daemon=True).start()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        ended.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
