"""Parses the rows of `interactions.csv` one by one. `events.py` collects them.

Unusual but unambiguous cells are accepted and counted; rows with ambiguous or invalid cells are bad records.
"""

import collections
import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import numpy as np

from llmrec_jax.data.domains import times
from llmrec_jax.data.domains.columns import SEPARATORS, Header, HeaderError, read_header
from llmrec_jax.data.domains.event_ids import check_readable_id, likely_cause
from llmrec_jax.data.domains.folders import text_lines
from llmrec_jax.data.domains.problems import BadRecord, Findings, file_error, some
from llmrec_jax.data.domains.rows import rows
from llmrec_jax.data.domains.settings import Settings

MAX_NUMBER = float(np.finfo(np.float32).max)
MIN_WEIGHT, MAX_WEIGHT = 1e-30, 1e30  # of weights above 0: float32 holds the sum of a batch, and its inverse
SHOWN = ("impression", "view")  # actions of a row whose item was only shown, in the list of its impression_id
ACTIONS = ("click", *SHOWN)
UNKNOWN = "item_id is not among the items"
WHOLE = re.compile(r"(\d+)\.0+")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
LINE_BITS = 40  # of the place of a row: the number of its file, then that of its line
Row = tuple[int, int, float, int, int, float, int, bool, int]  # see `Parser`


def read_first_line(path: Path, settings: Settings) -> Header:
    """The header of a file. Raises `DataError` if it cannot be used."""
    with text_lines(path, settings.encoding, Findings()) as lines:
        return _header(path, lines, settings)


def _header(path: Path, lines: Iterator[tuple[int, str]], settings: Settings) -> Header:
    number, line = next(lines, (1, ""))
    if line.startswith("sep=") and len(line) == 5:  # first line that Excel writes
        number, line = next(lines, (2, ""))
    try:
        if not line.strip():
            raise HeaderError("blank line, where the header is expected", "begin with user_id,item_id,rating,timestamp")
        return read_header(line, settings)
    except HeaderError as error:
        raise file_error(path.parent, path.name, str(error), error.remedy, number) from None


