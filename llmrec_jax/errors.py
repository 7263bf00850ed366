"""How a command fails: exit code 2 and one message for a `UserError`, 75 for a signal, a traceback for a bug."""

import contextlib
import dataclasses
import errno
import sys
from collections.abc import Iterator

WRONG_INPUT = 2
INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again

# System errors that are not bugs of this program, and what to do about them.
REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some space and run the same command again",
    errno.EACCES: "choose another folder, or change its permissions",
    errno.EPERM: "choose another folder, or change its permissions",
    errno.EROFS: "choose another folder",
    errno.ENOTDIR: "a part of this path is a file; choose another folder",
    errno.EEXIST: "a file of this name is in the way; choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the storage is damaged or was disconnected",
    errno.ESTALE: "the storage was disconnected; run the same command again",
}


class UserError(ValueError):
    """Wrong usage, configuration or input: the message says what is wrong, where, and what to do."""


@dataclasses.dataclass
class Status:
    """The exit code of a command."""

    code: int = 0


@contextlib.contextmanager
def one_line_errors() -> Iterator[Status]:
    """Print errors that are not bugs without a traceback and set the exit code.

    These are `UserError`, files that cannot be read or written (`REMEDIES`), and `KeyboardInterrupt`.
    """
    status = Status()
    try:
        yield status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status.code = WRONG_INPUT
    except OSError as error:
        if error.errno not in REMEDIES or not error.filename:
            raise
        print(f"error: {error.filename}: {error.strerror}: {REMEDIES[error.errno]}", file=sys.stderr)
        status.code = WRONG_INPUT
    except KeyboardInterrupt as stop:
        print(f"stopped{': ' if stop.args else ''}{stop}", file=sys.stderr)
        status.code = INTERRUPTED
