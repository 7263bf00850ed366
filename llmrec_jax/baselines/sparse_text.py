"""The text k-NN baselines on sparse vectors (TF-IDF): without a dense matrix of items x terms.

Shape letters besides those of `types.py`: K principal components, V terms.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from llmrec_jax.baselines.history import DECAYED_ITEMS, decayed_weights
from llmrec_jax.errors import UserError
from llmrec_jax.predictor import ScorePredictor

COMPONENTS = 64  # principal components with individual scales; the others share one scale
EXTRA, ITERATIONS = 16, 4  # of the randomized decomposition


class SparsePlusDense(NamedTuple):
    """Vectors of users or items in two parts, float64; a score is the sum of both parts' dot products."""

    sparse_NV: scipy.sparse.csr_matrix
    dense_NK: np.ndarray


def text_knn(vectors_IV: scipy.sparse.csr_matrix) -> ScorePredictor:
    """Cosine of an item and the history's last item; rows are L2-normalized. Raises ValueError if all are equal."""
    _check_distinct(vectors_IV)
    items = SparsePlusDense(vectors_IV.astype(np.float64), np.zeros((vectors_IV.shape[0], 0)))
    return _scored("text_knn", items, items, num_last=1)


def text_knn_decayed(vectors_IV: scipy.sparse.csr_matrix) -> ScorePredictor:
    """Cosine with the mean of the last 5 items weighted by 0.65^age, on half-whitened vectors.

    Half-whitening subtracts the mean and scales principal component i, with singular value s_i, by s_i^-1/2. Here
    all components after the first K share the scale of component K, so that
    `score(x, y) = (x - mean) . (y - mean) - sum_i (1 - s_K / s_i) (v_i . (x - mean)) (v_i . (y - mean))`:
    a sparse product plus one of K + 2 dense columns. Raises ValueError if all vectors are equal.
    """
    _check_distinct(vectors_IV)
    vectors_IV = vectors_IV.astype(np.float64)
    mean_V = np.asarray(vectors_IV.mean(axis=0)).ravel()
    components_VK, sizes_K = _principal_components(vectors_IV, mean_V)
    # Row by row, so that equal rows give bitwise equal results.
    projected_IK = vectors_IV @ components_VK - mean_V @ components_VK
    gain_K = sizes_K[-1] / sizes_K - 1
    on_mean_I1, mean_square = (vectors_IV @ mean_V)[:, None], mean_V @ mean_V
    square_I = np.asarray(vectors_IV.multiply(vectors_IV).sum(axis=1)).ravel()
    square_I = square_I - 2 * on_mean_I1[:, 0] + mean_square + projected_IK**2 @ gain_K
    scale_I = np.where(square_I > 1e-9, np.maximum(square_I, 1e-9), np.inf) ** -0.5  # a row at the mean becomes zero
    ones_I1 = np.ones_like(on_mean_I1)
    sparse_IV = (scipy.sparse.diags(scale_I) @ vectors_IV).tocsr()
    as_item = np.hstack([projected_IK, on_mean_I1, ones_I1]) * scale_I[:, None]
    as_history = np.hstack([projected_IK * gain_K, -ones_I1, mean_square - on_mean_I1]) * scale_I[:, None]
    sides = SparsePlusDense(sparse_IV, as_history), SparsePlusDense(sparse_IV, as_item)
    return _scored("text_knn_decayed", *sides, num_last=DECAYED_ITEMS)


def half_whitened_components(vectors_IV: scipy.sparse.csr_matrix) -> np.ndarray:
    """The first principal components of each vector, scaled by s_i^-1/2, float64 [I, K].

    Raises ValueError if all vectors are equal.
    """
    _check_distinct(vectors_IV)
    vectors_IV = vectors_IV.astype(np.float64)
    mean_V = np.asarray(vectors_IV.mean(axis=0)).ravel()
    components_VK, sizes_K = _principal_components(vectors_IV, mean_V)
    return (vectors_IV @ components_VK - mean_V @ components_VK) / np.sqrt(sizes_K)


def _scored(name: str, as_history: SparsePlusDense, as_item: SparsePlusDense, num_last: int) -> ScorePredictor:
    """Users are sums of the vectors of their last items, weighted by age."""
    items_VI, items_KI = as_item.sparse_NV.T.tocsr(), as_item.dense_NK.T

    def scores(histories: Sequence[np.ndarray]) -> np.ndarray:
        weights_NI = decayed_weights(histories, items_VI.shape[1], num_last)
        scores_NI = (weights_NI @ as_history.sparse_NV @ items_VI).toarray()
        return scores_NI + (weights_NI @ as_history.dense_NK) @ items_KI

    return ScorePredictor(name, items_VI.shape[1], scores)


def _principal_components(vectors_IV: Any, mean_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions [V, K] and singular values [K] of the centred vectors, the largest first.

    Randomized subspace iteration (Halko, Martinsson, Tropp, https://arxiv.org/abs/0909.4061, algorithms 4.4 and 5.1).
    """

    def centred(x_VK: np.ndarray) -> np.ndarray:
        return vectors_IV @ x_VK - mean_V @ x_VK

    def transposed(x_IK: np.ndarray) -> np.ndarray:
        return vectors_IV.T @ x_IK - np.outer(mean_V, x_IK.sum(axis=0))

    size = min(COMPONENTS + EXTRA, *vectors_IV.shape)
    basis_VK = np.random.default_rng(0).standard_normal((vectors_IV.shape[1], size))
    for _ in range(ITERATIONS):
        basis_VK = _orthonormal(transposed(_orthonormal(centred(basis_VK))))
    found_VK = transposed(_orthonormal(centred(basis_VK)))
    squares_K, turn_KK = np.linalg.eigh(found_VK.T @ found_VK)
    kept = np.flatnonzero(squares_K > 1e-6 * squares_K[-1])[::-1][:COMPONENTS]
    sizes_K = np.sqrt(squares_K[kept])
    return found_VK @ turn_KK[:, kept] / sizes_K, sizes_K


def _orthonormal(x_NK: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns: by a small eigenproblem, which is faster on many threads than a tall QR."""
    squares_K, turn_KK = np.linalg.eigh(x_NK.T @ x_NK)
    kept = squares_K > 1e-10 * squares_K[-1]
    return x_NK @ (turn_KK[:, kept] / np.sqrt(squares_K[kept]))


def _check_distinct(vectors_IV: scipy.sparse.csr_matrix) -> None:
    if vectors_IV.shape[0] < 2 or not (vectors_IV.max(axis=0) - vectors_IV.min(axis=0)).count_nonzero():
        raise UserError("all items have the same text vector")
