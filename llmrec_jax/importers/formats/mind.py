"""MIND, the news data of Microsoft: behaviors.tsv and news.tsv, without headers.

A line of behaviors.tsv is a list of shown news and which of them were clicked, with the history of clicks before. The
lists become rows with an action and an impression_id. The history of a user's earliest list becomes interactions too.
It has no times, so they get the seconds before that list.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence

from llmrec_jax.importers.clock import Clock
from llmrec_jax.importers.profile import profile
from llmrec_jax.importers.table import Rows, Table, derived

FORMAT = "MIND"
SHOWN = re.compile(r"(\S+-[01]|N\d+)(\s+(\S+-[01]|N\d+))*\s*|")
LINK = re.compile(r"https?://|^$")
BEHAVIORS = ("user_id", "item_id", "timestamp", "action", "impression_id")
NEWS = ("item_id", "category", "subcategory", "title", "description", "url", "entities of the title", "entities")
UNLABELLED = "the list does not say what was clicked"
NO_TIME = "timestamp is not understood"
SECOND = 10**9


def recognise(tables: Sequence[Table]) -> list[Table]:
    """Convert behaviors.tsv, and name the columns of news.tsv."""
    lists = [table for table in tables if _is_behaviors(table)]
    if not lists:
        return list(tables)
    found = []
    for table in tables:
        if any(table is own for own in lists):
            found.append(_behaviors(table, f"{lists.index(table) + 1}-" if len(lists) > 1 else ""))
        elif table.separator == "\t" and not table.has_header and len(table.columns) >= 5 and not table.format:
            found.append(_news(table))
        else:
            found.append(table)
    return found


def _is_behaviors(table: Table) -> bool:
    if table.separator != "\t" or table.has_header or len(table.columns) != 5 or table.format:
        return False
    cells = [str(value) for value in table.values("5")]
    shown = sum(SHOWN.fullmatch(cell) is not None for cell in cells)
    return any(cells) and shown > 0.8 * len(cells) and profile(table, "3").times > 0.8


def _news(table: Table) -> Table:
    """News: a category and a subcategory, joined; links and entities are left out."""
    names = [*NEWS[: len(table.columns)], *table.columns[len(NEWS) :]]

    def convert(rows: Rows) -> Rows:
        for number, cells in rows:
            if isinstance(cells, ValueError):
                yield number, cells
            else:
                yield number, (cells[0], [cells[1], cells[2]], *cells[3:])

    kept = [names[0], names[1], *names[3:]]
    roles = {name: name for name in ("item_id", "title", "category", "description") if name in kept}
    return derived(table, kept, convert, table.columns, kind="items", format=FORMAT, roles=roles, keep_attributes=False)


def _behaviors(table: Table, prefix: str) -> Table:
    clock = Clock(table.values("3"), day_first=False)
    first: dict[str, int] = {}  # the time of each user's earliest list
    source = table.read

    def convert(rows: Rows) -> Rows:
        seen: set[str] = set()  # users whose history is given
        for number, cells in rows:
            if isinstance(cells, ValueError):
                yield number, cells
                continue
            try:
                time = clock(cells[2])
            except ValueError:
                yield number, ValueError(NO_TIME)
                continue
            user = cells[1].strip()
            if first.get(user) == time and user not in seen:
                seen.add(user)
                yield from _history(number, user, time, cells[3].split())
            yield from _list(number, user, time, f"{prefix}{cells[0].strip()}", cells[4].split())

    def earliest(columns: Sequence[str], meter: object) -> Rows:
        """Read the times once before the rows."""
        first.clear()
        for _, cells in source(["2", "3"], None):
            if not isinstance(cells, ValueError):
                _keep_earliest(first, clock, cells[0].strip(), cells[1])
        yield from source(columns, meter)  # type: ignore[arg-type]

    for cells in table.sample:
        _keep_earliest(first, clock, str(cells[1]).strip(), cells[2])
    with_times = dataclasses.replace(table, read=earliest)
    roles = {name: name for name in BEHAVIORS}
    return derived(with_times, BEHAVIORS, convert, table.columns, kind="events", format=FORMAT, roles=roles)


def _keep_earliest(first: dict[str, int], clock: Clock, user: str, cell: object) -> None:
    try:
        time = clock(cell)
    except ValueError:
        return
    first[user] = min(time, first.get(user, time))


def _history(number: int, user: str, time: int, history: list[str]) -> Iterator[tuple[int, Sequence[object]]]:
    for n, item in enumerate(history):
        yield number, (user, item, f"{(time - (len(history) - n) * SECOND) // SECOND}", "", "")


def _list(number: int, user: str, time: int, name: str, shown: list[str]) -> Rows:
    for entry in shown:
        item, _, label = entry.rpartition("-")
        if label not in ("0", "1") or not item:
            yield number, ValueError(UNLABELLED)
            return
        yield number, (user, item, str(time // SECOND), "click" if label == "1" else "impression", name)
