"""Writes the files of a domain folder record by record. The same records always give the same bytes.

Checks the values of items and ids as the reader does; converting cells to values is left to the caller.
"""

import contextlib
import csv
import decimal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import msgspec

from llmrec_jax.data.domains.folders import EVENTS, ITEMS
from llmrec_jax.data.domains.records import Item, check_id, check_item
from llmrec_jax.data.domains.settings import COLUMNS, FIELDS
from llmrec_jax.data.domains.times import PER_SECOND

FIRST = (*FIELDS, "price")  # fields of an item in their order; others follow in that of their names
WHOLE_FLOATS = 2**53  # the integers up to this are floats without rounding


def number_text(number: float) -> str:
    """A number for `interactions.csv`: "4" for 4.0, "4.5"."""
    if number.is_integer() and abs(number) < WHOLE_FLOATS:
        return str(int(number))
    return repr(number)


def time_text(nanoseconds: int) -> str:
    """A time for `interactions.csv`, in seconds since 1970: "1600000000", or "1600000000.123"."""
    seconds, rest = divmod(nanoseconds, PER_SECOND)
    return f"{seconds}.{rest:09d}".rstrip("0") if rest else str(seconds)


def _whole(value: Any) -> Any:
    """4 for 4.0; other values as they are, but a decimal as a float."""
    value = float(value) if isinstance(value, decimal.Decimal) else value
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE_FLOATS else value


class DomainWriter:
    """Writes `items.jsonl` and `interactions.csv` to an existing folder; a context manager."""

    def __init__(self, folder: Path, columns: Sequence[str]):
        """`columns` of `interactions.csv`: those of COLUMNS, in their order, that the rows have."""
        assert [column for column in COLUMNS if column in columns] == list(columns), columns
        self._stack = contextlib.ExitStack()
        self._items: IO[bytes] = self._stack.enter_context((folder / ITEMS).open("wb"))
        self._events = self._stack.enter_context((folder / EVENTS).open("w", encoding="utf-8", newline=""))
        self._row = csv.writer(self._events, lineterminator="\n").writerow
        self._row(columns)
        self._encode = msgspec.json.Encoder().encode

    def item(self, record: Mapping[str, Any]) -> None:
        """Write an item: `item_id`, `title`, other fields. None and "" are left out. Raises ValueError if invalid."""
        names = [*FIRST, *sorted(set(record) - {*FIRST})]
        present = {name: _whole(record[name]) for name in names if record.get(name) not in (None, "")}
        texts: dict[str, Any] = {field: record.get(field) or None for field in FIELDS[2:]}
        check_item(Item(record.get("item_id") or "", record.get("title") or "", **texts))
        self._items.write(self._encode(present) + b"\n")

    def event(self, cells: Sequence[str]) -> None:
        """Write a row: the texts of its cells, the user's id and the item's id first. Raises ValueError if invalid."""
        check_id("user_id", cells[0])
        check_id("item_id", cells[1])
        self._row(cells)

    def __enter__(self) -> "DomainWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()


def present(columns: Iterator[str] | Sequence[str]) -> list[str]:
    """The names among `columns` that `interactions.csv` has, in the order in which they are written."""
    names = set(columns)
    return [column for column in COLUMNS if column in names]
