"""Carries out a `Plan`: streams the tables into a domain folder; what is left out is listed in left_out.csv.

Memory holds the ids of the items, nothing that grows with the log.
"""

import collections
import csv
import dataclasses
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from llmrec_jax.data.domains.writing import DomainWriter
from llmrec_jax.errors import UserError
from llmrec_jax.importers import values
from llmrec_jax.importers.catalogue import KEYS
from llmrec_jax.importers.columns import Log, logs, record
from llmrec_jax.importers.plan import Plan
from llmrec_jax.importers.profile import profile
from llmrec_jax.importers.roles import ITEM_ROLES
from llmrec_jax.importers.table import Source
from llmrec_jax.progress import Meter, shown

LEFT_OUT = "left_out.csv"
REPEATED = "item_id occurs on an earlier line too"
UNKNOWN = "item_id is not among the items"
BAD_ITEM = "the line of its item is left out"


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
        shown("importing", total, is_share=True) as meter,
        DomainWriter(draft, plan.event_columns) as writer,
        (draft / LEFT_OUT).open("w", encoding="utf-8", newline="") as file,
    ):
        run = _Import(plan, writer, csv.writer(file, lineterminator="\n"))
        for source in plan.items:
            meter.begin(f"reading items: {source.table.name}")
            run.items(source, meter)
        for source, log in zip(plan.events, logs(plan.events, plan.event_columns), strict=True):
            meter.begin(f"reading interactions: {source.table.name}")
            run.events(source, log, meter)
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
            fields = record(dict(zip(roles, cells, strict=False)))
            for name, is_number, cell in zip(source.attributes, numeric, cells[len(roles) :], strict=True):
                fields[name] = values.attribute(cell, is_number)
            reason = self._item(fields)
            if reason:
                self._leave_out(source, line, reason)

    def _item(self, fields: dict[str, Any]) -> str:
        """Write an item; the reason if it is left out."""
        item_id = fields["item_id"]
        key = self.key(item_id) if self.key else item_id
        if key in self.ids:
            return REPEATED
        try:
            self.writer.item(fields)
        except ValueError as error:
            self.bad_ids.add(key)
            return str(error)
        self.ids[key] = item_id
        self.bad_ids.discard(key)
        self.counts.items += 1
        return ""

    def events(self, source: Source, log: Log, meter: Meter) -> None:
        """Write the interactions of a table and, if there is no catalogue, their items."""
        for line, cells in source.table.read(log.wanted, meter):
            try:
                if isinstance(cells, ValueError):
                    raise cells
                row = log.row(cells)
                if not self.plan.items and row[1] not in self.ids:
                    self._item(log.texts(cells))
                row[1] = self._known(row[1])
                self.writer.event(row)
            except ValueError as error:
                self._leave_out(source, line, str(error))
                continue
            self.counts.shown += log.is_shown(row)
            self.counts.interactions += not log.is_shown(row)
        self.counts.unread_ratings += log.unread_ratings

    def _known(self, item_id: str) -> str:
        """The id of the item that a log means. Raises ValueError if there is no such item."""
        key = self.key(item_id) if self.key else item_id
        if key not in self.ids:
            raise ValueError(BAD_ITEM if key in self.bad_ids else UNKNOWN)
        return self.ids[key]

    def _leave_out(self, source: Source, line: int, reason: str) -> None:
        self.counts.left_out[f"{source.table.name}: {reason}"] += 1
        self.left_out.writerow((source.table.name, line, reason))


def _nothing(plan: Plan, counts: Counts) -> str:
    what = "interaction" if counts.items else "item"
    reasons = (
        "; ".join(f"{count:,} x {reason}" for reason, count in counts.left_out.most_common(5)) or "the tables are empty"
    )
    used = ", ".join(f"{source.table.name} ({_columns(source)})" for source in (*plan.items, *plan.events))
    return f"no {what} is left: {reasons}. Read: {used}; other columns: --map FIELD=COLUMN"


def _columns(source: Source) -> str:
    return ", ".join(f"{role}={column}" for role, column in source.roles.items())
