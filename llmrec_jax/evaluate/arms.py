"""The arms of a report: ways to rank a catalogue that every trained model has to beat.

An arm is a table of item vectors and a rule that turns histories into user vectors; a score is their dot product, so
the same exact ranking serves all arms. Nothing here is trained.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.data.features import half_whitening, unit_rows

DECAY, DECAYED_ITEMS = 0.65, 5


class Arm(NamedTuple):
    """A named ranking rule over the items of one domain (numbered within the domain)."""

    name: str
    items_ID: np.ndarray
    users: Callable[[Sequence[np.ndarray]], np.ndarray]  # histories (item numbers, oldest first) -> float32 [N, D]


def popularity(counts_I: np.ndarray) -> Arm:
    """Rank by the number of training events; the same list for everybody."""
    return Arm(
        "popularity",
        counts_I[:, None].astype(np.float32),
        lambda histories: np.ones((len(histories), 1), np.float32),
    )


def text_knn(features_IF: np.ndarray) -> Arm:
    """Cosine between the text vectors of an item and of the last item of the history."""
    vectors_IF = unit_rows(features_IF)
    return Arm("text_knn", vectors_IF, lambda histories: _decayed_mean(vectors_IF, histories, num_items=1))


def text_knn_decayed(features_IF: np.ndarray) -> Arm:
    """The same on half-whitened vectors, the user being the mean of the last 5 items weighted by 0.65^age."""
    vectors_IF = half_whitening(features_IF)(features_IF)
    return Arm("text_knn_decayed", vectors_IF, lambda histories: _decayed_mean(vectors_IF, histories, DECAYED_ITEMS))


def _decayed_mean(vectors_IF: np.ndarray, histories: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """Weighted mean of the last `num_items` vectors of each history, of length one; zero for an empty history."""
    total_NF = np.zeros((len(histories), vectors_IF.shape[1]), np.float32)
    for age in range(num_items):
        rows = [row for row, history in enumerate(histories) if len(history) > age]
        total_NF[rows] += DECAY**age * vectors_IF[[histories[row][-1 - age] for row in rows]]
    return unit_rows(total_NF)
