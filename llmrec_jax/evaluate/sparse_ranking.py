"""Exact ranks from sparse vectors, on the host (`ranking`: from dense vectors, on the devices).

Shape letters besides those of `types.py`: R users of a block, K columns of the dense part, V terms.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from llmrec_jax.evaluate.ranking import Ranks

SCORES = 2**24  # in memory at a time


class SparsePlusDense(NamedTuple):
    """Vectors of users or items in two parts, float64; a score is the sum of both parts' dot products."""

    sparse_NV: scipy.sparse.csr_matrix
    dense_NK: np.ndarray

    def combined(self, weights: Any) -> "SparsePlusDense":
        """Sums of rows, weighted by the rows of a sparse matrix."""
        return SparsePlusDense((weights @ self.sparse_NV).tocsr(), weights @ self.dense_NK)


def rank_sparse(
    users: SparsePlusDense, items: SparsePlusDense, target_N: np.ndarray, seen: Sequence[np.ndarray]
) -> Ranks:
    """`ranking.rank` for sparse users and items.

    Scores are summed in double precision and rounded to single, so that equal items tie.
    """
    num_users, num_items = len(target_N), items.sparse_NV.shape[0]
    items_VI, items_KI = items.sparse_NV.T.tocsr(), items.dense_NK.T
    higher_N, ties_N = np.zeros((2, num_users), np.int64)
    size = max(1, SCORES // num_items)
    for start in range(0, num_users, size):
        rows = slice(start, min(start + size, num_users))
        scores_RI = (users.sparse_NV[rows] @ items_VI).toarray()
        scores_RI += users.dense_NK[rows] @ items_KI
        scores_RI = scores_RI.astype(np.float32)
        users_R = np.arange(len(scores_RI))
        target_R1 = scores_RI[users_R, target_N[rows]][:, None].copy()
        for user, history in zip(users_R, seen[rows], strict=True):
            scores_RI[user, history] = -np.inf
        scores_RI[users_R, target_N[rows]] = -np.inf
        higher_N[rows] = np.count_nonzero(scores_RI > target_R1, axis=1)
        ties_N[rows] = np.count_nonzero(scores_RI == target_R1, axis=1)
    return Ranks(higher_N, ties_N)
