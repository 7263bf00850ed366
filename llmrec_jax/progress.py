"""Progress of work that takes over two seconds, on stderr: a bar on a terminal, otherwise a line every ten seconds.

The work counts in a `Meter`; a thread reads the meter and prints. Nested work has one bar each, in one display. In a
job of several processes only the first prints (`mute`). For training steps see `train/metrics.ProgressLine`.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

FIRST = 2.0  # seconds until something is shown
EVERY = 10.0  # seconds between two lines
REFRESH = 0.2  # seconds between two states of a bar
T = TypeVar("T")
_is_muted: ContextVar[bool] = ContextVar("_is_muted", default=False)


class Meter:
    """Counts how much of some work is done."""

    def __init__(self, doing: str, total: float = 0, is_share: bool = False):
        """
        Args:
          doing: the work, such as "encoding texts".
          total: how many things it consists of; 0: not known.
          is_share: show a percentage instead of the number of things, which may be bytes.
        """
        self.doing, self.total, self.is_share = doing, total, is_share
        self.step, self.done = doing, 0.0
        self.started = time.monotonic()

    def begin(self, step: str, total: float | None = None) -> None:
        """Name the current step of the work; with `total`, count from 0 again."""
        if total is not None:
            self.total, self.done, self.started = total, 0.0, time.monotonic()
        self.step = step

    def advance(self, amount: float = 1) -> None:
        """Count `amount` more things as done."""
        self.done += amount

    def seconds_left(self) -> float | None:
        """An estimate; None if it is not known."""
        if not 0 < self.done < self.total:
            return None
        return (time.monotonic() - self.started) * (self.total - self.done) / self.done

    def state(self) -> str:
        """What is done, such as "3 of 20" or "15%"; "" if the total is not known."""
        if not self.total:
            return ""
        return f"{min(1.0, self.done / self.total):.0%}" if self.is_share else f"{self.done:,.0f} of {self.total:,.0f}"

    def line(self) -> str:
        """Step, state and time left; if the total is not known, the time it took so far."""
        if not self.total:
            return f"{self.step} ... {time.monotonic() - self.started:,.0f} s"
        left = self.seconds_left()
        return f"{self.step}: {self.state()}" + ("" if left is None else f", {left:,.0f} s left")


@contextlib.contextmanager
def shown(doing: str, total: float = 0, *, is_share: bool = False) -> Iterator[Meter]:
    """Show the progress of the work in this context; see `Meter` for the arguments."""
    meter = Meter(doing, total, is_share)
    if _is_muted.get() or sys.stderr is None:
        yield meter
        return
    end = threading.Event()
    watcher = threading.Thread(target=_watch, args=(meter, end, sys.stderr), name="progress", daemon=True)
    watcher.start()
    try:
        yield meter
    finally:
        end.set()
        watcher.join()


def counted(things: Iterable[T], doing: str, total: int) -> Iterator[T]:
    """The things, with progress: one is done when the next is asked for."""
    with shown(doing, total) as meter:
        for thing in things:
            yield thing
            meter.advance()


def mute() -> None:
    """Show no progress from now on: for every process of a job but the first."""
    _is_muted.set(True)


@contextlib.contextmanager
def muted(condition: bool = True) -> Iterator[None]:
    """Show no progress in this context if `condition` holds."""
    token = _is_muted.set(condition or _is_muted.get())
    try:
        yield
    finally:
        _is_muted.reset(token)


def _watch(meter: Meter, end: threading.Event, stream: TextIO) -> None:
    if end.wait(FIRST):
        return
    if stream.isatty():
        _bars.watch(meter, end)
        return
    started = time.monotonic() - FIRST
    while True:
        print(meter.line(), file=stream, flush=True)
        if end.wait(EVERY):
            break
    print(f"{meter.doing}: took {time.monotonic() - started:,.0f} s", file=stream, flush=True)


class _Bars:
    """The bars on the terminal: one display for all threads, because two would overwrite one another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._display: Progress | None = None

    def watch(self, meter: Meter, end: threading.Event) -> None:
        """Show a bar until `end` is set."""
        with self._lock:
            if self._display is None:
                self._display = _new_display()
            display = self._display
            task = display.add_task(meter.step, total=meter.total or None, state=meter.state())
        is_over = False
        while not is_over:
            is_over = end.wait(REFRESH)
            with self._lock:
                total, state = meter.total or None, meter.state()
                display.update(task, description=meter.step, completed=meter.done, total=total, state=state)
                if is_over:
                    display.remove_task(task)
                display.refresh()
                if not display.tasks:
                    display.stop()
                    self._display = None


_bars = _Bars()


def _new_display() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    display = Progress(
        TextColumn("{task.description} {task.fields[state]}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
        redirect_stdout=sys.stdout.isatty(),  # what is printed to a pipe does not go to the terminal
    )
    display.start()
    return display
