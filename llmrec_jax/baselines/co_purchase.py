"""Rows of the channels that count events: which items follow one another, and popularity at the ends of histories.

Both are shrunk: pairs that were seen once hardly count, and unseen items score 0.

Fitting takes time and memory in proportion to the events, not to the items, however long the histories are. On one
core, 150,000 events of 22,363 users take 0.6 s and 80 MB at the peak (1.3 million pairs of items), 290,000 events of
2,672 users 1.6 s and 350 MB (5.5 million; without order 4.1 s, 620 MB and 9.8 million), a million random events over
200,000 items 3.1 s and 590 MB (9.7 million).

Shape letters besides those of `types.py`: E events.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse

from llmrec_jax.baselines.readers import ConstantReader, PairReader, Rows

EVIDENCE = 1.0  # pairs: a pair seen C times counts C^2 / (C + EVIDENCE), one seen once half
PRIOR = 10.0  # events added to each item's: rare items need more than one common user to be similar
RECENCY = 0.8  # popularity: the weight of an event by its position from the end of the history


class PairRule(NamedTuple):
    """How much two events of a history count as a pair: `decay^(distance - 1)`, times `backward` in reverse order."""

    window: int  # the largest distance
    decay: float
    backward: float


IN_ORDER = PairRule(window=20, decay=0.85, backward=0.6)
WITHOUT_ORDER = PairRule(window=50, decay=1.0, backward=1.0)


def co_purchase_rows(items_E: np.ndarray, users_E: np.ndarray, num_items: int, rule: PairRule) -> Rows:
    """Shrunk, directed co-occurrence: `K_ij = [C_ij^2 / (C_ij + 1)] / sqrt((n_i + 10) (n_j + 10))`, K_ii = 0.

    C_ij is the weight of the pairs in which j comes after i, plus those in reverse order (`PairRule`); n_i is the
    number of events of i. Only the items themselves are scored: `as_item_IV` is the identity.

    Args:
      items_E: item numbers, users end to end, each user's oldest first.
      users_E: the user of each event.
      num_items: number of items, I.
      rule: which pairs count.
    """
    forward_II = _pairs(items_E, users_E, num_items, rule)
    pairs = (forward_II + rule.backward * forward_II.T).tocoo()
    other = (pairs.row != pairs.col) & (pairs.data > 0)
    row, col, weight = pairs.row[other], pairs.col[other], pairs.data[other]
    size_I = np.bincount(items_E, minlength=num_items) + PRIOR
    similar = weight**2 / (weight + EVIDENCE) / np.sqrt(size_I[row] * size_I[col])
    similar_II = scipy.sparse.csr_matrix((similar.astype(np.float32), (row, col)), shape=pairs.shape)
    return Rows(similar_II, None, PairReader())


def popularity_rows(items_E: np.ndarray, users_E: np.ndarray, num_items: int, recency: float = RECENCY) -> Rows:
    """`ln(1 + n_i)` for every history, where an event counts `recency^(events after it in the same history)`.

    Where histories have no times in common, this is the recent popularity: histories end late.
    """
    last_E = np.searchsorted(users_E, users_E, side="right") - 1
    weight_E = recency ** (last_E - np.arange(len(users_E)))
    popular_I = np.log1p(np.bincount(items_E, weight_E, minlength=num_items)).astype(np.float32)
    return Rows(np.ones((num_items, 1), np.float32), popular_I[:, None], ConstantReader())


def _pairs(items_E: np.ndarray, users_E: np.ndarray, num_items: int, rule: PairRule) -> scipy.sparse.csr_matrix:
    """The weight of the pairs (i, j) in which j comes after i, float64 [I, I]."""
    total_II = scipy.sparse.csr_matrix((num_items, num_items), dtype=np.float64)
    for first, second, weight in _blocks(items_E, users_E, rule):
        shape = num_items, num_items
        total_II = total_II + scipy.sparse.csr_matrix((weight, (first, second)), shape=shape)
    return total_II


def _blocks(
    items_E: np.ndarray, users_E: np.ndarray, rule: PairRule
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The pairs of each distance: earlier items, later items, weights."""
    for distance in range(1, min(rule.window, len(items_E) - 1) + 1):
        same = users_E[distance:] == users_E[:-distance]
        first, second = items_E[:-distance][same], items_E[distance:][same]
        if not len(first):
            return
        yield first, second, np.full(len(first), rule.decay ** (distance - 1))
