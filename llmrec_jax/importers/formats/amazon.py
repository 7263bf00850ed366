"""Amazon reviews of 2014, 2018 and 2023: reviews and products as JSON lines (2014: Python dicts), ratings as CSV."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from llmrec_jax.importers.profile import profile
from llmrec_jax.importers.table import Cells, Table, derived, each, renamed

FORMAT = "Amazon reviews"
USER, ITEM = re.compile(r"A[A-Z0-9]{9,}"), re.compile(r"B[A-Z0-9]{9}|\d{9}[\dX]")
OF_PRODUCTS = {"imUrl", "imageURL", "imageURLHighRes", "salesRank", "rank", "also_buy", "also_view", "main_cat",
               "related", "main_category", "average_rating", "bought_together", "details", "similar_item", "categories",
               "tech1"}  # fmt: skip
TIMES = ("timestamp", "unixReviewTime", "sort_timestamp", "reviewTime")
PRODUCT = ("item_id", "title", "brand", "category", "description", "price")


def recognise(tables: Sequence[Table]) -> list[Table]:
    """Name the columns of Amazon's files."""
    return [_one(table) for table in tables]


def _one(table: Table) -> Table:
    columns = set(table.columns)
    if table.format or not table.has_header:
        return _ratings(table) if not table.format else table
    user = next((name for name in ("reviewerID", "user_id") if name in columns), None)
    item = next((name for name in ("parent_asin", "asin") if name in columns), None)
    rating = next((name for name in ("overall", "rating") if name in columns), None)
    if user and item:
        time = next((name for name in TIMES if name in columns and profile(table, name).filled), None)
        found = {"user_id": user, "item_id": item, "rating": rating, "timestamp": time}
        roles = {role: column for role, column in found.items() if column}
        return dataclasses.replace(table, kind="events", format=FORMAT, roles=roles)
    if item and (columns & OF_PRODUCTS or {"title", "asin"} <= columns):
        return _products(table, item)
    return table


def _products(table: Table, item: str) -> Table:
    columns = table.columns

    def convert(cells: Cells) -> Cells:
        row = dict(zip(columns, cells, strict=True))
        details = row.get("details")
        brand = row.get("brand") or row.get("store") or (details.get("Brand") if isinstance(details, dict) else None)
        category = _first(row, "categories", "category", "main_category", "main_cat")
        return (
            row[item],
            row.get("title"),
            brand,
            category,
            _first(row, "description", "features", "feature"),
            row.get("price"),
        )

    roles = {name: name for name in PRODUCT}
    return derived(table, PRODUCT, each(convert), columns, kind="items", format=FORMAT, roles=roles)


def _first(row: dict[str, Any], *names: str) -> Any:
    """The first of these fields that is not empty."""
    return next((row[name] for name in names if row.get(name)), None)


def _ratings(table: Table) -> Table:
    """ratings_Beauty.csv: user, item, rating, time in 2014; item, user, rating, time in 2018."""
    if len(table.columns) != 4 or table.separator != "," or not profile(table, "4").times > 0.9:
        return table
    first, second = (_share(table, "1"), _share(table, "2"))
    if max(first[1], second[1]) < 0.8 or max(first[0], second[0]) < 0.8:
        return table
    names = ("user_id", "item_id", "rating", "timestamp")
    if second[0] > first[0]:
        names = ("item_id", "user_id", "rating", "timestamp")
    return renamed(table, names, kind="events", format=FORMAT, roles={name: name for name in names})


def _share(table: Table, column: str) -> tuple[float, float]:
    """The shares of cells that look like users and like items."""
    cells = [str(value) for value in table.values(column)]
    users = sum(USER.fullmatch(cell) is not None for cell in cells)
    return users / max(1, len(cells)), sum(ITEM.fullmatch(cell) is not None for cell in cells) / max(1, len(cells))
