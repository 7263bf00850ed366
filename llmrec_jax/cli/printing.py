"""Output of the commands, as text or one JSON object; safe for any text in the data."""

import contextlib
import json as json_lib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tyro

Folder = tyro.conf.Positional[Path]
CLOSED_PIPE = 141  # exit code of a program killed by SIGPIPE, as shells report it
ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # ANSI escape sequences, such as colours
# Characters that move the cursor, change colours or change the text direction.
CONTROL = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), " ")
DIRECTION = dict.fromkeys((0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))


def clean(text: str) -> str:
    """Make text from the data one line that is safe to print: no line breaks, escape codes or direction controls."""
    return ESCAPE.sub("", text).translate(CONTROL | DIRECTION)


def print_facts(json: bool, facts: dict[str, Any], *lines: str) -> None:
    """Print the facts as one JSON object, or the lines."""
    print(json_lib.dumps(facts, allow_nan=False) if json else "\n".join(map(clean, lines)))


def listed(counts: dict[str, int]) -> str:
    """Format `{"users": 3}` as "3 users"."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Replace characters that the terminal cannot encode; exit quietly if a pipe is closed (`| head`)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's final flush fails
        raise SystemExit(CLOSED_PIPE) from None
