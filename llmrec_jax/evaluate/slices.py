"""NDCG@10 by slice of users: by how often the test item was bought (0: a cold item), by the length of the history."""

from collections.abc import Mapping
from typing import Any

import numpy as np

SLICES = {
    "training events of the test item": ("target_events", (0, 1, 5, 20)),
    "items of the history": ("history_length", (1, 3, 6, 11)),
}


def slices(users: Mapping[str, np.ndarray], ndcg: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """For each of `SLICES`, the slices that hold users.

    Args:
      users: `target_events` and `history_length` of the users [N].
      ndcg: NDCG@10 of each user [N], by method.
    """
    found = []
    for name, (fact, edges) in SLICES.items():
        slice_N = np.searchsorted(edges, users[fact], side="right") - 1
        rows = []
        for number, (low, high) in enumerate(zip(edges, [*edges[1:], None], strict=True)):
            if (in_slice_N := slice_N == number).any():
                label = f"{low} or more" if high is None else str(low) if high == low + 1 else f"{low} to {high - 1}"
                means = {method: float(ndcg_N[in_slice_N].mean()) for method, ndcg_N in ndcg.items()}
                rows.append({"values": label, "users": int(in_slice_N.sum()), "ndcg@10": means})
        found.append({"by": name, "rows": rows})
    return found
