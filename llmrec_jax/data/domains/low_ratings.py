"""The interactions that `data.min_rating` leaves out of the histories: a task that predicts ratings learns from them.

Shape letters: E events of a file in any order; A interactions left out, users end to end.
"""

import numpy as np

NAMES = ("low_items_A", "low_ratings_A", "low_place_A", "low_offsets")  # arrays of a prepared folder


def low_ratings(
    users_E: np.ndarray, items_E: np.ndarray, ratings_E: np.ndarray, low_E: np.ndarray, sorted_E: np.ndarray
) -> dict[str, np.ndarray]:
    """The interactions with a low rating, of users who have others, without pairs of user and item that are kept too.

    Args:
      users_E: numbers of the users.
      items_E: numbers of the items.
      ratings_E: ratings.
      low_E: whether the rating is too low.
      sorted_E: the order of the events: users end to end, each oldest first.

    Returns:
      `low_items_A` and `low_ratings_A`; `low_place_A`: how many of the user's kept interactions precede it;
      `low_offsets` [users + 1], of the users who have kept interactions, as `Domain.offsets`.
    """
    user, item, low = users_E[sorted_E].astype(np.int64), items_E[sorted_E], low_E[sorted_E]
    pair = user * (int(items_E.max(initial=0)) + 1) + item
    is_kept = np.zeros(len(pair), bool)
    is_kept[np.flatnonzero(~low)[np.unique(pair[~low], return_index=True)[1]]] = True
    is_left = np.zeros(len(pair), bool)
    is_left[np.flatnonzero(low)[np.unique(pair[low], return_index=True)[1]]] = True
    is_left &= ~np.isin(pair, pair[is_kept]) & np.isin(user, user[is_kept])
    before = np.cumsum(is_kept) - is_kept
    kept_users = np.unique(user[is_kept])
    number = np.searchsorted(kept_users, user[is_left])
    first = np.searchsorted(user[is_kept], kept_users)
    return {
        "low_items_A": item[is_left].astype(np.int32),
        "low_ratings_A": ratings_E[sorted_E][is_left].astype(np.float32),
        "low_place_A": (before[is_left] - first[number]).astype(np.int64),
        "low_offsets": np.searchsorted(number, np.arange(len(kept_users) + 1)).astype(np.int64),
    }
