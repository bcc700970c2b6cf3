"""The engines: the same rows in the same order here and on Ray, small machines, workers that die, interruptions."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import engine
from curate.engine import EngineError, _advice, _cpus_each, _smallest_node, choose_engine, run_here, run_on_ray
from curate.stage import Resources, Stage

ROOT = Path(__file__).resolve().parents[2]


class Repeat(Stage):
    """As many rows as `number` says, so some rows vanish and some multiply."""

    reads = frozenset({"number"})
    writes = frozenset({"number", "copy"})
    batch_rows = 3

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        for number in rows["number"].to_pylist():
            yield pa.table({"number": [number] * number, "copy": list(range(number))}, schema=pa.schema([("number", pa.int64()), ("copy", pa.int64())]))


class Square(Stage):
    """Adds the square; counts what it was set up for in `setup`, so that a worker without setup fails."""

    reads = frozenset({"number"})
    writes = frozenset({"square"})
    batch_rows = 2

    def setup(self) -> None:
        self.power = 2

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        yield rows.append_column("square", pa.array([number**self.power for number in rows["number"].to_pylist()], pa.int64()))


class Fragile(Stage):
    """Takes its worker down with it on one number; an isolated stage."""

    reads = frozenset({"number"})
    writes = frozenset({"outcome"})
    resources = Resources(cpus=0.5, memory_gb=0.1, isolated=True)

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        if self.fatal in rows["number"].to_pylist():
            os.kill(os.getpid(), signal.SIGKILL)
        yield rows.append_column("outcome", pa.array(["well"] * rows.num_rows))

    def lost(self, rows: pa.Table, reason: str) -> Iterator[pa.Table]:
        yield rows.append_column("outcome", pa.array([reason] * rows.num_rows))


class Forgetful(Stage):
    """Promises a column and does not write it."""

    reads = frozenset({"number"})
    writes = frozenset({"promised"})

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        yield rows


class Failing(Stage):
    """Has a defect."""

    reads = frozenset({"number"})
    writes = frozenset({"number"})

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        raise ZeroDivisionError("a defect of ours")
        yield rows


def numbers(*values: int) -> pa.Table:
    return pa.table({"number": pa.array(values, pa.int64())})


def joined(flow: Iterator[pa.Table]) -> list[dict]:
    return [row for table in flow for row in table.to_pylist()]


@pytest.fixture(scope="module")
def on_ray() -> Iterator[None]:
    """Ray, with the stages of this file sent by value: its workers cannot import tests."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.shutdown()


@settings(deadline=None, max_examples=40)
@given(values=st.lists(st.integers(0, 4), max_size=12), cut=st.integers(1, 5))
def test_the_result_does_not_depend_on_where_batches_are_cut(values: list[int], cut: int) -> None:
    class Cut(Repeat):
        batch_rows = cut

    assert joined(run_here(numbers(*values), [Cut(), Square()])) == joined(run_here(numbers(*values), [Repeat(), Square()]))


def test_a_stage_without_rows_is_never_set_up() -> None:
    class Dear(Square):
        def setup(self) -> None:
            raise AssertionError("loaded its weights for nothing")

    assert joined(run_here(numbers(0, 0), [Repeat(), Dear()])) == []


def test_the_stage_given_stays_as_it_was() -> None:
    stage = Square()
    list(run_here(numbers(1), [stage]))
    assert not hasattr(stage, "power")


def test_a_missing_and_a_broken_promise_are_named() -> None:
    with pytest.raises(KeyError, match=r"Square reads \['number'\], which no earlier step wrote"):
        list(run_here(pa.table({"other": [1]}), [Square()]))
    with pytest.raises(KeyError, match="Forgetful promised to write"):
        list(run_here(numbers(1), [Forgetful()]))


def test_the_listener_hears_rows_handed_on_against_rows_given() -> None:
    heard = []
    list(run_here(numbers(1, 2, 3), [Square()], lambda *told: heard.append(told)))
    assert heard == [("Square", 2, 3), ("Square", 3, 3)]


def test_auto_runs_small_jobs_here_and_joins_a_named_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert choose_engine("auto", 60) is run_here
    assert choose_engine("auto", 1e6) is run_on_ray
    assert choose_engine("here", 1e6) is run_here
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert choose_engine("auto", 1e6) is run_here
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert choose_engine("auto", 60) is run_on_ray


@settings(deadline=None, max_examples=40)
@given(asked=st.lists(st.floats(0.1, 8), min_size=1, max_size=6), cpus=st.floats(1, 64))
def test_one_worker_of_each_stage_fits_with_room_to_spare(asked: list[float], cpus: float) -> None:
    stages = [type("Any", (Repeat,), {"resources": Resources(cpus=share)})() for share in asked]
    given_each = _cpus_each(stages, cpus)
    assert sum(given_each) <= cpus - 0.09
    assert all(0 < share <= max(wanted, 0.1) for share, wanted in zip(given_each, asked))


