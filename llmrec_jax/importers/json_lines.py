"""Reads JSON: one object a line, one array of objects, or the Python dicts of the Amazon data of 2014."""

import ast
import functools
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from llmrec_jax.errors import UserError
from llmrec_jax.importers.files import File
from llmrec_jax.importers.table import SAMPLE, Rows, Table
from llmrec_jax.progress import Meter

ARRAY = re.compile(rb"\[\s*([{\[\]]|$)")
MAX_ARRAY = 2**31  # bytes of a JSON array, which is read whole


def open_json(file: File) -> Table | None:
    """The table in a file that begins like JSON; None if its lines are neither JSON objects nor Python dicts."""
    start = file.start(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        if not ARRAY.match(start):  # a list of texts or numbers, or the header [user_id],[item_id]
            return None
        return _table(file, "JSON array", lambda meter: _array(file, meter))
    for syntax, decode in SYNTAXES.items():
        table = _table(file, syntax, functools.partial(_objects, file, decode))
        if table and len(table.sample) == 1 and not any(isinstance(cell, str) for cell in table.sample[0]):
            return _whole(file) or table  # one object of columns, or with a list of rows
        if table:
            return table
    return _whole(file)


def _table(file: File, syntax: str, objects: Callable[[Meter | None], Iterator[tuple[int, Any]]]) -> Table | None:
    """A table of the objects' fields; None if most of the first lines hold no object."""
    first = [found for _, found in itertools.islice(objects(None), SAMPLE)]
    rows = [found for found in first if isinstance(found, dict)]
    if 2 * len(rows) <= len(first):
        return None
    columns = tuple(dict.fromkeys(itertools.chain.from_iterable(rows)))

    def read(wanted: Sequence[str], meter: Meter | None) -> Rows:
        for number, found in objects(meter):
            if isinstance(found, dict):
                yield number, [found.get(name) for name in wanted]
            else:
                yield number, found if isinstance(found, ValueError) else ValueError("not a JSON object")

    sample = [[row.get(column) for column in columns] for row in rows]
    return Table(file.name, syntax, columns, sample, read, file.size)


def _objects(file: File, decode: Callable[[bytes], Any], meter: Meter | None) -> Iterator[tuple[int, Any]]:
    with file.open(meter) as lines:
        for number, line in enumerate(lines, 1):
            line = line.removeprefix(b"\xef\xbb\xbf").strip()
            if not line:
                continue
            try:
                yield number, decode(line)
            except (msgspec.DecodeError, ValueError, SyntaxError, RecursionError, MemoryError):
                yield number, _lenient(line)


def _lenient(line: bytes) -> Any:
    """What Python's parser makes of a line: it also reads NaN, and control characters in texts."""
    try:
        return json.loads(line, strict=False)
    except UnicodeDecodeError:
        return ValueError("not UTF-8")
    except (ValueError, RecursionError):
        return ValueError("not JSON")


def _literal(line: bytes) -> Any:
    """The value of a Python literal; no code is run."""
    return ast.literal_eval(line.decode())


SYNTAXES: dict[str, Callable[[bytes], Any]] = {"JSON lines": msgspec.json.decode, "Python dicts": _literal}


def _array(file: File, meter: Meter | None) -> Iterator[tuple[int, Any]]:
    if file.size > MAX_ARRAY:
        raise UserError(f"{file.name}: one JSON array of more than 2 GiB; write one JSON object a line (jq -c '.[]')")
    with file.open(meter) as data:
        try:
            yield from enumerate(json.loads(data.read().decode("utf-8-sig"), strict=False), 1)
        except ValueError as error:
            raise UserError(f"{file.name}: begins like a JSON array, but is none: {error}") from None


def _whole(file: File) -> Table | None:
    """A file with one object: of columns, or with one list of objects in it."""
    if file.size > MAX_ARRAY:
        return None
    with file.open() as data:
        try:
            found = json.loads(data.read().decode("utf-8-sig"), strict=False)
        except ValueError:
            return None
    if not isinstance(found, dict):
        return None
    rows = _rows_in(found)
    return _table(file, "JSON", lambda meter: iter(enumerate(rows, 1))) if rows else None


def _rows_in(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows in an object: a list in it, or one of the forms in which pandas writes a frame."""
    lists = [value for value in found.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    values = list(found.values())
    if {"columns", "data"} <= found.keys():
        return [dict(zip(found["columns"], row, strict=False)) for row in found["data"]]
    if len(lists) == 1:
        return lists[0]
    if values and all(isinstance(value, list) for value in values):
        return [dict(zip(found, cells, strict=False)) for cells in zip(*values, strict=False)]
    if not values or not all(isinstance(value, dict) for value in values):
        return []
    if all(key.isdigit() for key in values[0]):  # column -> row -> cell
        return [{column: found[column].get(key) for column in found} for key in values[0]]
    return values  # row -> column -> cell
