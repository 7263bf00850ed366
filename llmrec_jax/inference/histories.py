"""Reads the histories of many users from a frame of events."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from llmrec_jax.data.domains.cells import identity, is_missing
from llmrec_jax.data.domains.frames import Frame, columns_of, time_of
from llmrec_jax.data.domains.settings import Settings
from llmrec_jax.data.domains.times import PER_SECOND, deviating
from llmrec_jax.errors import UserError

NEEDED, TIME = ("user_id", "item_id"), "timestamp"


class Histories(NamedTuple):
    """Histories by user, in the order in which the users first appear."""

    ids: Mapping[str, Sequence[str]]  # user id -> item ids, oldest first
    times: Sequence[Sequence[int]] | None  # of each user's events, in seconds; None: the frame has no times


def read_histories(events: Frame) -> Histories:
    """The histories in a frame with `user_id`, `item_id` and, optionally, `timestamp`; without it, rows are in order.

    Raises:
      ValueError: the frame lacks a column or cannot be read, or a cell is empty or no time; gives the row, from 0.
    """
    columns = columns_of(events, "events", NEEDED, (*NEEDED, TIME))
    users, items = (_ids(columns[name], name) for name in NEEDED)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, user in enumerate(users):
        rows[user].append(row)
    time_E = _seconds(columns[TIME]) if TIME in columns else None
    if time_E is not None:
        rows = {user: sorted(of_user, key=lambda row: time_E[row]) for user, of_user in rows.items()}
    ids = {user: [items[row] for row in of_user] for user, of_user in rows.items()}
    return Histories(ids, None if time_E is None else [[time_E[row] for row in of_user] for of_user in rows.values()])


def _ids(column: Sequence[Any], name: str) -> list[str]:
    ids = [identity(value) for value in column]
    if "" in ids:
        raise UserError(f"events, row {ids.index('')}: {name} is empty")
    return ids


def _seconds(column: Sequence[Any]) -> list[int]:
    """The times of a column, all in one unit."""
    kinds, seconds = [], []
    for row, value in enumerate(column):
        try:
            if is_missing(value):
                raise ValueError(f"{TIME} is empty; drop the row, or the column if the rows are in order")
            kind, nanoseconds = time_of(value)
        except (ValueError, TypeError) as error:
            raise UserError(f"events, row {row}: {error}") from None
        kinds.append(kind)
        seconds.append(nanoseconds // PER_SECOND)
    kind_E = np.array(kinds, np.int64)
    for row, reason in deviating(kind_E, int(np.bincount(kind_E, minlength=1).argmax()), Settings()).items():
        raise UserError(f"events, row {row}: {reason}")
    return seconds
