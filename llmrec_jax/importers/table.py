"""The `Table`, the common form of all inputs: named columns, streamed rows, and a sample of the first rows."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from llmrec_jax.progress import Meter

SAMPLE = 2_000  # rows
UNNAMED = "(unnamed)"  # a column without a name in a table with a header
Cells = Sequence[Any]
Rows = Iterator[tuple[int, Cells | ValueError]]  # line or row number from 1; ValueError: why it cannot be read
Kind = Literal["events", "items", "ignored"]


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Rows of named columns. Cells are texts, or the values of JSON, Parquet or a database."""

    name: str  # for messages: the file
    syntax: str  # how it is read: "CSV, separator ';', cp1252"
    columns: tuple[str, ...]  # "1", "2", ... if the file has no header
    sample: Sequence[Cells]  # cells of the first rows, in the order of `columns`
    read: Callable[[Sequence[str], Meter | None], Rows]  # yields the rows, with only these columns
    size: int = 0  # bytes on disk; 0: not known
    has_header: bool = True
    separator: str = ""  # of a text file
    # Set by `formats` where the format says what the columns are; otherwise `plan` finds out.
    kind: Kind | None = None
    note: str = ""  # why the table is ignored
    format: str = ""  # "MovieLens"; "" if it is none of the known formats
    roles: dict[str, str] | None = None  # role -> column
    keep_attributes: bool = True  # whether the other columns of a table of items become fields of the items
    order: Literal["none"] | None = None  # "none": the rows have no order in time
    zero_is_no_rating: bool = False

    def values(self, column: str) -> list[Any]:
        """The cells of a column in the sample."""
        at = self.columns.index(column)
        return [cells[at] for cells in self.sample]

    def ignored(self, why: str) -> "Table":
        """The table, marked as not to be imported."""
        return dataclasses.replace(self, kind="ignored", note=why)


class Source(NamedTuple):
    """A table to import, and what its columns hold."""

    table: Table
    roles: Mapping[str, str]  # role -> column
    attributes: Sequence[str] = ()  # further columns of a catalogue to keep


def renamed(table: Table, names: Sequence[str], **changes: Any) -> Table:
    """The table with other names of columns; further fields are set to `changes`."""
    return derived(table, names, lambda rows: rows, table.columns, **changes)


def derived(
    table: Table, columns: Sequence[str], convert: Callable[[Rows], Rows], needs: Sequence[str], **changes: Any
) -> Table:
    """A table with other columns, made from the rows of `table`.

    Args:
      table: The table to read.
      columns: Columns of the result.
      convert: Turns rows with the columns `needs` into rows with `columns`.
      needs: Columns of `table`, see `convert`.
      changes: Further fields of the result.
    """

    def read(wanted: Sequence[str], meter: Meter | None) -> Rows:
        at = [columns.index(column) for column in wanted]
        for number, cells in convert(table.read(needs, meter)):
            yield number, cells if isinstance(cells, ValueError) else [cells[n] for n in at]

    indices = [table.columns.index(column) for column in needs]
    rows = convert((number, [cells[n] for n in indices]) for number, cells in enumerate(table.sample, 1))
    sample = list(itertools.islice((cells for _, cells in rows if not isinstance(cells, ValueError)), SAMPLE))
    return dataclasses.replace(table, columns=tuple(columns), sample=sample, read=read, **changes)


def unique_names(names: Sequence[str]) -> list[str]:
    """Names of columns without blanks around them; a repeated one gets its number."""
    seen: set[str] = set()
    unique = []
    for n, name in enumerate(name.strip() or UNNAMED for name in names):
        unique.append(name if name not in seen else f"{name} ({n + 1})")
        seen.add(unique[-1])
    return unique


def each(convert: Callable[[Cells], Cells]) -> Callable[[Rows], Rows]:
    """Apply a function to every row that can be read."""

    def rows(source: Rows) -> Rows:
        for number, cells in source:
            yield number, cells if isinstance(cells, ValueError) else convert(cells)

    return rows
