"""Sorts the interactions of users and drops repeats and low ratings: the arrays of a prepared folder.

The users may be all of a domain or any part of them.

Shape letters: E events of the domain, users end to end.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.data.domains.events import Events
from llmrec_jax.data.domains.impression_rows import lists_of
from llmrec_jax.data.domains.low_ratings import low_ratings
from llmrec_jax.data.domains.settings import Order
from llmrec_jax.data.domains.summary import Summary
from llmrec_jax.data.domains.times import NONE, PER_SECOND

ARRAYS = ("items_E", "ratings_E", "timestamps_E", "offsets")
WEIGHTS = ("weights_E", "first_weights_E")  # further arrays of a domain with weights


class Part(NamedTuple):
    """The prepared interactions of some users, or of all."""

    user_ids: list[str]
    arrays: dict[str, np.ndarray]  # ARRAYS, WEIGHTS if there are weights, and those of `low_ratings` and `impressions`
    summary: Summary


def arrange(item_ids: Sequence[str], rows: Events, order: Order, min_rating: float | None) -> Part:
    """Drop low ratings and repeats, and sort. The users keep their order; what is done to one depends on no other.

    Args:
      item_ids: Item number -> id.
      rows: All rows of these users, also of items that were only shown.
      order: Of the domain.
      min_rating: `data.min_rating`.
    """
    events = rows if rows.shown_E is None else rows.keep(~rows.shown_E)
    low_E = np.zeros(events.num_rows, bool) if min_rating is None else events.ratings_E < min_rating  # False if NaN
    kept = events.keep(~low_E)
    arrays, repeats = _sorted_without_repeats(item_ids, kept, order)
    if min_rating is not None:
        columns = events.users_E, events.items_E, events.ratings_E
        arrays |= low_ratings(*columns, low_E, _sorted(item_ids, events, order))
    if rows.shown_E is not None:
        arrays |= lists_of(rows, kept, arrays, order)
    return Part(kept.user_ids, arrays, Summary.of(events, kept, arrays, repeats))


def _sorted_without_repeats(item_ids: Sequence[str], events: Events, order: Order) -> tuple[dict[str, np.ndarray], int]:
    """Arrays of the events, grouped by user, sorted by `order`, without repeated items; and the number of repeats."""
    sorted_E = _sorted(item_ids, events, order)
    pair_E = events.users_E[sorted_E].astype(np.int64) * len(item_ids) + events.items_E[sorted_E]
    places = np.sort(np.unique(pair_E, return_index=True)[1])
    kept_E = sorted_E[places]
    counts = np.bincount(events.users_E[kept_E], minlength=len(events.user_ids))
    time_E = events.times_E[kept_E]
    arrays = {
        "items_E": events.items_E[kept_E],
        "ratings_E": events.ratings_E[kept_E],
        "timestamps_E": np.where(time_E == NONE, -1, time_E // PER_SECOND),
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    }
    if events.weights_E is not None:
        largest_E = _largest(pair_E, events.weights_E[sorted_E])
        arrays |= {"weights_E": largest_E[places], "first_weights_E": events.weights_E[kept_E]}
    return arrays, len(pair_E) - len(kept_E)


def _sorted(item_ids: Sequence[str], events: Events, order: Order) -> np.ndarray:
    """Indices [E] that sort the events by user, then by `order`."""
    ties_E = _event_hash(item_ids, events)
    keys = {  # np.lexsort is stable and sorts by the last key first
        "timestamp": (ties_E, events.times_E, events.users_E),
        "sequence": (events.users_E,),
        "none": (ties_E, events.users_E),
    }
    return np.lexsort(keys[order])


def _largest(pair_E: np.ndarray, weight_E: np.ndarray) -> np.ndarray:
    """The largest weight of all events with the same pair of user and item, float32 [E]."""
    _, number_E = np.unique(pair_E, return_inverse=True)
    largest = np.zeros(number_E.max(initial=-1) + 1, np.float32)
    np.maximum.at(largest, number_E, weight_E)
    return largest[number_E]


def _event_hash(item_ids: Sequence[str], events: Events) -> np.ndarray:
    """A uint64 hash of each event's (user_id, item_id), to break ties without leaking information about the items."""
    user_hashes = np.array([_hash64(user_id) for user_id in events.user_ids], np.uint64)
    item_hashes = np.array([_hash64(item_id) for item_id in item_ids], np.uint64)
    return _mix(_mix(user_hashes[events.users_E]) + item_hashes[events.items_E])


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
