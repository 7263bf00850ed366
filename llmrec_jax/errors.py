"""How a command fails: what the package says about its input becomes one message; a bug keeps its traceback."""

import contextlib
import dataclasses
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

WRONG_INPUT = 2


@dataclasses.dataclass
class Status:
    """The exit code of a command."""

    code: int = 0


@contextlib.contextmanager
def one_line_errors() -> Iterator[Status]:
    """Print a `ValueError` that a line of this package raises, without a traceback, and set exit code 2.

    Any other is a bug: one that NumPy or JAX raises, or that a called library does.
    """
    status = Status()
    try:
        yield status
    except ValueError as error:
        origin = traceback.extract_tb(error.__traceback__)[-1]
        ours = Path(__file__).parent in Path(origin.filename).parents
        if not (ours and (origin.line or "").startswith("raise ")):
            raise
        print(f"error: {error}", file=sys.stderr)
        status.code = WRONG_INPUT
