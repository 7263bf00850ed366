"""Cached folders: written once and atomically, checked when opened, rewritten if damaged."""

import contextlib
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import rich.console
import rich.text

from llmrec_jax.errors import UserError

ATTEMPTS = 3
LONG = 5.0  # seconds after which a line is printed if stderr is not a terminal
T = TypeVar("T")


class DamagedError(Exception):
    """A cached folder cannot be read: a file is missing, truncated or inconsistent with the others."""


def cached(folder: Path, make: Callable[[Path], None], read: Callable[[Path], T], doing: str) -> T:
    """Return `read(folder)`; if the folder is missing or damaged, write it with `make` first.

    Safe to call from several processes at once: the first rename wins, and all read the same folder.

    Args:
      folder: Path in the cache; its name must identify the content (e.g. by a hash), so that it is never stale.
      make: Writes the files to an empty folder.
      read: Reads them; raises `DamagedError` if they are incomplete or inconsistent.
      doing: Text of the status line, e.g. "preparing books".

    Raises:
      UserError: the cache cannot be written.
    """
    problem = ""
    for _ in range(ATTEMPTS):
        if not folder.is_dir():
            _make(folder, make, doing)
        try:
            return read(folder)
        except DamagedError as error:
            problem = str(error)
            print(f"{folder}: damaged ({problem}); creating it again", file=sys.stderr)
            with contextlib.suppress(FileNotFoundError):  # another process has already removed it
                shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")))
    raise UserError(f"{folder}: still damaged after writing it again: {problem}")


def _make(folder: Path, make: Callable[[Path], None], doing: str) -> None:
    draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        with status(doing):
            make(draft)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process wrote it first
                raise
    except OSError as error:
        raise UserError(
            f"cannot write the cache {folder.parent}: {error}; set data.cache_dir to another folder"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def status(doing: str) -> Iterator[None]:
    """Show `doing` on stderr: as a status line on a terminal, otherwise as one line after `LONG` seconds."""
    console = rich.console.Console(stderr=True)
    if console.is_terminal:
        with console.status(rich.text.Text(doing)):
            yield
        return
    timer = threading.Timer(LONG, lambda: print(f"{doing} ...", file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
