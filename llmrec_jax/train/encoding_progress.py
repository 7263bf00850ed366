"""Shows how many texts of a catalogue are encoded: a bar on a terminal, else a line every ten seconds. On stderr.

For the progress of the training itself see `metrics.ProgressLine`.
"""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from llmrec_jax.data.texts.tokenizer import TokenTable


@dataclasses.dataclass(frozen=True, eq=False)
class _CountedTable(TokenTable):
    """A token table that reports how many texts are read from it."""

    on_read: Callable[[int], None]

    def padded(self, rows: np.ndarray | None = None, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        self.on_read(len(self) if rows is None else len(rows))
        return super().padded(rows, length)


@contextlib.contextmanager
def shown(table: TokenTable, every_seconds: float = 10.0) -> Iterator[TokenTable]:
    """`table`, with progress shown as texts are read from it; silent on all processes but the first."""
    total, done, last_print = len(table), 0, time.perf_counter()
    console = Console(stderr=True, quiet=jax.process_index() != 0)
    columns = (TextColumn("encoding texts {task.completed}/{task.total}"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
    task = bar.add_task("", total=total)

    def on_read(count: int) -> None:
        nonlocal done, last_print
        bar.update(task, completed=done)  # what was read before is encoded now
        if not sys.stderr.isatty() and time.perf_counter() - last_print > every_seconds:
            last_print = time.perf_counter()
            console.print(f"encoding texts {done:,}/{total:,}", highlight=False)
        done = min(done + count, total)  # the last batch repeats texts

    with bar:
        yield _CountedTable(table.ids, table.offsets, on_read)
