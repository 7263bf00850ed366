"""Reads delimited text: CSV in any dialect, tab-separated files, `::` of MovieLens.

Finds out the separator, whether there is a header, how many lines precede it, and whether quotes enclose cells. A row
that is not valid CSV is split at every separator.
"""

import collections
import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from llmrec_jax.data.domains.folders import is_text
from llmrec_jax.data.domains.rows import rows as csv_rows
from llmrec_jax.errors import UserError
from llmrec_jax.importers.files import File
from llmrec_jax.importers.names import is_known
from llmrec_jax.importers.table import SAMPLE, Rows, Table, unique_names
from llmrec_jax.progress import Meter

SEPARATORS = ("\t", ";", ",", "|", "^", "\x01", "~")
NAMES = {"\t": "tab", " ": "blank", "\x01": "^A"}
SNIFFED = 200  # rows read to find the separator
CONSISTENT = 0.8  # share of rows with the same number of cells
MAX_PREAMBLE = 10  # lines before the header
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)*([eE][-+]?\d+)?")
WRONG_NUMBER = "wrong number of columns: most rows have {n}"


class Dialect(NamedTuple):
    """How to split a file."""

    separator: str
    num_columns: int
    first: int  # number of the first line that is not preamble: the header, or a row
    header: list[str] | None
    quoted: bool  # False: a quote is a letter, as in most tab-separated files


def open_delimited(file: File, encoding: str) -> Table | None:
    """The table in a text file; None if no separator gives rows of the same number of cells."""
    with _lines(file, encoding, None) as lines:
        head = list(itertools.islice(lines, SAMPLE + MAX_PREAMBLE))
    dialect = _sniff(head)
    if dialect is None:
        return None
    columns = unique_names(dialect.header or [str(n + 1) for n in range(dialect.num_columns)])

    def read(wanted: Sequence[str], meter: Meter | None) -> Rows:
        at = [columns.index(column) for column in wanted]
        pick = itemgetter(*at) if len(at) > 1 else (lambda cells: tuple(cells[n] for n in at))
        with _lines(file, encoding, meter) as lines:
            for number, cells in _rows(lines, dialect):
                yield number, cells if isinstance(cells, ValueError) else pick(cells)

    sample = [cells for _, cells in _rows(iter(head), dialect) if not isinstance(cells, ValueError)]
    separator = NAMES.get(dialect.separator, repr(dialect.separator))
    syntax = f"separator {separator}, {encoding.removesuffix('-sig')}{'' if dialect.header else ', no header'}"
    return Table(
        file.name, syntax, tuple(columns), sample, read, file.size, dialect.header is not None, dialect.separator
    )


@contextlib.contextmanager
def _lines(file: File, encoding: str, meter: Meter | None) -> Iterator[Iterator[tuple[int, str]]]:
    """Numbered lines, without their ends. Raises `UserError` if a line cannot be decoded."""
    with file.open(meter) as data:
        text = io.TextIOWrapper(data, encoding, errors="surrogateescape", newline=None)
        try:
            yield ((number, line.removesuffix("\n")) for number, line in enumerate(text, 1))
        except UnicodeDecodeError as error:
            raise UserError(f"{file.name}: is not {encoding}: {error.reason}; save it as UTF-8") from None


def _rows(lines: Iterator[tuple[int, str]], dialect: Dialect) -> Rows:
    """The rows after the header."""
    rest = (numbered for numbered in lines if numbered[0] >= dialect.first)
    size, header = dialect.num_columns, dialect.header
    for number, line, found in _split(rest, dialect.separator, size, dialect.quoted):
        cells = _repaired(line, found, dialect) if isinstance(found, ValueError) or len(found) != size else found
        if cells == header:
            continue  # the header, or its repetition where files were joined
        if isinstance(cells, ValueError):
            yield number, cells
        elif not is_text(line):
            yield number, ValueError("not UTF-8")
        else:
            yield number, cells


def _split(
    lines: Iterator[tuple[int, str]], separator: str, size: int, quoted: bool
) -> Iterator[tuple[int, str, list[str] | ValueError]]:
    if quoted:
        yield from csv_rows(lines, separator, lambda cells: not size or len(cells) == size)
        return
    for number, line in lines:
        if line.strip():
            yield number, line, line.split(separator if separator != " " else None)


def _repaired(line: str, found: list[str] | ValueError, dialect: Dialect) -> list[str] | ValueError:
    """The cells of a row that is not valid CSV or has too many or too few."""
    separator, size = dialect.separator, dialect.num_columns
    if len(separator) == 1 and '\\"' in line:  # quotes within quotes marked with a backslash
        with contextlib.suppress(csv.Error, StopIteration):
            cells = next(csv.reader([line], delimiter=separator, escapechar="\\", strict=True))
            if len(cells) == size:
                return cells
    cells = line.split(separator)
    if len(cells) > size and not any(cell.strip() for cell in cells[size:]):
        return cells[:size]  # separators at the end of the line
    if separator == "::" and len(cells) > size == 3:  # a title with "::"
        return [cells[0], "::".join(cells[1:-1]), cells[-1]]
    if len(cells) != size:
        return found if isinstance(found, ValueError) else ValueError(WRONG_NUMBER.format(n=size))
    return [cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell for cell in cells]


