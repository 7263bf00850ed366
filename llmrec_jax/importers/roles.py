"""Assigns roles (user_id, title, ...) to the columns of one table, by their names and values."""

import re
from collections.abc import Mapping

from llmrec_jax.importers.names import KINDS, by_name, folded
from llmrec_jax.importers.profile import profile
from llmrec_jax.importers.table import UNNAMED, Table

EVENT_ROLES = ("user_id", "item_id", "rating", "timestamp", "weight", "action", "impression_id")
ITEM_ROLES = ("item_id", "title", "brand", "category", "description", "price")
TEXTS = ("title", "brand", "category", "description")
INDEX = re.compile(r"$|unnamed|index|level_0")  # names of columns that number the rows
MANY = 20  # rows from which shares in a sample say something
RATING_VALUES = 21  # different ratings, at most, if only values tell that they are ratings: 0, 0.5, ..., 10
Roles = Mapping[str, str]  # role -> column


def fits(table: Table, column: str, role: str) -> bool:
    """Whether the values of a column fit a role."""
    found = profile(table, column)
    if not found.filled:
        return role in ("rating", "brand", "category", "description")
    if role in ("user_id", "item_id"):
        return found.may_be_id and not (found.is_counter and len(table.sample) > 2 and by_name(column).strength < 0.8)
    if role == "timestamp":
        return found.times > 0.5 and found.filled > 0.5
    if role in ("rating", "weight"):
        return found.may_be_rating
    if role == "price":
        return not found.is_nested
    return role in ("category", "brand", "description") or not found.is_number or role in ("action", "impression_id")


def candidates(table: Table, role: str) -> list[str]:
    """Columns whose name and values fit a role, the likeliest first."""
    found = []
    for n, column in enumerate(table.columns):
        guess = by_name(column)
        if guess.role == role and fits(table, column, role):
            own = profile(table, column)
            finer = -own.num_distinct if role == "timestamp" else 0
            found.append((role in TEXTS and own.is_number, -guess.strength, finer, n, column))
    return [column for *_, column in sorted(found)]


def misfits(table: Table, roles: Roles) -> list[str]:
    """A line for each column whose name says that it holds times or ratings, but whose values do not."""
    found = []
    for role, what in (("timestamp", "times"), ("rating", "numbers")):
        named = [column for column in table.columns if by_name(column).role == role and column not in roles.values()]
        unfit = [column for column in named if profile(table, column).filled and not fits(table, column, role)]
        if role not in roles and unfit:
            found.append(f"{table.name}: {unfit[0]!r} is not read: too few of its values are {what}")
    return found


def of_events(table: Table, given: Roles) -> dict[str, str]:
    """Roles of the columns of a log, as far as the names tell; `given` are fixed."""
    roles = {role: column for role, column in (table.roles or {}).items() if role not in given}
    if table.roles is None:
        for role in EVENT_ROLES:
            free = [c for c in candidates(table, role) if c not in (*roles.values(), *given.values())]
            if free:
                roles[role] = free[0]
    roles |= given
    if not {"action", "impression_id"} <= roles.keys():
        roles = {role: column for role, column in roles.items() if role not in ("action", "impression_id")}
    return {role: column for role, column in roles.items() if column}


def of_items(table: Table, item_id: str | None, given: Roles) -> dict[str, str]:
    """Roles of the columns of a catalogue. `item_id` is its column of ids; `given` are fixed."""
    roles = {role: column for role, column in (table.roles or {}).items() if role not in given}
    if item_id:
        roles["item_id"] = item_id
    roles |= given
    if table.roles is None:
        for role in ITEM_ROLES[1:]:
            free = [c for c in candidates(table, role) if c not in roles.values()]
            if free and role not in roles:
                roles[role] = free[0]
        if "description" not in roles and (text := _text(table)):
            roles["description"] = text
        if "title" not in roles and (title := _title_by_values(table, roles) or roles.get("category")):
            roles = {role: column for role, column in roles.items() if column != title} | {"title": title}
    return {role: column for role, column in roles.items() if column}


