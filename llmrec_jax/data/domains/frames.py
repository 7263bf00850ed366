"""Writes frames as a domain folder: pandas, polars, Arrow, dicts of columns, lists of dicts. None of them is imported.

`llmrec import` writes the same bytes for the same data, so both give a domain of the same hash.
"""

import collections
import datetime
import difflib
import importlib
import math
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import prepare
from llmrec_jax.data.domains.cells import identity, is_missing
from llmrec_jax.data.domains.settings import COLUMNS, FIELDS
from llmrec_jax.data.domains.times import EPOCH, MICROSECOND, ZONED, parse_time
from llmrec_jax.data.domains.writing import DomainWriter, number_text, present, time_text
from llmrec_jax.errors import UserError

TO_LIST = ("to_pylist", "to_list", "tolist")  # of a column of Arrow, polars and pandas


class ArrowStream(Protocol):
    """A frame of a library that speaks the Arrow C stream protocol: pandas, polars, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule with the rows."""


class Interchange(Protocol):
    """A frame of a library that speaks the dataframe interchange protocol."""

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        """The frame in the form of the protocol."""


# A dict of columns, a list of dicts, or a frame of another library; see `columns_of`.
Frame: TypeAlias = Mapping[str, Iterable[object]] | Sequence[Mapping[str, object]] | ArrowStream | Interchange


def store(items: Frame, events: Frame, name: str, data: DataConfig) -> Path:
    """Write frames to a folder in the cache, named by a hash of the content; return it. Raises as `write`."""
    root = Path(data.cache_dir) / "frames"
    draft = root / f".{uuid.uuid4().hex}" / name
    try:
        draft.mkdir(parents=True)
        write(items, events, draft)
        final = root / prepare.content_hash(draft, "fail", None)[:16] / name
        final.parent.mkdir(exist_ok=True)
        if not final.is_dir():
            draft.rename(final)
    except OSError as error:
        raise UserError(f"cannot write the cache {root}: {error}; set data.cache_dir to another folder") from error
    finally:
        shutil.rmtree(draft.parent, ignore_errors=True)
    return final


def write(items: Frame, events: Frame, folder: Path) -> None:
    """Write items.jsonl and interactions.csv to an existing folder.

    Args:
      items: Frame with `item_id` and `title`, optionally `category`, `brand`, `description`, `price` and others, which
        become fields of the items.
      events: Frame with `user_id` and `item_id`, optionally `rating`, `timestamp`, `weight`, and `action` with
        `impression_id`. Times are dates, numbers since 1970 or ISO 8601 texts.
      folder: Where to write.

    Raises:
      UserError: a frame lacks a column or cannot be read, or a row is invalid.
    """
    catalogue = columns_of(items, "items", FIELDS[:2], FIELDS)
    log = columns_of(events, "events", COLUMNS[:2], COLUMNS)
    columns = present(list(log))
    if not {"action", "impression_id"} <= set(columns):
        columns = [column for column in columns if column not in ("action", "impression_id")]
    with DomainWriter(folder, columns) as writer:
        for number, values in enumerate(zip(*catalogue.values(), strict=True)):
            record = {name: _plain(value) for name, value in zip(catalogue, values, strict=True)}
            record["item_id"] = identity(record["item_id"])
            record["title"] = _title(record["title"])
            _checked("items", number, lambda record=record: writer.item(record))
        for number, values in enumerate(zip(*(log[column] for column in columns), strict=True)):
            cells = zip(columns, values, strict=True)
            _checked("events", number, lambda cells=cells: writer.event([_cell(*cell) for cell in cells]))


