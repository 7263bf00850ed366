"""Makes the `Plan` of an import: which tables are the log and the catalogue, and the roles of their columns."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from llmrec_jax.errors import UserError
from llmrec_jax.importers import catalogue as catalogue_lib
from llmrec_jax.importers import roles as roles_lib
from llmrec_jax.importers.mapping import Mapped
from llmrec_jax.importers.names import by_name
from llmrec_jax.importers.profile import all_ids, overlap, profile
from llmrec_jax.importers.table import Source, Table


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an import reads."""

    events: list[Source]
    items: list[Source]  # empty: the items are those of the events
    ignored: list[Table]
    join: str | None = None  # a key of `catalogue.KEYS`: how the ids of log and catalogue differ
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def format(self) -> str:
        """The known formats of the tables, or "tables"."""
        known = dict.fromkeys(s.table.format for s in (*self.events, *self.items) if s.table.format)
        return " and ".join(known) or "tables"

    @property
    def event_columns(self) -> list[str]:
        """The columns of the log that the import writes."""
        return [role for role in roles_lib.EVENT_ROLES if any(role in source.roles for source in self.events)]


Ask = Callable[[str, Sequence[str]], str | None]  # a question and the choices -> the choice


def make(tables: Sequence[Table], mapped: Mapped, ask: Ask | None) -> Plan:
    """Choose the tables and the roles of their columns.

    If no log is recognised, calls `ask` for its columns. Raises `UserError` if there is still none.
    """
    usable = [table for table in tables if table.kind != "ignored"]
    mapped.check(usable)
    logs = _logs(usable, mapped) or _logs_by_values(usable, mapped) or _logs_by_asking(usable, mapped, ask)
    if not logs:
        raise UserError(unrecognised(tables))
    events = max(logs, key=_as_log)
    same = [source for source in logs if source.table.columns == events.table.columns]
    others = [table for table in usable if not any(table is source.table for source in same)]
    events, catalogue, join = catalogue_lib.find(events, [t for t in others if t.kind != "events"], mapped)
    same = [source._replace(roles=events.roles) for source in same]
    used = {id(source.table) for source in (*same, *catalogue)}
    ignored = [table for table in tables if id(table) not in used]
    notes = roles_lib.misfits(events.table, events.roles)
    notes += [f"the ids of the two tables differ in {join}: joined anyway"] if join else []
    if not catalogue:
        same, more = catalogue_lib.of_log(same, mapped)
        notes += more
    return Plan([_ordered(source) for source in same], [_ordered(source) for source in catalogue], ignored, join, notes)


def _ordered(source: Source) -> Source:
    """The source with its roles in the order in which they are written."""
    order = dict.fromkeys((*roles_lib.EVENT_ROLES, *roles_lib.ITEM_ROLES))
    return source._replace(roles={role: source.roles[role] for role in order if role in source.roles})


def _logs(tables: Sequence[Table], mapped: Mapped) -> list[Source]:
    """The tables with columns of users and of items, by name."""
    found = []
    for table in tables:
        if table.kind != "items":
            roles = roles_lib.of_events(table, mapped.of(table, roles_lib.EVENT_ROLES))
            if {"user_id", "item_id"} <= roles.keys():
                found.append(Source(table, roles))
    return found


def _logs_by_values(tables: Sequence[Table], mapped: Mapped) -> list[Source]:
    """Logs found by values.

    A column repeats the unique ids of another table, or names tell only one of the user and the item.
    """
    found = [source for table in tables if (source := _by_elimination(table, mapped))]
    for log, catalogue in itertools.permutations(tables, 2):
        if log.kind == "items" or catalogue.kind == "events":
            continue
        given = mapped.of(log, roles_lib.EVENT_ROLES)
        named = roles_lib.of_events(log, given)
        item = named.get("item_id") or _joined(log, catalogue)
        if item and profile(log, item).distinct < 1.0:
            roles = roles_lib.by_values(log, item) | named
            if "user_id" in roles and len(set(roles.values())) == len(roles):
                found.append(Source(log, roles))
    return found


def _by_elimination(table: Table, mapped: Mapped) -> Source | None:
    """A log of which names tell only the user or only the item, if a single column can be the other."""
    roles = roles_lib.of_events(table, mapped.of(table, roles_lib.EVENT_ROLES))
    missing = {"user_id", "item_id"} - roles.keys()
    if table.kind == "items" or len(missing) != 1:
        return None
    if "item_id" in roles and profile(table, roles["item_id"]).distinct == 1.0:
        return None  # a catalogue
    left = [column for column in table.columns if by_name(column).role in ("", "title")]
    left = [column for column in left if column not in roles.values() and roles_lib.may_repeat(table, column)]
    return Source(table, roles | {missing.pop(): left[0]}) if len(left) == 1 else None


def _joined(log: Table, catalogue: Table) -> str | None:
    """The column of `log` that repeats the unique ids of a column of `catalogue`."""
    best, share = None, 0.5
    for column in log.columns:
        own = profile(log, column)
        if not own.may_be_id or own.is_counter or own.num_distinct < 2 or own.distinct > 0.95:
            continue
        for other in roles_lib.id_columns(catalogue)[:4]:
            used = own.num_distinct / max(1, len(all_ids(catalogue, other)))  # else any small numbers would do
            found = overlap(log, column, catalogue, other) * (0.5 + used)
            if found > share and profile(catalogue, other).distinct > 0.9:
                best, share = column, found
    return best


def _logs_by_asking(tables: Sequence[Table], mapped: Mapped, ask: Ask | None) -> list[Source]:
    """Ask for the columns of users and items of the largest table."""
    logs = [table for table in tables if table.kind != "items"]
    if ask is None or not logs:
        return []
    table = max(logs, key=lambda table: table.size)
    roles = roles_lib.of_events(table, mapped.of(table, roles_lib.EVENT_ROLES))
    for role, what in (("user_id", "the user"), ("item_id", "the item")):
        if role not in roles:
            free = [column for column in table.columns if column not in roles.values()]
            choice = ask(f"{table.name}: which column holds {what}?", free)
            if choice is None:
                return []
            roles[role] = choice
    return [Source(table, roles)]


def _as_log(source: Source) -> tuple[float, int]:
    """How much a table looks like a log; ties go to the larger."""
    table, roles = source.table, source.roles
    repeats = profile(table, roles["item_id"]).distinct < 0.95 or len(table.sample) < roles_lib.MANY
    certain = by_name(roles["user_id"]).strength + by_name(roles["item_id"]).strength
    has = ("rating" in roles) + ("timestamp" in roles) + ("impression_id" in roles)
    return (10 * (table.kind == "events") + 2 * has + 2 * repeats + certain, table.size)


def unrecognised(tables: Sequence[Table]) -> str:
    """The message for files in which no log is found."""
    seen = "".join(f"\n  {t.name} ({t.syntax}): {t.note or roles_lib.described(t)}" for t in tables[:12])
    return (
        "no table with a column of users and one of items is recognised. Seen (column, first value):"
        f"{seen}\nsay which columns they are: --map user=COLUMN --map item=COLUMN, and for the table of items --map "
        "item=COLUMN --map title=COLUMN (a column without a name by its number, FILE:COLUMN if several files have it)"
    )