class Parser:
    """Parses a row into (user number, item number, rating, time, kind of time, weight, number of the list, whether the
    item was only shown); counts conversions. Users and lists are numbered by first appearance."""

    def __init__(self, header: Header, numbers: Mapping[str, int], settings: Settings):
        self.header, self.numbers, self.settings = header, numbers, settings
        self.unit = times.UNITS.get(settings.time_unit or "")
        self.users: dict[str, int] = {}
        self.lists: dict[str, int] = {}
        self.unknown: set[str] = set()
        self.counts: collections.Counter[str] = collections.Counter()

    def read(self, path: Path, shard: int, bad_ids: Container[str], findings: Findings) -> Iterator[Row]:
        """Yield the good rows of a file, each with its place; the first file (`shard` 0) begins with the header.

        Bad rows are added to `findings`. Rows of the items `bad_ids`, whose own lines are bad, are only counted there.
        """
        with text_lines(path, self.settings.encoding, findings) as lines:
            if shard == 0:
                _header(path, lines, self.settings)
            for number, line, cells in rows(lines, self.header.separator, self.is_row):
                if cells == self.header.names:
                    self.counts["{n} repeated header lines skipped"] += 1
                    continue
                try:
                    if isinstance(cells, ValueError):
                        raise cells
                    row = self._parse(cells)
                except ValueError as error:
                    if str(error) == UNKNOWN and cells[self.header.at["item_id"]].strip() in bad_ids:  # type: ignore[index]
                        findings.consequences += 1
                    else:
                        findings.bad.append(BadRecord(path.name, number, str(error), line))
                    continue
                yield *row, shard << LINE_BITS | number

    def _parse(self, cells: list[str]) -> tuple[int, int, float, int, int, float, int, bool]:
        at = self.header.at
        if len(cells) != len(self.header.names):
            raise ValueError(f"wrong number of columns: the header has {len(self.header.names)}")
        item_id = self._strip(cells[at["item_id"]])
        item = self.numbers.get(item_id)
        if item is None:
            item = self._near_item(item_id)
        user_id = self._strip(cells[at["user_id"]])
        user = self.users.get(user_id)
        if user is None:
            check_readable_id("user_id", user_id)
        rating = self._number("rating", cells) if "rating" in at else float("nan")
        weight = self._weight(cells) if "weight" in at else float("nan")
        kind, time = times.EMPTY, times.NONE
        if "timestamp" in at:
            cell = cells[at["timestamp"]].strip()
            kind, time = times.parse_time(cell, self.unit)
            if kind < times.ISO and "." in cell:
                self.counts["{n} timestamps have a decimal point: read as numbers"] += 1
        number, is_shown = self._impression(cells) if "impression_id" in at else (-1, False)
        if user is None:
            user = self.users.setdefault(user_id, len(self.users))
        return user, item, rating, time, kind, weight, number, is_shown

    def is_row(self, cells: list[str]) -> bool:
        """Whether a row that spans lines is plausible: it has line breaks only in columns that are not read."""
        return len(cells) == len(self.header.names) and not any("\n" in cells[n] for n in self.header.at.values())

    def _strip(self, cell: str) -> str:
        stripped = cell.strip()
        if len(stripped) != len(cell):
            self.counts["{n} ids had surrounding blanks, which were removed"] += 1
        return stripped

    def _near_item(self, item_id: str) -> int:
        """The number of the item whose id differs only by `.0` (3.0 for 3, 3 for 3.0)."""
        check_readable_id("item_id", item_id)
        match = WHOLE.fullmatch(item_id)
        item = self.numbers.get(match[1] if match else f"{item_id}.0")
        if item is None:
            self.unknown.add(item_id)
            raise ValueError(UNKNOWN)
        self.counts["{n} item_ids differ from the items' by .0 (3.0 for 3): read as the items' ids"] += 1
        return item

    def _weight(self, cells: list[str]) -> float:
        weight = self._number("weight", cells)
        if weight < 0:
            raise ValueError("weight is negative")
        if 0 < weight < MIN_WEIGHT or weight > MAX_WEIGHT:
            raise ValueError(f"weight is not 0 and not between {MIN_WEIGHT:g} and {MAX_WEIGHT:g}")
        return weight

    def _impression(self, cells: list[str]) -> tuple[int, bool]:
        """The number of the list, -1 if there is none, and whether the item was only shown."""
        list_id = cells[self.header.at["impression_id"]].strip()
        action = cells[self.header.at["action"]].strip().casefold()
        if action not in ACTIONS and (list_id or action):
            raise ValueError(f"action {action!r} is not one of {', '.join(ACTIONS)}")
        if not list_id:
            if action in SHOWN:
                raise ValueError(f"action is {action}, but impression_id is empty")
            return -1, False
        return self.lists.setdefault(list_id, len(self.lists)), action in SHOWN

    def _number(self, column: str, cells: list[str]) -> float:
        """The number in a column; NaN if the cell is empty."""
        cell = cells[self.header.at[column]].strip()
        if not cell:
            return float("nan")
        if self.header.separator != "," and DECIMAL_COMMA.fullmatch(cell):
            self.counts[f"{{n}} {column}s have a decimal comma: read as such"] += 1
            cell = cell.replace(",", ".")
        try:
            number = float(cell)
        except ValueError:
            raise ValueError(f"{column} is not a number") from None
        if not abs(number) <= MAX_NUMBER:
            raise ValueError(f"{column} is not a finite number")
        return number

    def report(self, file: str, findings: Findings, any_good: bool) -> None:
        """Add notes on inferred, converted and unread columns, and the likely cause of unknown items.

        `any_good`: whether the log has a good row.
        """
        if self.header.separator != ",":
            separator = SEPARATORS.get(self.header.separator, repr(self.header.separator))
            findings.notes.append(f"{file}: separator {separator} recognised")
        written = {name: self.header.names[at] for name, at in self.header.at.items()}
        if renamed := [f"{header!r} as {name}" for name, header in written.items() if header != name]:
            findings.notes.append(f"{file}: columns recognised: {', '.join(renamed)}")
        for text, count in self.counts.items():
            findings.note(count, f"{file}: {text}")
        if self.header.unread:
            findings.notes.append(f"{file}: columns that are not read: {some(self.header.unread)}")
        if self.unknown and (remedy := likely_cause(self.unknown, self.numbers)):
            findings.remedies[UNKNOWN] = remedy
        elif self.unknown and not any_good:
            findings.remedies[UNKNOWN] = "no row names one: do both files belong to the same shop?"
