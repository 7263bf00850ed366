"""Encoding progress on stderr: a bar on a terminal, else a line every ten seconds.

For training progress see `metrics.ProgressLine`.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def encoding_progress(num_texts: int, every_seconds: float = 10.0) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of texts just encoded; only process 0 prints."""
    done, last_print = 0, time.perf_counter()
    console = Console(stderr=True, quiet=jax.process_index() != 0)
    columns = (TextColumn("encoding texts {task.completed}/{task.total}"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
    task = bar.add_task("", total=num_texts)

    def on_batch(count: int) -> None:
        nonlocal done, last_print
        done += count
        bar.update(task, completed=done)
        if not sys.stderr.isatty() and time.perf_counter() - last_print > every_seconds:
            last_print = time.perf_counter()
            console.print(f"encoding texts {done:,}/{num_texts:,}", highlight=False)

    with bar:
        yield on_batch
