"""Makes lists of shown items from the rows of a log. Only the clicks are events of histories.

Shape letters: E rows of `interactions.csv` in file order; Q lists; A items of the lists, end to end.
"""

import numpy as np

from llmrec_jax.data.domains.events import Events
from llmrec_jax.data.domains.settings import Order
from llmrec_jax.data.domains.times import PER_SECOND

NAMES = ("shown_users_Q", "shown_place_Q", "shown_offsets", "shown_items_A", "shown_clicked_A")  # of a prepared folder


def lists_of(shown: Events, events: Events, arrays: dict[str, np.ndarray], order: Order) -> dict[str, np.ndarray]:
    """The arrays of a prepared folder (`NAMES`).

    A list begins at its first row and belongs to the user of that row; one of a user without events is left out. An
    item that is in it twice counts once, as clicked if one of its rows is a click. Without an order, a list
    precedes all events, so that none has a history.

    Args:
      shown: all rows of the file.
      events: the rows that are events, before repeats are dropped.
      arrays: of these events, as prepared.
      order: of the domain.
    """
    assert shown.impressions_E is not None
    assert shown.shown_E is not None
    number = {user_id: user for user, user_id in enumerate(events.user_ids)}
    users_E = np.array([number.get(user_id, -1) for user_id in shown.user_ids])[shown.users_E]
    clock_E, clock_of_events = _clocks(shown, users_E, arrays, order)
    rows = np.flatnonzero((shown.impressions_E >= 0) & (users_E >= 0))
    rows = rows[np.lexsort((shown.shown_E[rows], shown.items_E[rows], shown.impressions_E[rows]))]
    first = np.ones(len(rows), bool)
    first[1:] = (np.diff(shown.impressions_E[rows]) != 0) | (np.diff(shown.items_E[rows]) != 0)
    rows = rows[first]  # a click, if one of the rows of the item in the list is one
    names, start = np.unique(shown.impressions_E[rows], return_index=True)
    sizes = np.diff([*start, len(rows)])
    clock_Q = np.minimum.reduceat(clock_E[rows], start) if len(rows) else np.zeros(0, np.int64)
    order_Q = np.lexsort((names, clock_Q, users_E[rows[start]]))
    users_Q, clock_Q, sizes_Q = users_E[rows[start]][order_Q], clock_Q[order_Q], sizes[order_Q]
    member_A = np.repeat(start[order_Q] - np.cumsum(sizes_Q) + sizes_Q, sizes_Q) + np.arange(len(rows))
    before = [
        np.searchsorted(clock_of_events[slice(*arrays["offsets"][user : user + 2])], clock)
        for user, clock in zip(users_Q, clock_Q, strict=True)
    ]
    return {
        "shown_users_Q": users_Q.astype(np.int32),
        "shown_place_Q": np.array(before, np.int64),
        "shown_offsets": np.concatenate([[0], np.cumsum(sizes_Q)]).astype(np.int64),
        "shown_items_A": shown.items_E[rows][member_A].astype(np.int32),
        "shown_clicked_A": ~shown.shown_E[rows][member_A],
    }


def _clocks(
    shown: Events, users_E: np.ndarray, arrays: dict[str, np.ndarray], order: Order
) -> tuple[np.ndarray, np.ndarray]:
    """When the rows and the prepared events took place: seconds, or the number of the row in the file."""
    if order == "timestamp":
        return shown.times_E // PER_SECOND, arrays["timestamps_E"]
    row_E = np.arange(len(users_E))
    if order == "none":
        return np.full_like(row_E, -1), np.zeros(len(arrays["items_E"]), np.int64)
    assert shown.shown_E is not None
    width = int(shown.items_E.max()) + 1
    kept = np.flatnonzero(~shown.shown_E)
    pairs, first = np.unique(users_E[kept] * width + shown.items_E[kept], return_index=True)
    users = np.repeat(np.arange(len(arrays["offsets"]) - 1), np.diff(arrays["offsets"]))
    return row_E, kept[first[np.searchsorted(pairs, users * width + arrays["items_E"])]]
