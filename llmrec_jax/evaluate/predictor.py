"""Predictors, which a report ranks: by vectors, scored on the devices, or by scores, computed on the host."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.sparse

DECAY, DECAYED_ITEMS = 0.65, 5  # how the baselines weigh a history: its last 5 items by 0.65^age


class VectorPredictor(NamedTuple):
    """A table of item vectors and a function from histories to user vectors; a score is their dot product."""

    name: str
    items_ID: np.ndarray  # float32, of the items of one domain
    users: Callable[[Sequence[np.ndarray]], np.ndarray]  # histories (item numbers, oldest first) -> float32 [N, D]


class ScorePredictor(NamedTuple):
    """A function from histories to the scores of all items of one domain, called with a block of users at a time."""

    name: str
    num_items: int
    scores: Callable[[Sequence[np.ndarray]], np.ndarray]  # histories (item numbers, oldest first) -> [N, I]


Predictor: TypeAlias = VectorPredictor | ScorePredictor


def decayed_weights(
    histories: Sequence[np.ndarray], num_all: int, num_items: int = DECAYED_ITEMS
) -> scipy.sparse.csr_matrix:
    """Users x items, float64: 0.65^age of each of the last `num_items` items; an empty row for an empty history."""
    recent = [history[: -num_items - 1 : -1] for history in histories]
    lengths_N = np.array([len(items) for items in recent], np.int64)
    ends_N = np.concatenate([[0], np.cumsum(lengths_N)])
    age = np.arange(ends_N[-1]) - np.repeat(ends_N[:-1], lengths_N)
    items = np.concatenate([np.zeros(0, np.int64), *recent])
    return scipy.sparse.csr_matrix((DECAY**age, items, ends_N), shape=(len(histories), num_all))
