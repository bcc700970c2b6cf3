"""Progress as people see it: one line per piece of work, from the `listener` that every long function takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Listener = Callable[[str, float, float], None]

PLAIN_EVERY = 0.25


@contextmanager
def progress_shown(console: Console) -> Iterator[Listener]:
    """Yields a listener `(what, done, total)` that draws bars on a terminal, and prints a line a quarter where there is none."""
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def listen(what: str, done: float, total: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=max(total, 1e-9))

        yield listen


def _plain_lines(console: Console) -> Listener:
    """For logs: says where each piece of work stands, at every quarter of it."""
    told: dict[str, int] = {}

    def listen(what: str, done: float, total: float) -> None:
        quarter = int(done / total / PLAIN_EVERY) if total else 0
        if quarter != told.get(what):
            told[what] = quarter
            console.print(f"{what}: {done:.0f}/{total:.0f}", highlight=False)

    return listen
