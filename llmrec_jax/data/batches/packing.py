"""Sequence packing: several histories per row, because most are far shorter than the longest.

Computes positions only; `pipeline` fills the rows. Histories are never split or truncated.

B histories   G groups: adjacent histories of equal length in a row
"""

from bisect import bisect_right

import numpy as np


def pack(lengths_B: np.ndarray, size: int) -> np.ndarray:
    """The start of each history in the flattened rows, int64 [B]; row r is `r * size` to `(r + 1) * size`.

    First-fit decreasing (Johnson 1973): each row repeatedly takes the longest history that still fits. Needs at most
    11/9 of the optimal number of rows plus one. The cost grows with the number of groups.

    Args:
      lengths_B: int, 1 to `size`.
      size: steps per row.
    """
    order = np.argsort(lengths_B, kind="stable")
    sizes, firsts, counts = (x.tolist() for x in np.unique(lengths_B[order], return_index=True, return_counts=True))
    groups = []
    row = -1
    while sizes:
        row, free = row + 1, size
        while (longest := bisect_right(sizes, free) - 1) >= 0:
            length, first = sizes[longest], firsts[longest]
            taken = min(counts[longest], free // length)
            groups.append((first, taken, length, (row + 1) * size - free))
            free -= taken * length
            firsts[longest] += taken
            counts[longest] -= taken
            if not counts[longest]:
                del sizes[longest], firsts[longest], counts[longest]
    first_G, taken_G, length_G, start_G = np.array(groups, np.int64).reshape(-1, 4).T
    number = np.arange(len(lengths_B)) - np.repeat(np.cumsum(taken_G) - taken_G, taken_G)  # within its group
    start_B = np.empty(len(lengths_B), np.int64)
    start_B[order[np.repeat(first_G, taken_G) + number]] = (
        np.repeat(start_G, taken_G) + np.repeat(length_G, taken_G) * number
    )
    return start_B
