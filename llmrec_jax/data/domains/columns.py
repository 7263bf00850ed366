"""Parses the header of `interactions.csv`: finds the separator and the columns, rejects ambiguous column names."""

import csv
import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

from llmrec_jax.data.domains.settings import COLUMNS, Settings

SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
NEAR = {  # other common names of the columns, lowercase and without punctuation
    "user_id": {"user", "uid", "customer", "customerid", "reviewer", "reviewerid", "visitor", "visitorid", "member",
                "memberid", "client", "clientid", "account", "accountid", "sessionid", "kunde"},
    "item_id": {"item", "iid", "product", "productid", "movie", "movieid", "book", "bookid", "article", "articleid",
                "asin", "parentasin", "sku", "track", "trackid", "artistid", "game", "gameid", "newsid", "artikel"},
    "rating": {"stars"},
    "timestamp": {"ts", "when", "created", "createdat", "zeit", "datum"},
    "weight": {"eventweight", "interactionweight", "sampleweight", "gewicht"},
}  # fmt: skip
NOT_NEAR = {"height"}  # spelled like the name of a column, but not meant as it


class Header(NamedTuple):
    """How to read the rows."""

    separator: str
    names: list[str]
    at: dict[str, int]  # index of each column in COLUMNS that the file has

    @property
    def unread(self) -> list[str]:
        """Names of the other columns."""
        return [name.strip() or "(unnamed)" for n, name in enumerate(self.names) if n not in self.at.values()]


class HeaderError(ValueError):
    """An unusable header: the reason, and what to do."""

    def __init__(self, reason: str, remedy: str = ""):
        super().__init__(reason)
        self.remedy = remedy


def read_header(line: str, settings: Settings) -> Header:
    """Parse a header. Raises `HeaderError` unless exactly one separator yields user_id and item_id."""
    separators = [settings.separator] if settings.separator else list(SEPARATORS)
    headers = [_read(line, separator, settings) for separator in separators]
    fitting = [header for header in headers if {"user_id", "item_id"} <= header.at.keys()]
    if len(fitting) > 1:
        raise HeaderError(
            "the header can be read with more than one separator", 'say which in domain.json: {"separator": ";"}'
        )
    if not fitting:
        raise _lacking(headers)
    for column in COLUMNS:
        if column in settings.columns and settings.columns[column] is not None and column not in fitting[0].at:
            raise HeaderError(f"the header lacks the column that domain.json names for {column}")
    _ask(fitting[0], settings)
    return fitting[0]


def _read(line: str, separator: str, settings: Settings) -> Header:
    names = next(csv.reader((line,), delimiter=separator), [])
    keys = [name.strip().casefold() for name in names]
    at = {}
    for column in COLUMNS:
        wanted = settings.columns.get(column, column)
        if wanted is None:
            continue
        if keys.count(wanted.strip().casefold()) > 1:
            raise HeaderError(f"the header names {column} twice")
        if wanted.strip().casefold() in keys:
            at[column] = keys.index(wanted.strip().casefold())
    if not {"action", "impression_id"} <= at.keys():  # one says nothing without the other
        at = {column: index for column, index in at.items() if column not in ("action", "impression_id")}
    return Header(separator, names, at)


def _lacking(headers: Sequence[Header]) -> HeaderError:
    """The error for a header without user_id or item_id, based on the separator that yields the most columns."""

    def nearness(header: Header) -> int:
        return len(header.at) + sum(bool(_near(header, column)) for column in ("user_id", "item_id"))

    header = max(headers, key=nearness)
    missing = [column for column in ("user_id", "item_id") if column not in header.at]
    near = {column: names[0] for column in missing if (names := _near(header, column))}
    if near:
        remedy = "; ".join(f"{name!r} looks like {column}" for column, name in near.items()) + _fix(near)
    else:
        remedy = (
            "the first line names the columns, user_id,item_id,rating,timestamp, with one separator: "
            "comma, semicolon, tab or pipe"
        )
    return HeaderError(f"the header has no {' and '.join(missing)}", remedy)


def _ask(header: Header, settings: Settings) -> None:
    """Reject a header if an unread column may be a missing one, which would otherwise be ignored silently."""
    for column in ("timestamp", "rating", "weight"):
        ordered = column == "timestamp" and settings.order in ("sequence", "none")
        if column in header.at or column in settings.columns or ordered:
            continue
        if names := _near(header, column):
            shown = " and ".join(map(repr, names[:3]))
            raise HeaderError(
                f"the header has no {column}, but {shown} may be meant",
                _fix({column: names[0]}).removeprefix(": ") + f'; not meant: {{"columns": {{"{column}": null}}}}',
            )


def _fix(near: dict[str, str]) -> str:
    columns = ", ".join(f'"{column}": "{name}"' for column, name in near.items())
    return f': rename it, or declare it in domain.json: {{"columns": {{{columns}}}}}'


def _near(header: Header, column: str) -> list[str]:
    """The unread columns with a name similar to `column`."""
    return [name for name in header.unread if _is_near(re.sub(r"[\W_]", "", name.split(":")[0]).casefold(), column)]


def _is_near(key: str, column: str) -> bool:
    if key in NOT_NEAR:
        return False
    if column == "timestamp" and (key.startswith(("time", "date")) or key.endswith(("time", "date", "timestamp"))):
        return True
    if column == "user_id" and key.startswith("user") and "item" not in key:
        return True
    return key in NEAR[column] or difflib.SequenceMatcher(None, key, column.replace("_", "")).ratio() >= 0.8