def _sniff(head: list[tuple[int, str]]) -> Dialect | None:
    """The separator that names known columns in the header or, if none does, that gives most columns."""
    if head and re.fullmatch(r"sep=.", head[0][1]):  # first line that Excel writes
        return _dialect(head[1:], head[0][1][-1])
    head = [numbered for numbered in head if numbered[1].strip()]
    with_marks = sum("::" in line for _, line in head[:SNIFFED])
    if head and with_marks > CONSISTENT * len(head[:SNIFFED]):
        return _dialect(head, "::")
    found = [dialect for separator in SEPARATORS if (dialect := _dialect(head, separator))]
    if not found and head and all(NUMBER.fullmatch(cell) for cell in head[0][1].split()):
        found = [dialect] if (dialect := _dialect(head, " ")) and dialect.num_columns > 2 else []
    return max(found, key=lambda d: (sum(map(is_known, d.header or ())), d.num_columns), default=None)


def _dialect(head: list[tuple[int, str]], separator: str) -> Dialect | None:
    """The dialect with this separator; None if the numbers of cells differ too much."""
    quoted = len(separator) == 1 and separator != " " and (separator in ",;" or _is_quoted(head, separator))
    size = 0
    for _ in range(2):  # the number of cells is needed to find the ends of quoted cells with line breaks
        rows = list(itertools.islice(_split(iter(head), separator, size, quoted), SNIFFED))
        sizes = [len(line.split(separator)) if isinstance(cells, ValueError) else len(cells) for _, line, cells in rows]
        if not sizes:
            return None
        size, count = collections.Counter(sizes[1:] or sizes).most_common(1)[0]
    if size < 2 or count < CONSISTENT * len(sizes[1:] or sizes):
        return None
    for (number, _, cells), found in zip(rows[: MAX_PREAMBLE + 1], sizes, strict=False):
        if isinstance(cells, ValueError):
            continue
        if found == size - 1 and number == rows[0][0] and _is_header(["", *cells], rows):  # R: row names have no name
            return Dialect(separator, size, number + 1, ["", *cells], quoted)
        if found == size:
            names = [cell.strip() for cell in cells]
            if names == [str(n) for n in range(size)] and len(rows) > 1:  # pandas: columns without names
                return Dialect(separator, size, number + 1, None, quoted)
            return Dialect(separator, size, number, cells if _is_header(names, rows) else None, quoted)
    return None


def _is_quoted(head: list[tuple[int, str]], separator: str) -> bool:
    """Whether quotes enclose cells. Not if text follows a closing quote, or an open one hides rows that stand alone."""
    size = collections.Counter(line.count(separator) for _, line in head).most_common(1)[0][0] if head else 0
    evidence = False
    for (_, line), (_, following) in itertools.pairwise([*head, (0, "")]):
        if not line.startswith('"') and f'{separator}"' not in line:
            continue
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True))
        except csv.Error as error:
            if "unexpected end" not in str(error) or following.count(separator) == size:
                return False
            cells = []
        evidence = evidence or len(cells) <= size + 1
    return evidence


def _is_header(names: list[str], rows: Sequence[tuple[int, str, list[str] | ValueError]]) -> bool:
    """Whether the first row names the columns: its cells are known names, or unlike those below."""
    named = [name for name in names if name]
    if not named or any(NUMBER.fullmatch(name) for name in named) or len(set(named)) < len(named):
        return False
    cells = [cells for _, _, cells in rows[1:] if not isinstance(cells, ValueError) and len(cells) == len(names)]
    body = [own for row in cells if (own := [cell.strip() for cell in row]) != names]
    columns = [[row[n] for row in body] for n in range(len(names))]
    if any(name and name in column for name, column in zip(names, columns, strict=True)):
        return False
    unlike = [_is_unlike(name, list(filter(None, column))) for name, column in zip(names, columns, strict=True) if name]
    if False in unlike and True not in unlike:
        return False
    return True in unlike or any(map(is_known, names))


def _is_unlike(name: str, column: list[str]) -> bool | None:
    """Whether a cell differs from those below in digits; None if that says nothing, as in a column of texts."""
    shapes = collections.Counter(map(_shape, column)).most_common(1)
    if not shapes or shapes[0][1] < CONSISTENT * len(column) or "9" not in shapes[0][0]:
        return None
    return _shape(name) != shapes[0][0]


def _shape(cell: str) -> str:
    """A cell with "9" for each run of digits and "a" for each run of letters; any number is "9"."""
    if NUMBER.fullmatch(cell):
        return "9"
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", cell))
