"""last.fm: the 360K and 1K data sets (tab-separated, without headers) and that of HetRec 2011 (with headers).

How often a user played an artist is the rating. 360K and HetRec have no times, and their rows no order in time.
"""

import re
from collections.abc import Sequence

from llmrec_jax.importers.profile import profile
from llmrec_jax.importers.table import Cells, Table, derived, each, renamed

FORMAT = "last.fm"
SHA1 = re.compile(r"[0-9a-f]{40}")
PLAYS = ("user_id", "item_id", "title", "rating")
TRACKS = ("user_id", "timestamp", "item_id", "title", "brand")


def recognise(tables: Sequence[Table]) -> list[Table]:
    """Name the columns of last.fm's files."""
    return [table if table.format else _one(table) for table in tables]


def _one(table: Table) -> Table:
    if table.has_header:
        return _hetrec(table)
    if table.separator != "\t":
        return table
    users = [str(value) for value in table.values("1")]
    is_360k = sum(SHA1.fullmatch(user) is not None for user in users) > 0.9 * len(users)
    if is_360k and len(table.columns) == 4 and profile(table, "4").is_whole:
        roles = {name: name for name in PLAYS}
        return derived(
            table, PLAYS, each(_artist), table.columns, kind="events", format=FORMAT, order="none", roles=roles
        )
    if is_360k:
        return table.ignored("not needed")  # what is known of the users
    if len(table.columns) == 6 and profile(table, "2").times > 0.9 and not profile(table, "2").is_number:
        roles = {name: name for name in TRACKS}
        return derived(table, TRACKS, each(_track), table.columns, kind="events", format=FORMAT, roles=roles)
    return table


def _artist(cells: Cells) -> Cells:
    """An artist without an id of MusicBrainz gets the name as the id."""
    user, artist, name, plays = (str(cell).strip() for cell in cells)
    return user, artist or name.casefold(), name, plays


def _track(cells: Cells) -> Cells:
    """A track without an id of MusicBrainz gets artist and name as the id."""
    user, time, _, artist, track, name = (str(cell).strip() for cell in cells)
    return user, time, track or (f"{artist} - {name}".casefold() if name else ""), name, artist


def _hetrec(table: Table) -> Table:
    names = {"userID": "user_id", "artistID": "item_id", "weight": "rating"}
    if set(table.columns) == set(names):
        own = [names[column] for column in table.columns]
        return renamed(table, own, kind="events", format=FORMAT, order="none", roles={name: name for name in own})
    if {"id", "name", "pictureURL"} <= set(table.columns):
        return renamed(table, table.columns, kind="items", format=FORMAT, roles={"item_id": "id", "title": "name"})
    others = {"tagID", "tagValue", "friendID"} & set(table.columns)
    return table.ignored("not needed") if others and "movieID" not in table.columns else table
