"""Progress of a phase on stderr: a bar on a terminal, else a line every ten seconds.

For training progress see `metrics.ProgressLine`.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


@contextlib.contextmanager
def progress(what: str, total: int, every_seconds: float = 10.0) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of things just done; only process 0 prints.

    Args:
      what: is done, such as "encoding texts".
      total: number of things.
      every_seconds: between two lines.
    """
    done, last_print = 0, time.perf_counter()
    console = Console(stderr=True, quiet=jax.process_index() != 0)
    columns = (TextColumn(what + " {task.completed}/{task.total}"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
    task = bar.add_task("", total=total)

    def on_done(count: int) -> None:
        nonlocal done, last_print
        done += count
        bar.update(task, completed=done)
        if not sys.stderr.isatty() and time.perf_counter() - last_print > every_seconds:
            last_print = time.perf_counter()
            console.print(f"{what} {done:,}/{total:,}", highlight=False)

    with bar:
        yield on_done


def counted(things: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The things, with progress: one is done when the next is asked for."""
    with progress(what, total) as on_done:
        for thing in things:
            yield thing
            on_done(1)
