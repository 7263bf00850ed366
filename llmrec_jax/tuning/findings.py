"""The finding of a check of `llmrec doctor`."""

from typing import Any, Literal, NamedTuple

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """The result of one check."""

    check: str
    level: Level  # problem: a run fails, or gives something else than it says
    text: str
    fix: str | None = None  # what to do; None if ok
    facts: dict[str, Any] = {}  # noqa: RUF012 -- the numbers of the text, for --json; never changed


def size(num_bytes: float) -> str:
    """Bytes for people: "3.4 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(num_bytes) < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"
