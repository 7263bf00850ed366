"""Finds the table of items for a log and how their ids are joined, or takes the items from the log itself."""

from collections.abc import Callable, Sequence

from llmrec_jax.importers import roles as roles_lib
from llmrec_jax.importers.mapping import Mapped
from llmrec_jax.importers.names import by_name, folded
from llmrec_jax.importers.profile import all_ids, belongs_to, ids, overlap, profile
from llmrec_jax.importers.table import Source, Table

JOINS = 0.1  # share of the ids of the log that are in the catalogue, at least, for the two to belong together
KEYS: dict[str, Callable[[str], str]] = {  # what makes ids that are only written differently the same
    "leading zeros": lambda item_id: item_id.lstrip("0"),
    "upper and lower case": str.casefold,
}


def find(events: Source, tables: Sequence[Table], mapped: Mapped) -> tuple[Source, list[Source], str | None]:
    """The log with its item column, the tables of items, and the key of KEYS that joins them, if one is needed."""
    best: tuple[float, Source, str, str | None] | None = None
    for table in tables:
        given = mapped.of(table, roles_lib.ITEM_ROLES)
        fixed = given.get("item_id") or (table.roles or {}).get("item_id")
        for item_id in [fixed] if fixed else roles_lib.id_columns(table)[:6]:
            roles = roles_lib.of_items(table, item_id, given)
            if "title" not in roles or profile(table, item_id).distinct < 0.5:  # tags of items, not items
                continue
            for column in _item_columns(events, mapped):
                share, join = _shared(events.table, column, table, item_id)
                alike = folded(column) == folded(item_id) or by_name(item_id).role == "item_id"
                certain = table.kind == "items" or "title" in given
                if share < JOINS and not certain and not (alike and by_name(roles["title"]).role == "title"):
                    continue
                score = share + 0.2 * alike + 0.1 * by_name(column).strength + 0.3 * certain
                score += 0.5 * (by_name(roles["title"]).role == "title")
                if best is None or score > best[0]:
                    attributes = roles_lib.attributes(table, roles)
                    best = score, Source(table, roles, attributes), column, join
    if best is None:
        return events, [], None
    _, source, column, join = best
    same = [table for table in tables if table.columns == source.table.columns and table.kind == source.table.kind]
    free = {role: own for role, own in events.roles.items() if own != column or role == "item_id"}
    return events._replace(roles=free | {"item_id": column}), [source._replace(table=table) for table in same], join


def _item_columns(events: Source, mapped: Mapped) -> list[str]:
    """Columns of the log that may hold the ids of items, the likeliest first."""
    certain = events.table.roles or mapped.of(events.table, roles_lib.EVENT_ROLES)
    if "item_id" in certain:
        return [certain["item_id"]]
    return list(dict.fromkeys([events.roles["item_id"], *roles_lib.candidates(events.table, "item_id")]))


def _shared(log: Table, column: str, catalogue: Table, item_id: str) -> tuple[float, str | None]:
    """The share of the log's ids that the catalogue has, and how they differ if they do in writing."""
    share = overlap(log, column, catalogue, item_id)
    if share >= JOINS:
        return share, None
    for how, key in KEYS.items():
        mine, theirs = set(map(key, ids(log, column))), set(map(key, all_ids(catalogue, item_id)))
        if mine and len(mine & theirs) > 0.5 * len(mine):
            return len(mine & theirs) / len(mine), how
    return share, None


def of_log(sources: list[Source], mapped: Mapped) -> tuple[list[Source], list[str]]:
    """The log with the texts of items that it holds itself; without a title, the id stands for it."""
    first = sources[0]
    given = mapped.of(first.table, roles_lib.ITEM_ROLES)
    item_id = first.roles["item_id"]
    texts = roles_lib.of_items(first.table, item_id, {**given, "item_id": item_id})
    own = {
        role: column
        for role, column in texts.items()
        if role not in first.roles and column not in first.roles.values()
        and (role in given or first.table.kind == "events" or belongs_to(first.table, column, item_id, role == "title"))
    }  # fmt: skip
    if "title" not in own:
        note = (
            "no item titles: ids are used instead, so the texts are uninformative; name the table of products too, "
            "or the column with --map title=COLUMN"
        )
        own, notes = {}, [note]
    else:
        notes = [f"no table of items: their titles are those in {first.table.name}"]
    return [source._replace(roles={**source.roles, **own}) for source in sources], notes
