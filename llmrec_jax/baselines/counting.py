"""Baselines that count interactions: popularity, item k-NN and EASE.

In the last two, a user's score of an item is the weighted sum of its similarities to the last items of the history
(`decayed_means`). `l3ae` adds text to EASE.

Shape letters: those of `types`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse

from llmrec_jax.baselines.history import decayed_means
from llmrec_jax.baselines.sparse_ease import sparse_weights
from llmrec_jax.errors import UserError
from llmrec_jax.predictor import ScorePredictor, VectorPredictor

COUNTING = ("popularity", "item_knn", "ease", "sparse_ease", "l3ae")  # the names in the report
SHRINKAGE = 1.0  # of item k-NN: items with little evidence are less similar
RIDGE = 200.0  # of EASE
LARGEST_EASE = 20_000  # items; the inverse then takes 3 x 1.6 GB. For more, reports have `sparse_ease`, and no `l3ae`


def popularity(counts_I: np.ndarray) -> VectorPredictor:
    """Rank by the number of training events (with weights: their sum), the same for every user."""
    return VectorPredictor(
        "popularity",
        counts_I[:, None].astype(np.float32),
        lambda histories: np.ones((len(histories), 1), np.float32),
    )


def item_knn(events_NI: scipy.sparse.csr_matrix) -> ScorePredictor:
    """Shrunk co-occurrence: `K_ij = G_ij / (sqrt(m_i m_j) + 1)` with `G = X' diag(1 / sqrt(n_u)) X`, K_ii = 0.

    A user with n_u events gives each of them the weight 1 / sqrt(n_u), and `m` is the sum of the weights of an item:
    Deshpande and Karypis, https://doi.org/10.1145/963770.963776 (users with fewer events count more), plus shrinkage.
    Takes memory in proportion to the pairs of items that occur together, the square of the longest history at least.

    Args:
      events_NI: 1 where a user has an item, from training events only.

    Raises:
      ValueError: no user has two items.
    """
    _check_pairs(events_NI)
    weight_N = 1 / np.sqrt(np.maximum(np.asarray(events_NI.sum(axis=1)).ravel(), 1))
    weighted_NI = scipy.sparse.diags(weight_N) @ events_NI
    together = (events_NI.T @ weighted_NI).tocoo()
    mass_I = np.asarray(weighted_NI.sum(axis=0)).ravel()
    other = together.row != together.col
    row, col = together.row[other], together.col[other]
    similar = together.data[other] / (np.sqrt(mass_I[row] * mass_I[col]) + SHRINKAGE)
    return _scored("item_knn", scipy.sparse.csr_matrix((similar, (row, col)), shape=together.shape))


class Ease(NamedTuple):
    """A fitted EASE."""

    weights_II: np.ndarray  # B, float32
    inverse_diagonal_I: np.ndarray  # of P, float32: P_ij = -B_ij P_jj off the diagonal


def fit_ease(events_NI: scipy.sparse.csr_matrix) -> Ease:
    """The linear model `X ~ X B` with a zero diagonal, in closed form: `B = I - P / diag(P)`, `P = (X'X + 200 I)^-1`.

    Steck, https://arxiv.org/abs/1905.03375. Takes O(I^3) time and three I x I matrices of float32.

    Raises:
      ValueError: no user has two items, or there are more than `LARGEST_EASE` items.
    """
    _check_pairs(events_NI)
    num_items = events_NI.shape[1]
    if num_items > LARGEST_EASE:
        raise UserError(f"EASE is fitted for at most {LARGEST_EASE:,} items, because it inverts an items x items "
                        f"matrix; there are {num_items:,}")  # fmt: skip
    gram_II = (events_NI.T @ events_NI).toarray().astype(np.float32)
    gram_II[np.diag_indices(num_items)] += RIDGE
    factor_II, _ = scipy.linalg.lapack.spotrf(gram_II.T, lower=True, overwrite_a=True)
    inverse_II, _ = scipy.linalg.lapack.spotri(factor_II, lower=True, overwrite_c=True)
    weights_II = np.tril(inverse_II)
    weights_II += np.tril(inverse_II, -1).T
    inverse_diagonal_I = np.diag(weights_II).copy()
    weights_II /= -inverse_diagonal_I
    weights_II[np.diag_indices(num_items)] = 0
    return Ease(weights_II, inverse_diagonal_I)


def ease(fitted: Ease) -> ScorePredictor:
    """Scores by the weights of `fit_ease`."""
    return _scored("ease", fitted.weights_II)


def sparse_ease(events_NI: scipy.sparse.csr_matrix) -> ScorePredictor:
    """EASE with weights between near items only, for large catalogues: see `sparse_ease.sparse_weights`.

    Raises:
      ValueError: no user has two items.
    """
    _check_pairs(events_NI)
    return _scored("sparse_ease", sparse_weights(events_NI, RIDGE))


def _check_pairs(events_NI: scipy.sparse.csr_matrix) -> None:
    if events_NI.nnz == 0 or np.diff(events_NI.indptr).max() < 2:
        raise UserError("no user has two training events, so no two items occur together")


def _scored(name: str, similarity_II: np.ndarray | scipy.sparse.csr_matrix) -> ScorePredictor:
    def scores(histories: Sequence[np.ndarray]) -> np.ndarray:
        # In one dtype: SciPy would copy a dense matrix of another.
        scores_NI = decayed_means(histories, similarity_II.shape[0]).astype(similarity_II.dtype) @ similarity_II
        return scores_NI.toarray() if scipy.sparse.issparse(scores_NI) else scores_NI

    return ScorePredictor(name, similarity_II.shape[0], scores)
