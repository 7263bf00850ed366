"""Text k-NN: similarity of an item's text to the texts of the history (`sparse_text`: for sparse vectors, TF-IDF)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from llmrec_jax.baselines import sparse_text
from llmrec_jax.baselines.history import DECAY, DECAYED_ITEMS
from llmrec_jax.data.texts.whitening import half_whitening, l2_normalize
from llmrec_jax.errors import UserError
from llmrec_jax.predictor import Predictor, VectorPredictor


def text_knn(features_IF: Any) -> Predictor:
    """Cosine of the text vectors of an item and of the last item of the history.

    The vectors are an array, or a SciPy sparse matrix with L2-normalized rows. Raises ValueError if all are equal.
    """
    if scipy.sparse.issparse(features_IF):
        return sparse_text.text_knn(features_IF)
    _check_distinct(features_IF)
    vectors_IF = l2_normalize(features_IF)
    return VectorPredictor("text_knn", vectors_IF, lambda histories: _decayed_mean(vectors_IF, histories, num_items=1))


def text_knn_decayed(features_IF: Any) -> Predictor:
    """Cosine of an item and the mean of the last 5 items weighted by 0.65^age, on half-whitened vectors."""
    if scipy.sparse.issparse(features_IF):
        return sparse_text.text_knn_decayed(features_IF)
    vectors_IF = half_whitened(features_IF)
    return VectorPredictor(
        "text_knn_decayed", vectors_IF, lambda histories: _decayed_mean(vectors_IF, histories, DECAYED_ITEMS)
    )


def half_whitened(features_IF: Any) -> np.ndarray:
    """Half-whitened unit vectors, float32 [I, F]; of sparse vectors their first principal components.

    Raises ValueError if all vectors are equal.
    """
    if scipy.sparse.issparse(features_IF):
        return l2_normalize(sparse_text.half_whitened_components(features_IF))
    _check_distinct(features_IF)
    return half_whitening(features_IF)(features_IF)


def _check_distinct(features_IF: np.ndarray) -> None:
    if not np.ptp(features_IF, axis=0).any():
        raise UserError("all items have the same text vector")


def _decayed_mean(vectors_IF: np.ndarray, histories: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """L2-normalized weighted mean of the last `num_items` vectors of each history; zero for an empty history."""
    total_NF = np.zeros((len(histories), vectors_IF.shape[1]), np.float32)
    for age in range(num_items):
        rows = [row for row, history in enumerate(histories) if len(history) > age]
        total_NF[rows] += DECAY**age * vectors_IF[[histories[row][-1 - age] for row in rows]]
    return l2_normalize(total_NF)