def _text(table: Table) -> str | None:
    """A column of longer texts that has no better name than "text"."""
    return next((column for column in table.columns if folded(column) in ("text", "content", "body", "info")), None)


def _title_by_values(table: Table, roles: Roles) -> str | None:
    """A short description, or the text column whose values differ most and have most words."""
    description = roles.get("description")
    if description and profile(table, description).chars <= 100 and profile(table, description).num_distinct > 1:
        return description
    taken = {column for role, column in roles.items() if role in ("item_id", "price")}
    best, best_score = None, 0.4
    for column in table.columns:
        found = profile(table, column)
        is_link = by_name(column).role in ("link", "timestamp", "count", "user_id", "review")
        if column in taken or found.is_number or found.is_nested or is_link or found.times > 0.5:
            continue
        score = found.distinct * (0.5 + found.with_blank) * (2 <= found.chars <= 200)
        if score > best_score:
            best, best_score = column, score
    return best


def id_columns(table: Table) -> list[str]:
    """Columns of a catalogue that may hold the ids of its items, the likeliest first: in them, all values differ."""
    found = []
    for n, column in enumerate(table.columns):
        own, guess = profile(table, column), by_name(column)
        if not column or not own.may_be_id or own.filled < 0.5 or guess.role == "link":
            continue
        named = {"item_id": 1.0, "id": 0.9}.get(guess.role, 0.0)
        if own.distinct > 0.9 or named:
            found.append((-named, -guess.strength, own.is_counter and not named, n, column))
    return [column for *_, column in sorted(found)]


def attributes(table: Table, roles: Roles) -> list[str]:
    """The other columns of a catalogue that are kept as fields of the items: short texts and numbers."""
    if not (table.keep_attributes and table.has_header):
        return []
    taken = {column.casefold() for column in roles.values()}
    reserved = {"item_id", *TEXTS, "price"}
    kept: list[str] = []
    for column in table.columns:
        found, key = profile(table, column), column.strip().casefold()
        is_index = (found.is_counter and INDEX.match(folded(column))) or key.startswith("__index_level_")
        is_unnamed = not key or key.startswith(UNNAMED)
        if is_unnamed or is_index or key in taken or key in reserved or KINDS["link"].search(folded(column)):
            continue
        if found.filled and not found.is_nested and found.chars <= 200 and key not in map(str.casefold, kept):
            kept.append(column)
    return kept


def by_values(table: Table, item_id: str) -> dict[str, str]:
    """Roles of the columns of a log of which only the item column is known, from their values."""
    roles: dict[str, str] = {"item_id": item_id}
    left = [column for column in table.columns if column != item_id]
    timed = [column for column in left if profile(table, column).times > 0.95]
    if timed:
        roles["timestamp"] = max(timed, key=lambda column: profile(table, column).num_distinct)
    left = [column for column in left if column not in roles.values() and column not in timed]
    users = [column for column in left if may_repeat(table, column)]
    users = [column for column in users if not _may_be_rating(table, column)] or users
    if users:
        roles["user_id"] = users[0]
    rated = [column for column in left if column not in roles.values() and _may_be_rating(table, column)]
    if rated:
        roles["rating"] = rated[0]
    return roles


def may_repeat(table: Table, column: str) -> bool:
    """Whether a column may hold the users or the items of a log: ids of which some repeat."""
    found = profile(table, column)
    repeats = found.distinct < 1.0 or len(table.sample) < MANY
    return found.may_be_id and found.filled > 0.5 and repeats and not found.is_counter and found.num_distinct > 1


def _may_be_rating(table: Table, column: str) -> bool:
    found = profile(table, column)
    return found.is_number and 1 < found.num_distinct <= RATING_VALUES and -10 <= found.low <= found.high <= 100


def described(table: Table) -> str:
    """The columns of a table with the first value of each, for messages."""
    first = table.sample[0] if table.sample else [""] * len(table.columns)
    cells = [f"{column} ({str(cell)[:30]})" for column, cell in zip(table.columns, first, strict=True)]
    return ", ".join(cells[:12]) + (", ..." if len(cells) > 12 else "")
