"""Progress of reading the files of domains.

The reader reports through a context variable, so that the functions between it and the command need no argument.
"""

import contextlib
import gzip
import io
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from llmrec_jax.progress import Meter, shown

LINES = 20_000  # between two reports
_meter: ContextVar[Meter | None] = ContextVar("_meter", default=None)


@contextlib.contextmanager
def reading_shown() -> Iterator[None]:
    """Show how much of each file is read in this context."""
    with shown("reading", is_share=True) as meter:
        token = _meter.set(meter)
        try:
            yield
        finally:
            _meter.reset(token)


def watched(
    lines: Iterator[tuple[int, str]], path: Path, file: gzip.GzipFile | io.BufferedReader
) -> Iterator[tuple[int, str]]:
    """The numbered lines of an open file, reported while they are read."""
    meter = _meter.get()
    if meter is None:
        yield from lines
        return
    meter.begin(f"reading {path}", max(1, os.path.getsize(path)))
    raw: Any = file.fileobj if isinstance(file, gzip.GzipFile) else file  # the bytes on disk
    for number, line in lines:
        if number % LINES == 0:
            meter.done = raw.tell()
        yield number, line
    meter.done = meter.total
