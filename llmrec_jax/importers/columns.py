"""Converts the rows of a log to cells of `interactions.csv`, and those of a catalogue to fields of items."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from llmrec_jax.data.domains.cells import identity, is_missing
from llmrec_jax.data.domains.event_rows import ACTIONS, MAX_NUMBER, MAX_WEIGHT, MIN_WEIGHT, SHOWN
from llmrec_jax.data.domains.records import MAX_TEXT
from llmrec_jax.data.domains.writing import number_text, time_text
from llmrec_jax.importers import values
from llmrec_jax.importers.clock import Clock
from llmrec_jax.importers.profile import profile
from llmrec_jax.importers.table import Cells, Source

TEXTS = {"title": values.text, "brand": values.names, "category": values.names, "description": values.paragraphs}
ZEROS = 0.3  # share of zeros among ratings up to 5 or more from which 0 means that there is no rating
BATCH = 10_000  # cells


class Log:
    """Converts the rows of one table of interactions."""

    def __init__(self, source: Source, columns: Sequence[str]):
        """`columns` of interactions.csv to give."""
        self.columns = columns
        self.wanted = list(dict.fromkeys(source.roles.values()))  # columns of the table to read
        self.at = {role: self.wanted.index(column) for role, column in source.roles.items()}
        self.clock, self.zero_is_none = clock_of(source), zero_is_no_rating(source)
        self.unread_ratings = 0

    def row(self, cells: Cells) -> list[str]:
        """The cells of a row of interactions.csv. Raises ValueError with the reason if it is to be left out."""
        row = [self._cell(column, cells[self.at[column]] if column in self.at else None) for column in self.columns]
        if not row[0] or not row[1]:
            raise ValueError(f"{'item_id' if row[0] else 'user_id'} is empty")
        if "action" in self.columns:
            self._check_action(row[self.columns.index("action")], row[self.columns.index("impression_id")])
        return row

    def is_shown(self, row: Sequence[str]) -> bool:
        """Whether the item of a row was only shown, not clicked."""
        return "action" in self.columns and row[self.columns.index("action")] in SHOWN

    def texts(self, cells: Cells) -> dict[str, Any]:
        """The item of a row, as far as the log describes it; its id stands for its title if the log has none."""
        item_id = identity(cells[self.at["item_id"]])
        return record({"title": item_id, **{role: cells[at] for role, at in self.at.items()}})

    def _cell(self, column: str, cell: Any) -> str:
        if column == "timestamp":
            if self.clock is None or is_missing(cell):
                raise ValueError("timestamp is empty")
            return time_text(self.clock(cell))
        if column == "rating":
            return self._rating(cell)
        if column == "weight":
            return _weight(cell)
        return identity(cell).casefold() if column == "action" else identity(cell)

    def _rating(self, cell: Any) -> str:
        """A rating; "" if there is none, or if it is no number, which is counted."""
        try:
            number = values.number(cell)
        except (ValueError, TypeError):
            number = math.inf
        if math.isnan(number) or (self.zero_is_none and not number):
            return ""
        if abs(number) > MAX_NUMBER:
            self.unread_ratings += 1
            return ""
        return number_text(number)

    def _check_action(self, action: str, list_id: str) -> None:
        if action not in ACTIONS and (list_id or action):
            raise ValueError(f"action is not one of {', '.join(ACTIONS)}")
        if action in SHOWN and not list_id:
            raise ValueError("the item was only shown, but impression_id is empty")


def logs(sources: Sequence[Source], columns: Sequence[str]) -> list[Log]:
    """The tables of one log. They are read alike: a file of one day does not tell whether its month comes first."""
    found = [Log(source, columns) for source in sources]
    told = [log.clock.day_first for log in found if log.clock and log.clock.form == "date" and log.clock.is_certain]
    largest = max(range(len(found)), key=lambda n: sources[n].table.size)
    for log in found:
        log.zero_is_none = found[largest].zero_is_none
        if told and log.clock and not log.clock.is_certain:
            log.clock.day_first = told[0]
    return found


def record(cells: dict[str, Any]) -> dict[str, Any]:
    """The fields of an item that have a meaning, from the cells of its roles."""
    found: dict[str, Any] = {"item_id": identity(cells["item_id"])}
    found |= {role: convert(cells[role])[:MAX_TEXT] for role, convert in TEXTS.items() if role in cells}
    if "price" in cells:
        found["price"] = values.amount(cells["price"])
    return found


def clock_of(source: Source, whole: bool = True) -> Clock | None:
    """How to read the times of a log; None if it has none.

    If the sample does not tell whether the day or the month comes first, the whole column is read (if `whole`).
    """
    table, column = source.table, source.roles.get("timestamp")
    if column is None:
        return None
    day_first = table.separator != "," or _has_decimal_comma(source)
    clock = Clock(table.values(column), day_first)
    if clock.is_certain or not whole:
        return clock
    cells = (row[0] for _, row in table.read([column], None) if not isinstance(row, ValueError))
    for batch in iter(lambda: list(itertools.islice(cells, BATCH)), []):
        clock = Clock(batch, day_first)
        if clock.is_certain:
            break
    return clock


def zero_is_no_rating(source: Source) -> bool:
    """Whether a rating of 0 means that there is none: the format says so, or many are 0 on a scale up to 5 or more."""
    column = source.roles.get("rating")
    if column is None or source.table.zero_is_no_rating:
        return source.table.zero_is_no_rating
    found = profile(source.table, column)
    return found.is_whole and found.low == 0 and found.high >= 5 and found.zeros > ZEROS


def _weight(cell: Any) -> str:
    try:
        weight = values.number(cell)
    except (ValueError, TypeError):
        raise ValueError("weight is not a number") from None
    if math.isnan(weight):
        raise ValueError("weight is empty")
    if weight < 0 or 0 < weight < MIN_WEIGHT or weight > MAX_WEIGHT:
        raise ValueError(f"weight is not 0 and not between {MIN_WEIGHT:g} and {MAX_WEIGHT:g}")
    return number_text(weight)


def _has_decimal_comma(source: Source) -> bool:
    column = source.roles.get("rating")
    return column is not None and any("," in str(cell) for cell in source.table.values(column))
