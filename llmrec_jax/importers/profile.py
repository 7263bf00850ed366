"""Statistics of columns over the sample of a table: types of values, repetition, ids shared with another table."""

import functools
import math
from typing import NamedTuple

from llmrec_jax.data.domains.cells import identity, is_missing
from llmrec_jax.importers import clock, values
from llmrec_jax.importers.table import Table

MAX_KEYS = 200_000  # rows of a table of items that are read to find which ids it shares with the events
ID_CHARS = 80  # characters of an id, at most on average


class Profile(NamedTuple):
    """A column in the sample."""

    filled: float  # share of cells that are not empty
    distinct: float  # share of different cells among these
    num_distinct: int
    is_number: bool
    is_whole: bool  # whole numbers
    low: float
    high: float
    zeros: float  # share of zeros among the numbers
    chars: float  # mean length
    with_blank: float  # share of cells with a blank between words
    times: float  # share of cells that are plausible times
    is_counter: bool  # 0, 1, 2, ...: an index of the rows
    is_nested: bool  # lists or objects

    @property
    def may_be_id(self) -> bool:
        """Whether the column may hold ids."""
        return (
            bool(self.filled)
            and not self.is_nested
            and self.chars <= ID_CHARS
            and (self.is_whole or not self.is_number)
        )

    @property
    def may_be_rating(self) -> bool:
        """Whether the column may hold ratings, as far as values tell."""
        return self.is_number and self.filled > 0


@functools.lru_cache(4096)
def profile(table: Table, column: str) -> Profile:
    """The profile of a column."""
    cells = [value for value in table.values(column) if not is_missing(value)]
    if not cells:
        return Profile(0.0, 0.0, 0, False, False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, False, False)
    nested = sum(isinstance(value, list | dict) for value in cells) * 2 > len(cells)
    texts = [str(value).strip() for value in cells]
    numbers = [found for value in cells if (found := _number(value)) is not None]
    is_number = len(numbers) > 0.95 * len(cells)
    distinct = len(set(texts))
    return Profile(
        filled=len(cells) / len(table.sample),
        distinct=distinct / len(cells),
        num_distinct=distinct,
        is_number=is_number,
        is_whole=is_number and all(found.is_integer() for found in numbers),
        low=min(numbers, default=0.0),
        high=max(numbers, default=0.0),
        zeros=numbers.count(0.0) / len(numbers) if numbers else 0.0,
        chars=sum(map(len, texts)) / len(texts),
        with_blank=sum(" " in text for text in texts) / len(texts),
        times=0.0 if nested else clock.fits(cells),
        is_counter=is_number and numbers == [numbers[0] + n for n in range(len(numbers))] and numbers[0] in (0.0, 1.0),
        is_nested=nested,
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool | list | dict):
        return None
    try:
        found = values.number(value)
    except (ValueError, TypeError):
        return None
    return found if math.isfinite(found) else None


@functools.lru_cache(64)
def ids(table: Table, column: str) -> frozenset[str]:
    """The ids in the sample of a column."""
    return frozenset(map(identity, table.values(column))) - {""}


@functools.lru_cache(64)
def all_ids(table: Table, column: str) -> frozenset[str]:
    """The ids in the first `MAX_KEYS` rows of a column."""
    found = set()
    for count, (_, cells) in enumerate(table.read([column], None)):
        if not isinstance(cells, ValueError):
            found.add(identity(cells[0]))
        if count >= MAX_KEYS:
            break
    return frozenset(found - {""})


def overlap(events: Table, event_column: str, items: Table, item_column: str) -> float:
    """The share of the ids in the events' sample that the table of items has."""
    mine = ids(events, event_column)
    return len(mine & all_ids(items, item_column)) / len(mine) if mine else 0.0


def belongs_to(table: Table, text_column: str, id_column: str, is_title: bool) -> bool:
    """Whether a text belongs to the id: every id in the sample has one text; most ids have their own title."""
    found: dict[str, str] = {}
    repeats = conflicts = 0
    for id_cell, text_cell in zip(table.values(id_column), table.values(text_column), strict=True):
        key, text = identity(id_cell), values.text(text_cell).casefold()
        if key in found:
            repeats += 1
            conflicts += found[key] != text
        found.setdefault(key, text)
    return conflicts <= 0.1 * repeats and (not is_title or len(set(found.values())) > 0.3 * len(found))
