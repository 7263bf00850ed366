"""Progress of reading the files of domains, on stderr: a bar on a terminal, else a line every ten seconds.

The reader reports through a context variable, so that the functions between it and the command need no argument.
"""

import contextlib
import gzip
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINES = 20_000  # between two reports
_on_read: ContextVar[Callable[[Path, float], None] | None] = ContextVar("_on_read", default=None)


@contextlib.contextmanager
def reading_shown(*, quiet: bool = False, every_seconds: float = 10.0) -> Iterator[None]:
    """Show how much of each file is read in this context; `quiet` (every process but the first) prints nothing."""
    is_live = sys.stderr.isatty()
    console = Console(stderr=True, quiet=quiet, soft_wrap=True)
    columns = (TextColumn("reading {task.description}"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=quiet or not is_live)
    tasks = {}
    last_print = time.perf_counter()

    def on_read(path: Path, share: float) -> None:
        nonlocal last_print
        if path not in tasks:
            tasks[path] = bar.add_task(f"{path.parent.name}/{path.name}", total=1.0)
        bar.update(tasks[path], completed=share, visible=share < 1)
        if not is_live and time.perf_counter() - last_print > every_seconds:
            last_print = time.perf_counter()
            console.print(f"reading {path}: {100 * share:.0f} %", markup=False, highlight=False)

    token = _on_read.set(on_read)
    try:
        with bar:
            yield
    finally:
        _on_read.reset(token)


def watched(
    lines: Iterator[tuple[int, str]], path: Path, file: gzip.GzipFile | io.BufferedReader
) -> Iterator[tuple[int, str]]:
    """The numbered lines of an open file, reported while they are read."""
    on_read = _on_read.get()
    if on_read is None:
        yield from lines
        return
    size = max(1, os.path.getsize(path))
    raw: Any = file.fileobj if isinstance(file, gzip.GzipFile) else file  # the bytes on disk
    for number, line in lines:
        if number % LINES == 0:
            on_read(path, min(1.0, raw.tell() / size))
        yield number, line
    on_read(path, 1.0)
