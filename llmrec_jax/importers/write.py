"""Carries out a `Plan`: streams the tables into a domain folder; what is left out is listed in left_out.csv.

Memory holds the ids of the items, nothing that grows with the log.
"""

import collections
import csv
import dataclasses
import datetime
import json
import math
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmrec_jax.data.domains.cells import identity, is_missing
from llmrec_jax.data.domains.times import EPOCH, PER_SECOND
from llmrec_jax.data.domains.writing import DomainWriter, number_text, time_text
from llmrec_jax.errors import UserError
from llmrec_jax.importers import values
from llmrec_jax.importers.clock import Clock
from llmrec_jax.importers.columns import clock_of, zero_is_no_rating
from llmrec_jax.importers.plan import KEYS, Plan, Source
from llmrec_jax.importers.profile import profile
from llmrec_jax.importers.progress import Meter, shown
from llmrec_jax.importers.roles import ITEM_ROLES
from llmrec_jax.importers.table import Cells

LEFT_OUT = "left_out.csv"
TEXTS = {"title": values.text, "brand": values.names, "category": values.names, "description": values.paragraphs}
REPEATED = "item_id occurs on an earlier line too"
UNKNOWN = "item_id is not among the items"
NO_ITEM = "the line of its item is left out"


@dataclasses.dataclass
class Counts:
    """What an import has taken and left out."""

    items: int = 0
    interactions: int = 0
    shown: int = 0  # rows of items that were only shown
    left_out: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )  # "file: reason" -> rows
    unread_ratings: int = 0


