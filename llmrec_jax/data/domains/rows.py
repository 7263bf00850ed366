"""Splits a CSV file into rows. A quoted field may span lines; an unclosed quote invalidates only its own line."""

import collections
import csv
from collections.abc import Callable, Iterator

MAX_LINES = 200  # a quoted field that spans more lines is treated as an unclosed quote
csv.field_size_limit(10_000_000)  # characters; the default limit is too small for long reviews

Lines = Iterator[tuple[int, str]]


def rows(
    lines: Lines, separator: str, is_row: Callable[[list[str]], bool]
) -> Iterator[tuple[int, str, list[str] | ValueError]]:
    """Yield for each non-empty row the number and text of its first line, and its cells or an error.

    A row that spans several lines must satisfy `is_row`. Otherwise its first line is an error and the next line starts
    a new row.
    """
    source = _Lines(lines)
    for number, line in source:
        cells = _quoted(line, source, separator, is_row) if '"' in line else line.split(separator)
        if isinstance(cells, ValueError) or any(map(str.strip, cells)):
            yield number, line, cells


class _Lines:
    """An iterator over numbered lines that can push lines back."""

    def __init__(self, lines: Lines):
        self.lines = lines
        self.ahead: collections.deque[tuple[int, str]] = collections.deque()

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> tuple[int, str]:
        return self.ahead.popleft() if self.ahead else next(self.lines)


def _quoted(line: str, source: _Lines, separator: str, is_row: Callable[[list[str]], bool]) -> list[str] | ValueError:
    taken: list[tuple[int, str]] = []

    def text() -> Iterator[str]:
        yield line + "\n"
        for number, more in source:
            taken.append((number, more))
            yield more + "\n"
            if len(taken) == MAX_LINES:
                return

    try:
        cells = next(csv.reader(text(), delimiter=separator, strict=True))
        if not taken or is_row(cells):
            return cells
        error = ValueError("malformed CSV: a quoted field runs over the end of the line")
    except csv.Error as problem:
        error = ValueError(f"malformed CSV: {problem}")
    source.ahead.extendleft(reversed(taken))
    return error
