"""Reads a domain folder line by line: good records in columns, bad ones named by file, line and reason.

A folder holds `items.jsonl` and `interactions.csv`, each plain or `.gz`. A record is a line, so a broken quote or
bracket costs its own line and no other. Nothing here sorts, drops repeats, or writes files.

Shape letters: E events in file order.
"""

import contextlib
import gzip
import io
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from llmrec_jax.data.domains import records
from llmrec_jax.data.domains.records import Item
from llmrec_jax.errors import UserError

NEEDED = "a domain is its items and its interactions; a catalogue alone can join a trained one: Recommender.add_items"
SHOWN = 20  # bad records an error message lists

OnBadRecord = Literal["fail", "skip"]
T = TypeVar("T")


class RawDomain(NamedTuple):
    """A folder's good records, in file order. Users are numbered by first appearance, items by line."""

    items: list[Item]
    user_ids: list[str]
    users_E: np.ndarray  # int32
    items_E: np.ndarray  # int32
    ratings_E: np.ndarray  # float32, NaN where empty
    timestamps_E: np.ndarray  # int64 seconds, -1 where empty


class BadRecord(NamedTuple):
    """A line that cannot be used; line 0 stands for the file as a whole."""

    file: str
    line: int
    reason: str
    raw: str = ""  # the line itself, for the quarantine file only

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


class DataError(UserError):
    """Input that cannot be used; `records` holds all of its bad records, the message the first few."""

    def __init__(self, folder: Path, records: list[BadRecord], why: str = ""):
        self.records = records
        shown = "".join(f"\n  {record}" for record in records[:SHOWN])
        more = f"\n  ... and {len(records) - SHOWN} more" if len(records) > SHOWN else ""
        super().__init__(f"{folder}: {len(records)} bad record(s){why}{shown}{more}")


def read(folder: Path, on_bad_record: OnBadRecord) -> tuple[RawDomain, list[BadRecord]]:
    """Read a folder's records; with "skip", the bad ones come back beside the good.

    Raises `DataError` where "fail" meets a bad record, where most of a file is bad, and where a file cannot be read.
    """
    bad: list[BadRecord] = []
    items = _read_items(find(folder, "items.jsonl"), bad)
    raw = _read_events(find(folder, "interactions.csv"), items, bad)
    if bad and on_bad_record == "fail":
        raise DataError(folder, bad)
    for name, good in (("items.jsonl", len(items)), ("interactions.csv", len(raw.items_E))):
        skipped = sum(record.file.startswith(name) for record in bad)
        if good == 0:
            raise DataError(folder, [*bad, BadRecord(name, 0, f"no good record in it; {NEEDED}")])
        if skipped > good:
            raise DataError(folder, bad, f", more than half of {name} ({skipped} of {skipped + good})")
    return raw, bad


def validate(folder: Path) -> list[BadRecord]:
    """All that is wrong with a folder, in file and line order; empty where it is sound."""
    try:
        read(folder, "fail")
    except DataError as error:
        return error.records
    return []


def find(folder: Path, name: str) -> Path:
    """The file `name` of a folder, plain or gzipped; `DataError` where there is none, or both."""
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if len(found) != 1:
        both, neither = f"both {name} and {name}.gz are there", f"neither {name} nor {name}.gz is there; {NEEDED}"
        reason = both if found else neither
        raise DataError(folder, [BadRecord(name, 0, reason)])
    return found[0]


@contextlib.contextmanager
def decompressed(path: Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """Open a file of a domain for reading bytes; `DataError` where that fails now or later (a truncated gzip file)."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(path.parent, [BadRecord(path.name, 0, f"cannot be read: {error}")]) from None


def _read_items(path: Path, bad: list[BadRecord]) -> list[Item]:
    with decompressed(path) as file:
        return list(_parse(path.name, _numbered(file), records.item_parser(), bad))


def _read_events(path: Path, items: list[Item], bad: list[BadRecord]) -> RawDomain:
    numbers = {item.item_id: number for number, item in enumerate(items)}
    users: dict[str, int] = {}
    columns: tuple[array, ...] = array("i"), array("i"), array("f"), array("q")
    with decompressed(path) as file:
        lines = _numbered(file)
        try:
            parse = records.event_parser(records.text(next(lines, (1, b""))[1]), numbers)
        except ValueError as error:  # without a header no row can be read
            raise DataError(path.parent, [*bad, BadRecord(path.name, 1, str(error))]) from None
        for event in _parse(path.name, lines, parse, bad):
            user = users.setdefault(event.user_id, len(users))
            for column, value in zip(columns, (user, numbers[event.item_id], *event[2:]), strict=True):
                column.append(value)
    return RawDomain(items, list(users), *map(np.asarray, columns))


def _parse(
    name: str, lines: Iterable[tuple[int, bytes]], parse: Callable[[str], T], bad: list[BadRecord]
) -> Iterator[T]:
    """Parse each line; what `parse` says with a `ValueError` becomes the reason of a bad record."""
    for number, line in lines:
        try:
            yield parse(records.text(line))
        except ValueError as error:
            bad.append(BadRecord(name, number, str(error), line.decode(errors="replace")))


def _numbered(file: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines without their ends, counted from 1; blank lines at the end of the file are left out."""
    blank: list[tuple[int, bytes]] = []
    for number, line in enumerate(file, 1):
        if line.strip():
            yield from blank
            blank = []
            yield number, line.rstrip(b"\r\n")
        else:
            blank.append((number, line))