def columns_of(frame: Frame, what: str, needed: Sequence[str], known: Sequence[str]) -> dict[str, list[Any]]:
    """The columns of a frame as lists of Python values.

    Args:
      frame: A dict of columns, a list of dicts, a frame of pandas, polars or Arrow, or anything with the Arrow C stream
        or the dataframe interchange protocol, which need pyarrow.
      what: Name of the frame, for messages.
      needed: Columns that it must have.
      known: Columns that have a meaning, for messages.
    """
    columns = _columns(frame, what)
    columns = {str(name): values for name, values in columns.items()}
    if len({len(values) for values in columns.values()}) > 1:
        raise UserError(f"{what}: the columns have different lengths")
    for name in needed:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"; rename {near[0]!r}, which looks like it" if near else ""
            raise UserError(
                f"{what}: no column {name!r}; it has {', '.join(columns) or 'none'} (known: {', '.join(known)}){hint}"
            )
    return columns


def _columns(frame: Any, what: str) -> Mapping[Any, list[Any]]:
    if hasattr(frame, "collect") and not hasattr(frame, "__len__"):  # a lazy frame of polars
        frame = frame.collect()
    if isinstance(frame, Mapping):
        return {name: _list(column) for name, column in frame.items()}
    if isinstance(frame, list | tuple):
        if not all(isinstance(row, Mapping) for row in frame):
            raise UserError(f"{what}: a list must contain dicts only, one per row")
        fields = dict.fromkeys(name for row in frame for name in row)
        return {name: [row.get(name) for row in frame] for name in fields}
    names = getattr(frame, "column_names", None)
    names = getattr(frame, "columns", None) if names is None else names
    if isinstance(names, Iterable) and hasattr(frame, "__getitem__") and hasattr(frame, "__len__"):
        if twice := [name for name, count in collections.Counter(names).items() if count > 1]:
            raise UserError(f"{what}: {twice[0]!r} is the name of several columns; rename all but one")
        return {name: _list(frame[name]) for name in names}
    return _by_arrow(frame, what)


def _by_arrow(frame: Any, what: str) -> Mapping[str, list[Any]]:
    """The columns of a frame of another library."""
    if not hasattr(frame, "__arrow_c_stream__") and not hasattr(frame, "__dataframe__"):
        raise UserError(
            f"{what}: {type(frame).__name__} is not a data frame: pass one of pandas, polars or Arrow, a dict of "
            "columns or a list of dicts"
        )
    try:
        arrow = importlib.import_module("pyarrow")
    except ModuleNotFoundError:
        raise UserError(f"{what}: {type(frame).__name__} needs pyarrow: pip install 'llmrec_jax[tables]'") from None
    if hasattr(frame, "__arrow_c_stream__"):
        return arrow.table(frame).to_pydict()
    return importlib.import_module("pyarrow.interchange").from_dataframe(frame).to_pydict()


def _list(column: Any) -> list[Any]:
    """The values of a column."""
    method = next((getattr(column, name) for name in TO_LIST if hasattr(column, name)), None)
    return method() if method else list(column)


def _checked(what: str, number: int, write_row: Any) -> None:
    try:
        write_row()
    except (ValueError, TypeError) as error:
        raise UserError(f"{what}, row {number}: {error}") from None


def _plain(value: Any) -> Any:
    """A cell of an item as a value of JSON; None if it is empty."""
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    return None if not isinstance(value, list | str) and is_missing(value) else value


def _title(value: Any) -> str | None:
    """A title; a list of texts is joined as in items.jsonl."""
    return ", ".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value)


def _cell(column: str, value: Any) -> str:
    """The text of a cell of `interactions.csv`. Raises ValueError or TypeError."""
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if column in ("user_id", "item_id", "action", "impression_id"):
        return identity(value)
    if is_missing(value):
        return ""
    if column == "timestamp":
        return time_text(time_of(value)[1])
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{column} is not a finite number")
    return number_text(number)


def time_of(value: Any) -> tuple[int, int]:
    """The kind (see `times.KINDS`) and the nanoseconds since 1970 of a date, a number or an ISO 8601 text.

    Raises ValueError if it is none of these.
    """
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if isinstance(value, datetime.datetime):
        since = (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)) - EPOCH
        if since < datetime.timedelta(0):
            raise ValueError("timestamp is before 1970")
        return ZONED, since // MICROSECOND * 1_000
    if isinstance(value, float):
        value = f"{value:.9f}".rstrip("0").rstrip(".")
    return parse_time(str(value).strip(), None)
