"""How a command fails: a `UserError` becomes one message and exit code 2, a bug keeps its traceback."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator

WRONG_INPUT = 2


class UserError(ValueError):
    """Wrong usage, configuration or input: the message says what is wrong, where, and what to do."""


@dataclasses.dataclass
class Status:
    """The exit code of a command."""

    code: int = 0


@contextlib.contextmanager
def one_line_errors() -> Iterator[Status]:
    """Print a `UserError` without a traceback and set exit code 2."""
    status = Status()
    try:
        yield status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status.code = WRONG_INPUT