def write(plan: Plan, folder: Path) -> Counts:
    """Write a domain folder. Raises `UserError` if `folder` is not empty or no item or interaction is left."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder; name a new folder")
    draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        counts = _fill(plan, draft)
        if not counts.items or not counts.interactions:
            raise UserError(_nothing(plan, counts))
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return counts


def _fill(plan: Plan, draft: Path) -> Counts:
    total = sum(source.table.size for source in (*plan.items, *plan.events))
    with (
        shown(total) as meter,
        DomainWriter(draft, plan.event_columns) as writer,
        (draft / LEFT_OUT).open("w", encoding="utf-8", newline="") as file,
    ):
        run = _Import(plan, writer, csv.writer(file, lineterminator="\n"))
        for source in plan.items:
            meter.begin(f"reading items: {source.table.name}")
            run.items(source, meter)
        for source in plan.events:
            meter.begin(f"reading interactions: {source.table.name}")
            run.events(source, meter)
    if any(source.table.order for source in plan.events):
        (draft / "domain.json").write_text(json.dumps({"order": "none"}) + "\n")
    return run.counts


class _Import:
    """Converts rows and writes them."""

    def __init__(self, plan: Plan, writer: DomainWriter, left_out: Any):
        self.plan, self.writer, self.left_out = plan, writer, left_out
        self.left_out.writerow(("file", "line", "reason"))
        self.key = KEYS[plan.join] if plan.join else None
        self.ids: dict[str, str] = {}  # key of an id -> the id, of the items written
        self.bad_ids: set[str] = set()
        self.counts = Counts()

    def items(self, source: Source, meter: Meter) -> None:
        """Write the items of a catalogue."""
        roles = [role for role in ITEM_ROLES if role in source.roles]
        columns = [*(source.roles[role] for role in roles), *source.attributes]
        numeric = [profile(source.table, name).is_number for name in source.attributes]
        for line, cells in source.table.read(columns, meter):
            if isinstance(cells, ValueError):
                self._leave_out(source, line, str(cells))
                continue
            record = _record(dict(zip(roles, cells, strict=False)))
            for name, is_number, cell in zip(source.attributes, numeric, cells[len(roles) :], strict=True):
                record[name] = values.attribute(cell, is_number)
            reason = self._item(record)
            if reason:
                self._leave_out(source, line, reason)

    def _item(self, record: dict[str, Any]) -> str:
        """Write an item; the reason if it is left out."""
        item_id = record["item_id"]
        key = self.key(item_id) if self.key else item_id
        if key in self.ids:
            return REPEATED
        try:
            self.writer.item(record)
        except ValueError as error:
            self.bad_ids.add(key)
            return str(error)
        self.ids[key] = item_id
        self.bad_ids.discard(key)
        self.counts.items += 1
        return ""

    def events(self, source: Source, meter: Meter) -> None:
        """Write the interactions of a log and, if there is no catalogue, their items."""
        columns = self.plan.event_columns
        wanted = list(dict.fromkeys(source.roles.values()))
        at = {role: wanted.index(column) for role, column in source.roles.items()}
        clock, zero_is_none = clock_of(source), zero_is_no_rating(source)
        for line, cells in source.table.read(wanted, meter):
            if isinstance(cells, ValueError):
                self._leave_out(source, line, str(cells))
                continue
            try:
                row = self._row(columns, at, cells, clock, zero_is_none)
                self.writer.event(row)
            except ValueError as error:
                self._leave_out(source, line, str(error))
                continue
            is_shown = "action" in at and row[columns.index("action")] == "impression"
            self.counts.shown += is_shown
            self.counts.interactions += not is_shown

    def _row(
        self, columns: Sequence[str], at: dict[str, int], cells: Cells, clock: Clock | None, zero_is_none: bool
    ) -> list[str]:
        """The cells of a row of interactions.csv. Raises ValueError with the reason if it is left out."""
        user_id, item_id = identity(cells[at["user_id"]]), identity(cells[at["item_id"]])
        if not user_id or not item_id:
            raise ValueError(f"{'item_id' if user_id else 'user_id'} is empty")
        if not self.plan.items:
            self._own_item(item_id, at, cells)
        key = self.key(item_id) if self.key else item_id
        known = self.ids.get(key)
        if known is None:
            raise ValueError(NO_ITEM if key in self.bad_ids else UNKNOWN)
        row = [user_id, known]
        for column in columns[2:]:
            cell = cells[at[column]] if column in at else None
            if column == "timestamp":
                row.append(_time(cell, clock))
            elif column in ("rating", "weight"):
                row.append(self._number(cell, column, zero_is_none))
            else:
                row.append(identity(cell))
        return row

    def _own_item(self, item_id: str, at: dict[str, int], cells: Cells) -> None:
        """Write the item of an interaction where there is no catalogue."""
        if item_id in self.ids:
            return
        texts = {role: cells[at[role]] for role in ITEM_ROLES[1:] if role in at}
        self._item(_record({"item_id": item_id, "title": item_id, **texts}))

    def _number(self, cell: Any, column: str, zero_is_none: bool) -> str:
        try:
            number = values.number(cell)
        except (ValueError, TypeError):
            if column == "weight":
                raise ValueError("weight is not a number") from None
            self.counts.unread_ratings += 1
            return ""
        if math.isnan(number) and column == "weight":
            raise ValueError("weight is empty")
        return "" if math.isnan(number) or (zero_is_none and not number) else number_text(number)

    def _leave_out(self, source: Source, line: int, reason: str) -> None:
        self.counts.left_out[f"{source.table.name}: {reason}"] += 1
        self.left_out.writerow((source.table.name, line, reason))


def _record(cells: dict[str, Any]) -> dict[str, Any]:
    """The fields of an item that have a meaning."""
    record: dict[str, Any] = {"item_id": identity(cells["item_id"])}
    record |= {role: convert(cells[role])[:100_000] for role, convert in TEXTS.items() if role in cells}
    if "price" in cells:
        record["price"] = values.amount(cells["price"])
    return record


def _time(cell: Any, clock: Clock | None) -> str:
    if clock is None or is_missing(cell):
        raise ValueError("timestamp is empty")
    return time_text(clock(cell))


def _nothing(plan: Plan, counts: Counts) -> str:
    what = "interaction" if counts.items else "item"
    reasons = (
        "; ".join(f"{count:,} x {reason}" for reason, count in counts.left_out.most_common(5)) or "the tables are empty"
    )
    used = ", ".join(f"{source.table.name} ({_columns(source)})" for source in (*plan.items, *plan.events))
    return f"no {what} is left: {reasons}. Read: {used}; other columns: --map FIELD=COLUMN"


def _columns(source: Source) -> str:
    return ", ".join(f"{role}={column}" for role, column in source.roles.items())


def first_rows(plan: Plan, count: int = 3) -> Iterator[tuple[str, dict[str, str]]]:
    """The first rows of the tables as they are read: "items" or "interactions", and the values."""
    for what, sources in (("items", plan.items), ("interactions", plan.events)):
        for source in sources[:1]:
            clock = clock_of(source, whole=False)
            for cells in source.table.sample[:count]:
                row = dict(zip(source.table.columns, cells, strict=True))
                yield what, {role: _shown(role, row[column], clock) for role, column in source.roles.items()}


def _shown(role: str, cell: Any, clock: Clock | None) -> str:
    try:
        if role == "timestamp" and clock is not None and not is_missing(cell):
            since = datetime.timedelta(seconds=clock(cell) // PER_SECOND)
            return f"{EPOCH + since:%Y-%m-%d %H:%M:%S}"
        if role in ("rating", "weight", "price"):
            number = values.amount(cell) if role == "price" else values.number(cell)
            return "" if number is None or math.isnan(number) else number_text(number)
    except (ValueError, TypeError):
        return "?"
    return TEXTS[role](cell) if role in TEXTS else identity(cell)
