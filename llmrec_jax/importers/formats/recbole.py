"""RecBole's atomic files: columns like `user_id:token`, `title:token_seq`, `rating:float`. Their types are dropped."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from llmrec_jax.importers.table import Kind, Table, renamed

TYPED = re.compile(r"(.+):(token|token_seq|float|float_seq)")
KINDS: dict[str, Kind] = {".inter": "events", ".item": "items"}
OTHERS = {".user": "not needed", ".kg": "a knowledge graph: not imported", ".link": "not needed", ".net": "not needed"}


def recognise(tables: Sequence[Table]) -> list[Table]:
    """Take the types off the names of columns."""
    return [_one(table) for table in tables]


def _one(table: Table) -> Table:
    typed = [TYPED.fullmatch(column) for column in table.columns]
    if not all(typed):
        return table
    suffix = next((own for own in PurePath(table.name).suffixes[::-1] if own in (*KINDS, *OTHERS)), "")
    if suffix in OTHERS:
        return table.ignored(OTHERS[suffix])
    names = [found[1] for found in typed if found]
    kind = KINDS.get(suffix)
    if kind == "events" and "rating" not in names:
        names = ["rating" if name == "weight" else name for name in names]  # how often a user listened to an artist
    return renamed(table, names, kind=kind, format="RecBole")