def test_one_worker_of_each_stage_fits_on_the_smallest_node_in_case_the_others_are_lost() -> None:
    cpus = (0.0, 16.0, 2.0, 1.0)
    nodes = [{"Alive": True, "Resources": {"CPU": each}} for each in cpus] + [{"Alive": False, "Resources": {"CPU": 0.5}}, {"Alive": True, "Resources": {}}]
    assert _smallest_node(nodes) == 1.0
    assert sum(_cpus_each([Repeat(), Square(), Failing()], _smallest_node(nodes))) < 1.0


def test_the_advice_says_what_is_asked_what_there_is_and_what_to_do() -> None:
    told = _advice([Fragile(1)], {"CPU": 2.0, "memory": 2**30}, "no progress")
    assert "Fragile (0.5 CPU" in told and "2 CPU" in told and "--on here" in told
    assert issubclass(EngineError, RuntimeError)


@pytest.mark.usefixtures("on_ray")
class TestOnRay:
    """One Ray for all of these: starting it is what takes the time."""

    def test_ray_gives_the_same_rows_in_the_same_order(self) -> None:
        rows = numbers(*(number % 4 for number in range(23)))
        stages = [Repeat(), Square()]
        assert joined(run_on_ray(rows, stages)) == joined(run_here(rows, stages))

    def test_three_stages_that_ask_for_more_than_there_is_still_finish(self) -> None:
        class Greedy(Square):
            resources = Resources(cpus=float(os.cpu_count() or 1), memory_gb=0.1)

        class Greedier(Greedy):
            writes = frozenset({"number"})

            def process(self, rows: pa.Table) -> Iterator[pa.Table]:
                yield rows

        assert [row["square"] for row in joined(run_on_ray(numbers(*range(9)), [Greedier(), Greedy(), Greedier()]))] == [n * n for n in range(9)]

    def test_when_every_row_is_filtered_out_nothing_comes_and_nothing_fails(self) -> None:
        assert joined(run_on_ray(numbers(0, 0, 0, 0), [Repeat(), Square()])) == []
        assert joined(run_on_ray(numbers(), [Square()])) == []

    def test_a_row_that_kills_its_worker_is_given_up_and_the_rest_survives(self) -> None:
        found = {row["number"]: row["outcome"] for row in joined(run_on_ray(numbers(*range(6)), [Fragile(fatal=4)]))}
        assert found == {**dict.fromkeys((0, 1, 2, 3, 5), "well"), 4: "its worker died 3 times while at it"}

    def test_a_run_in_which_nothing_moves_ends_with_advice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Stuck(Square):
            def process(self, rows: pa.Table) -> Iterator[pa.Table]:
                time.sleep(600)
                yield rows

        monkeypatch.setattr(engine, "PROGRESS_PATIENCE_S", 30)
        with pytest.raises(EngineError, match=r"no progress on Ray. The stages ask for Stuck \(1 CPU.*`--on here`"):
            list(run_on_ray(numbers(1), [Stuck()]))

    def test_a_defect_arrives_as_itself(self) -> None:
        with pytest.raises(ZeroDivisionError, match="a defect of ours"):
            list(run_on_ray(numbers(1), [Failing()]))


# It says that it runs once a worker is at it: Ray may give the rows to a worker in any order, so a first row that is done tells nothing of a second.
SLEEPER = """
import os, pathlib, signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in a shell's background is born deaf to Ctrl-C
import pyarrow as pa
from curate.engine import run_on_ray
from curate.stage import Stage
asleep = pathlib.Path(os.environ["CLIPMILL_TEST"]) / "asleep"
class Sleep(Stage):
    reads = writes = frozenset({"number"})
    batch_rows = 1
    def process(self, rows):
        asleep.touch()
        time.sleep(600)
        yield rows
def tell():
    while not asleep.exists():
        time.sleep(0.1)
    print("running", flush=True)
threading.Thread(target=tell, daemon=True).start()
list(run_on_ray(pa.table({"number": [0, 1]}), [Sleep()]))
"""


def test_ctrl_c_stops_the_run_and_leaves_no_process_behind(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CLIPMILL_TEST": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "running\n"
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=120)
        assert child.returncode != 0 and told.strip().endswith("KeyboardInterrupt")
        deadline = time.monotonic() + 60
        while _processes_marked(str(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert _processes_marked(str(tmp_path)) == []
    finally:
        for process in _processes_marked(str(tmp_path)):
            os.kill(process, signal.SIGKILL)


def _processes_marked(mark: str) -> list[int]:
    """Processes that inherited the mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
