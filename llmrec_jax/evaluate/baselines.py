"""The baselines of every report: popularity and text k-NN. Nothing here is trained.

A predictor is a table of item vectors and a function from histories to user vectors; a score is their dot product, so
the same exact ranking serves the baselines and the model.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.data.texts.whitening import half_whitening, l2_normalize

DECAY, DECAYED_ITEMS = 0.65, 5


class Predictor(NamedTuple):
    """A named ranking rule over the items of one domain (numbered within the domain)."""

    name: str
    items_ID: np.ndarray
    users: Callable[[Sequence[np.ndarray]], np.ndarray]  # histories (item numbers, oldest first) -> float32 [N, D]


def popularity(counts_I: np.ndarray) -> Predictor:
    """Rank by the number of training events; the same list for everybody."""
    return Predictor(
        "popularity",
        counts_I[:, None].astype(np.float32),
        lambda histories: np.ones((len(histories), 1), np.float32),
    )


def text_knn(features_IF: np.ndarray) -> Predictor:
    """Cosine between the text vectors of an item and of the last item of the history."""
    vectors_IF = l2_normalize(features_IF)
    return Predictor("text_knn", vectors_IF, lambda histories: _decayed_mean(vectors_IF, histories, num_items=1))


def text_knn_decayed(features_IF: np.ndarray) -> Predictor:
    """The same on half-whitened vectors, the user being the mean of the last 5 items weighted by 0.65^age."""
    vectors_IF = half_whitening(features_IF)(features_IF)
    return Predictor(
        "text_knn_decayed", vectors_IF, lambda histories: _decayed_mean(vectors_IF, histories, DECAYED_ITEMS)
    )


def _decayed_mean(vectors_IF: np.ndarray, histories: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """Weighted mean of the last `num_items` vectors of each history, of length one; zero for an empty history."""
    total_NF = np.zeros((len(histories), vectors_IF.shape[1]), np.float32)
    for age in range(num_items):
        rows = [row for row, history in enumerate(histories) if len(history) > age]
        total_NF[rows] += DECAY**age * vectors_IF[[histories[row][-1 - age] for row in rows]]
    return l2_normalize(total_NF)
