"""One line in, one record out: what an item and an event may be, and the reason where a line is neither.

Every parser raises `ValueError` with a reason that never repeats what the line says: rows are about people, and
messages end up in logs. Knows nothing of files; `schema` reads those.
"""

import csv
import sys
from collections.abc import Callable, Container
from typing import NamedTuple

import msgspec
import numpy as np

MAX_TEXT = 1_000_000  # characters of one field
MAX_SECONDS = 100_000_000_000  # beyond this (the year 5138) a timestamp was meant in milliseconds
MAX_RATING = float(np.finfo(np.float32).max)


class Item(msgspec.Struct, frozen=True):
    """One line of `items.jsonl`; fields it does not know are ignored."""

    item_id: str
    title: str
    category: str | None = None
    brand: str | None = None
    description: str | None = None


class Event(NamedTuple):
    """One row of `interactions.csv`."""

    user_id: str
    item_id: str
    rating: float  # NaN where empty
    timestamp: int  # seconds; -1 where empty


def item_text(title: str, category: str | None, brand: str | None, description: str | None) -> str:
    """The text an item is known by: "title. brand. category. the description's first 200 characters"."""
    return ". ".join(part for part in (title, brand, category, (description or "")[:200]) if part)


def text(line: bytes) -> str:
    """A line's characters; refuses what no format here allows."""
    if line.startswith(b"\xef\xbb\xbf"):
        raise ValueError("starts with a byte order mark")
    if b"\0" in line:
        raise ValueError("NUL byte")
    if not line.strip():
        raise ValueError("blank line")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None


def item_parser() -> Callable[[str], Item]:
    """A parser of item lines that remembers the ids it has seen: each may come once."""
    decode = msgspec.json.Decoder(Item).decode
    seen: set[str] = set()

    def parse(line: str) -> Item:
        try:
            item = decode(line)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise ValueError(str(error).split(" (byte")[0]) from None
        except RecursionError:
            raise ValueError("nested too deep") from None
        check_item(item)
        if item.item_id in seen:
            raise ValueError("item_id repeats that of an earlier line")
        seen.add(item.item_id)
        return item

    return parse


def check_item(item: Item) -> None:
    """Raise ValueError with what is wrong with an item beyond its types."""
    _check_id("item_id", item.item_id)
    if not item.title.strip():
        raise ValueError("title is empty")
    for field in ("title", "category", "brand", "description"):
        _check_text(field, getattr(item, field) or "")


def event_parser(header: str, known: Container[str]) -> Callable[[str], Event]:
    """A parser of rows under the CSV line `header` (user_id and item_id at least); `known` are the item ids."""
    names = _cells(header)
    if missing := [name for name in ("user_id", "item_id") if name not in names]:
        raise ValueError(f"the header lacks {' and '.join(missing)}")
    if len(set(names)) < len(names):
        raise ValueError("the header names a column twice")
    user_at, item_at = names.index("user_id"), names.index("item_id")
    rating_at, time_at = (names.index(name) if name in names else None for name in ("rating", "timestamp"))

    def parse(line: str) -> Event:
        cells = _cells(line)
        if len(cells) != len(names):
            raise ValueError(f"wrong number of columns: the header has {len(names)}")
        user_id, item_id = sys.intern(cells[user_at]), cells[item_at]
        _check_id("user_id", user_id)
        _check_id("item_id", item_id)
        if item_id not in known:
            raise ValueError("item_id is not among the items")
        rating = _rating(cells[rating_at]) if rating_at is not None else float("nan")
        return Event(user_id, item_id, rating, _timestamp(cells[time_at]) if time_at is not None else -1)

    return parse


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader((line,), strict=True))
    except csv.Error as error:
        raise ValueError(f"malformed CSV: {error}") from None


def _check_id(field: str, value: str) -> None:
    if not value:
        raise ValueError(f"{field} is empty")
    if "\n" in value or "\r" in value:
        raise ValueError(f"{field} holds a line break")
    _check_text(field, value)


def _check_text(field: str, value: str) -> None:
    if len(value) > MAX_TEXT:
        raise ValueError(f"{field} is longer than {MAX_TEXT} characters")
    if "\0" in value:
        raise ValueError(f"{field} holds a NUL character")


def _rating(cell: str) -> float:
    if not cell:
        return float("nan")
    try:
        rating = float(cell)
    except ValueError:
        raise ValueError("rating is not a number") from None
    if not abs(rating) <= MAX_RATING:
        raise ValueError("rating is not a finite number")
    return rating


def _timestamp(cell: str) -> int:
    if not cell:
        return -1
    if not (cell.isascii() and cell.isdigit()):
        negative = cell.startswith("-") and cell[1:].isdigit()
        raise ValueError("timestamp is negative" if negative else "timestamp is not a whole number of seconds")
    if len(cell) > 18 or int(cell) > MAX_SECONDS:
        raise ValueError("timestamp looks like milliseconds")
    return int(cell)
