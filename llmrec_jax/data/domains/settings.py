"""`domain.json`: an optional file of a domain folder that declares how to read the two other files.

    {"order": "sequence", "encoding": "cp1252", "separator": ";", "time_unit": "ms",
     "columns": {"user_id": "customer", "rating": null}, "fields": {"brand": "author"}}

`columns` and `fields` name the columns of interactions.csv and the fields of items.jsonl; null: not read. A
`domains.json` next to the folder can also declare the order: {"domains": {"NAME": {"order": "none"}}}.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from llmrec_jax.errors import UserError

Order = Literal["timestamp", "sequence", "none"]
COLUMNS = ("user_id", "item_id", "rating", "timestamp", "weight", "action", "impression_id")
FIELDS = ("item_id", "title", "category", "brand", "description")


class Settings(msgspec.Struct, frozen=True):
    """The content of `domain.json`. Everything it does not declare is inferred from the files."""

    order: Order | None = None
    encoding: str | None = None
    separator: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    columns: dict[str, str | None] = {}  # keys: COLUMNS
    fields: dict[str, str | None] = {}  # keys: FIELDS


def read_settings(folder: Path) -> Settings:
    """The settings of a domain folder. Raises `UserError` if its domain.json is invalid."""
    path = folder / "domain.json"
    settings = _parse(path) if path.is_file() else Settings()
    if settings.order is None:
        settings = msgspec.structs.replace(settings, order=_order_beside(folder))
    return settings


def _parse(path: Path) -> Settings:
    try:
        values = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        _refuse_unknown(path, values, Settings.__struct_fields__)
        settings = msgspec.convert(values, Settings)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None
    _refuse_unknown(path, settings.columns, COLUMNS)
    _refuse_unknown(path, settings.fields, FIELDS)
    if settings.separator is not None and len(settings.separator) != 1:
        raise UserError(f"{path}: separator {settings.separator!r} is not one character")
    try:
        "".encode(settings.encoding or "utf-8")
    except LookupError:
        raise UserError(f"{path}: unknown encoding {settings.encoding!r}; e.g. cp1252, latin-1, utf-16") from None
    return settings


def _refuse_unknown(path: Path, values: Iterable[str], known: Sequence[str]) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise UserError(f"{path}: unknown key {name!r}; nearest: {near[0]!r} (known: {', '.join(known)})")


def _order_beside(folder: Path) -> Order | None:
    """The order declared in a `domains.json` next to the folder; a file of another form is ignored."""
    path = folder.parent / "domains.json"
    try:
        domains = msgspec.json.decode(path.read_bytes())["domains"]
        order = domains[folder.name]["order"]
    except PermissionError as error:
        raise UserError(f"{path}: may not be read ({error.strerror}); it can declare the order of a domain") from None
    except (OSError, ValueError, msgspec.MsgspecError, KeyError, TypeError, IndexError):
        return None
    if not isinstance(order, str):
        return None
    try:
        return msgspec.convert(order, Order)
    except msgspec.ValidationError:
        raise UserError(f"{path}: order {order!r} of {folder.name!r} is not timestamp, sequence or none") from None
