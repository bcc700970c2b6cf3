"""The watchdog: what holds a worker or its memory is given up with a reason, what waits is not, and the next source is read."""

import itertools
import signal
import time

import pytest

from curate import read, watchdog
from curate.observers.base import Observer
from curate.read import Splitter, read_source
from curate.watchdog import GivenUp, Watchdog


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(watchdog, "EVERY_S", 0.02)


def test_work_without_progress_is_given_up():
    with pytest.raises(GivenUp, match=r"no progress in 0.2 CPU seconds"), Watchdog(0.2, 10**12).watching():
        for _ in itertools.count():
            pass


def test_growing_memory_is_given_up():
    held = []
    with pytest.raises(GivenUp, match="over 0.1 GB"), Watchdog(60, 10**8).watching():
        while True:
            held.append(b"x" * 10**7)
    assert len(held) < 100


def test_waiting_is_not_working():
    with Watchdog(0.2, 10**12).watching():
        time.sleep(0.5)


def test_progress_starts_the_count_anew():
    dog = Watchdog(0.4, 10**12)
    with dog.watching():
        for _ in range(6):
            until = time.process_time() + 0.1
            while time.process_time() < until:
                pass
            dog.progress()


def test_afterwards_nobody_watches():
    before = signal.getsignal(signal.SIGALRM)
    with Watchdog(60, 10**12).watching():
        pass
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


class Endless(Observer):
    """Never done with a span."""

    columns = ()

    def observe(self, frames):
        pass

    def close(self, span):
        for _ in itertools.count():
            pass


def test_a_source_that_is_measured_for_ever_fails_with_the_reason_and_the_next_one_is_read(tmp_path, made_footage, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(read, "OBSERVERS", (Endless,))
        patched.setattr(read, "STALLED_CPU_S", 2.0)
        (reading,) = read_source("s1", str(made_footage / "moving.mp4"), "video", Splitter(), tmp_path).tables["readings"].to_pylist()
    assert (reading["status"], reading["reason"]) == ("failed", "measuring it made no progress in 2 CPU seconds")
    (reading,) = read_source("s2", str(made_footage / "moving.mp4"), "video", Splitter(), tmp_path).tables["readings"].to_pylist()
    assert reading["status"] == "ok"
