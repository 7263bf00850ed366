"""Progress of an import on stderr: a bar on a terminal, otherwise a line every ten seconds. Counts bytes, or rows."""

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 10.0  # seconds between two lines


class Meter:
    """Adds up what has been read; prints nothing."""

    def __init__(self, total: int):
        self.total, self.done, self.doing = total, 0, ""

    def begin(self, doing: str) -> None:
        """Say what is being read."""
        self.doing = doing

    def advance(self, amount: int) -> None:
        """`amount` more bytes or rows have been read."""
        self.done += amount


class _Lines(Meter):
    """Prints a line every `EVERY` seconds."""

    last = 0.0

    def advance(self, amount: int) -> None:
        super().advance(amount)
        if time.monotonic() - self.last > EVERY:
            share = f" ({min(1.0, self.done / self.total):.0%} of all files)" if self.total else ""
            print(f"{self.doing}{share}", file=sys.stderr, flush=True)
            self.last = time.monotonic()


class _Bar(Meter):
    """Moves a bar."""

    def __init__(self, total: int, bar: Progress):
        super().__init__(total)
        self.bar, self.task = bar, bar.add_task("", total=total or None)

    def begin(self, doing: str) -> None:
        self.bar.update(self.task, description=doing)

    def advance(self, amount: int) -> None:
        super().advance(amount)
        self.bar.update(self.task, completed=self.done)


@contextlib.contextmanager
def shown(total: int) -> Iterator[Meter]:
    """A meter of `total` bytes or rows; 0: the number is not known."""
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = _Lines(total)
        lines.last = time.monotonic()
        yield lines
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(total, bar)
