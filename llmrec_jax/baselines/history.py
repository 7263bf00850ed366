"""The weighted mean over the last items of a history, as the baselines use it; newer items have larger weights."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse

DECAY, DECAYED_ITEMS = 0.65, 5  # the last 5 items, weighted by 0.65^age


def decayed_weights(
    histories: Sequence[np.ndarray], num_all: int, num_items: int = DECAYED_ITEMS, decay: float = DECAY
) -> scipy.sparse.csr_matrix:
    """Users x items, float64: decay^age of each of the last `num_items` items; an empty row for an empty history."""
    recent = [history[: -num_items - 1 : -1] for history in histories]
    lengths_N = np.array([len(items) for items in recent], np.int64)
    ends_N = np.concatenate([[0], np.cumsum(lengths_N)])
    age = np.arange(ends_N[-1]) - np.repeat(ends_N[:-1], lengths_N)
    items = np.concatenate([np.zeros(0, np.int64), *recent])
    return scipy.sparse.csr_matrix((decay**age, items, ends_N), shape=(len(histories), num_all))


def decayed_means(histories: Sequence[np.ndarray], num_all: int) -> scipy.sparse.csr_matrix:
    """Users x items, float64: the weights of the last 5 items, each row normalized to sum to 1."""
    weights_NI = decayed_weights(histories, num_all)
    total_N = np.asarray(weights_NI.sum(axis=1)).ravel()
    return (scipy.sparse.diags(1 / np.where(total_N, total_N, 1)) @ weights_NI).tocsr()
