"""Ctrl-C ends a wait even where the first one was swallowed."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from curate import interrupts
from curate.interrupts import interruptible


def deaf(times: int) -> Iterator[int]:
    """Swallows interrupts, as a callback in foreign code does, and waits on."""
    yield 0
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(times):
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            continue
    time.sleep(60)
    yield 1


@pytest.mark.parametrize("times", [0, 1, 2])
def test_an_interrupt_that_was_swallowed_comes_again(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    monkeypatch.setattr(interrupts, "PATIENCE_S", 0.2)
    items, began = interruptible(deaf(times)), time.monotonic()
    assert next(items) == 0
    with pytest.raises(KeyboardInterrupt):
        next(items)
    assert time.monotonic() - began < 30
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_not_interrupted_arrives_whole() -> None:
    assert list(interruptible(range(3))) == [0, 1, 2]


def test_a_handler_of_others_is_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert next(interruptible(signal.getsignal(signal.SIGINT) for _ in range(1))) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
