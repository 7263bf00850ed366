"""Goodreads (UCSD Book Graph): interactions or reviews, books, optionally authors and genres; JSON lines or CSV."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from llmrec_jax.data.domains.cells import identity
from llmrec_jax.importers.table import Cells, Rows, Table, derived, each

FORMAT = "Goodreads"
TIMES = ("date_added", "date_updated", "read_at", "started_at")
OF_BOOKS = {"title_without_series", "popular_shelves", "authors", "is_ebook"}
# Shelves that say what a reader did with the book, not what it is.
PERSONAL = (
    "read", "own", "shelf", "library", "kindle", "book", "favo", "wish", "buy", "have", "re-", "default", "audio",
    "list", "tbr", "dnf", "borrow", "collection", "netgalley", "arc", "finish", "my-",
)  # fmt: skip
SHELVES = 5
BOOK = ("item_id", "title", "brand", "category", "description")


def recognise(tables: Sequence[Table]) -> list[Table]:
    """Name the columns of Goodreads' files; look up authors and genres of the books."""
    authors = next((table for table in tables if {"author_id", "name"} <= set(table.columns)), None)
    genres = next((table for table in tables if {"book_id", "genres"} == set(table.columns)), None)
    ids = next((table for table in tables if {"book_id_csv", "book_id"} == set(table.columns)), None)
    return [_one(table, authors, genres, ids) for table in tables]


def _one(table: Table, authors: Table | None, genres: Table | None, ids: Table | None) -> Table:
    columns = set(table.columns)
    if table.format:
        return table
    if {"user_id", "book_id"} <= columns and columns & {*TIMES, "is_read", "review_id"}:
        return _interactions(table, ids)
    if {"book_id", "title"} <= columns and columns & OF_BOOKS and "user_id" not in columns:
        if table.syntax.startswith("JSON"):
            return _books(table, authors, genres)
        return table  # goodbooks-10k: plain columns
    if table is authors or table is genres:
        return table.ignored("looked up for the books")
    if table is ids or {"user_id_csv", "user_id"} == columns:
        return table.ignored("looked up for the interactions")
    return table


def _interactions(table: Table, ids: Table | None) -> Table:
    time = next((name for name in TIMES if name in table.columns), None)
    roles = {"user_id": "user_id", "item_id": "book_id"}
    roles |= ({"rating": "rating"} if "rating" in table.columns else {}) | ({"timestamp": time} if time else {})
    known = dataclasses.replace(table, kind="events", format=FORMAT, roles=roles, zero_is_no_rating=True)
    if ids is None or time is not None:
        return known
    numbers, at = functools.cache(lambda: _dictionary(ids, "book_id_csv", "book_id")), table.columns.index("book_id")

    def convert(cells: Cells) -> Cells:
        return [*cells[:at], numbers().get(identity(cells[at]), cells[at]), *cells[at + 1 :]]

    return derived(known, table.columns, each(convert), table.columns)


def _dictionary(table: Table, key: str, value: str) -> dict[str, Any]:
    rows = (cells for _, cells in table.read([key, value], None))
    return {identity(cells[0]): cells[1] for cells in rows if not isinstance(cells, ValueError)}


def _books(table: Table, authors: Table | None, genres: Table | None) -> Table:
    author_names = functools.cache(lambda: _dictionary(authors, "author_id", "name") if authors else {})
    genres_of = functools.cache(lambda: _dictionary(genres, "book_id", "genres") if genres else {})
    columns = table.columns

    def convert(rows: Rows) -> Rows:
        for number, cells in rows:
            if isinstance(cells, ValueError):
                yield number, cells
                continue
            row = dict(zip(columns, cells, strict=True))
            category = list(genres_of().get(identity(row["book_id"])) or ()) or _shelves(row.get("popular_shelves"))
            yield (
                number,
                (row["book_id"], row.get("title"), _authors(row, author_names()), category, row.get("description")),
            )

    roles = {name: name for name in BOOK}
    return derived(table, BOOK, convert, columns, kind="items", format=FORMAT, roles=roles)


def _authors(row: dict[str, Any], names: dict[str, Any]) -> list[str]:
    """The names of the authors, as far as known; translators and others are left out."""
    entries = [entry for entry in row.get("authors") or () if isinstance(entry, dict) and not entry.get("role")]
    found = [entry.get("name") or names.get(identity(entry.get("author_id"))) for entry in entries]
    return [name for name in found if name]


def _shelves(shelves: Any) -> list[str]:
    """The names of the shelves that most readers put a book on, without personal ones."""
    names = [str(shelf.get("name", "")) for shelf in shelves or () if isinstance(shelf, dict)]
    return [name for name in names if name and not any(word in name for word in PERSONAL)][:SHELVES]
