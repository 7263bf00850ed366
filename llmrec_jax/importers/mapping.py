"""Parses the option `--map`: `user=customer`, `item=products.csv:nr`, `rating=` (not read)."""

import difflib
from collections.abc import Sequence

from llmrec_jax.errors import UserError
from llmrec_jax.importers.table import Table

FIELDS = {
    "user": "user_id", "item": "item_id", "time": "timestamp", "name": "title", "author": "brand", "genre": "category",
    **{role: role for role in ("user_id", "item_id", "rating", "timestamp", "weight", "action", "impression_id")},
    **{role: role for role in ("title", "brand", "category", "description", "price")},
}  # fmt: skip


class Mapped:
    """Roles that the user has given to columns."""

    def __init__(self, options: Sequence[str]):
        """`options` are like "user=customer". Raises `UserError` if one is not."""
        self.options: list[tuple[str, str]] = []  # role, column
        self.given: list[tuple[str, str, str]] = []  # role, file or "", column; see `check`
        for option in options:
            field, mark, column = option.partition("=")
            role = FIELDS.get(field.strip().casefold())
            if not mark or role is None:
                near = difflib.get_close_matches(field, FIELDS, n=1)
                hint = f"; nearest: {near[0]}" if near and mark else ""
                raise UserError(f"--map {option}: write FIELD=COLUMN; fields: {', '.join(FIELDS)}{hint}")
            self.options.append((role, column.strip()))

    def check(self, tables: Sequence[Table]) -> None:
        """Split FILE:COLUMN. Raises `UserError` if no table has a column."""
        self.given = []
        for role, column in self.options:
            file, _, rest = column.partition(":")
            in_file = [table for table in tables if rest and table.name.endswith(file) and _column(table, rest)]
            if in_file:
                self.given.append((role, file, rest))
            elif not column or any(_column(table, column) for table in tables):
                self.given.append((role, "", column))
            else:
                known = "; ".join(f"{table.name}: {', '.join(table.columns[:20])}" for table in tables)
                raise UserError(f"--map {role}={column}: no file has this column. Columns: {known}")

    def of(self, table: Table, roles: Sequence[str]) -> dict[str, str]:
        """Role -> column of a table; "" for a role that no column is to play."""
        found = {}
        for role, file, name in self.given:
            column = _column(table, name) if name else ""
            if role in roles and column is not None and table.name.endswith(file):
                found[role] = column
        return found


def _column(table: Table, name: str) -> str | None:
    """The column of this name; upper and lower case are alike."""
    return next((column for column in table.columns if column.casefold() == name.casefold()), None)
