"""Item vectors and biases counted from histories, with which a trained model starts (`model.start`).

Shape letters besides those of `types.py`: E events, J components.
"""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import eigsh

from llmrec_jax.baselines.co_purchase import IN_ORDER, WITHOUT_ORDER, co_purchase_rows

# Beside text vectors of length one and cosines; chosen on validation events of one shop.
SCALE = 8.0
POPULARITY = 0.06
LARGEST_DENSE = 1000  # items; beyond, a sparse solver that finds only the leading components


def co_purchase_vectors(
    items_E: np.ndarray, users_E: np.ndarray, num_items: int, width: int, *, is_ordered: bool = True
) -> np.ndarray:
    """The leading eigenvectors of the co-purchase, times `SCALE` and the root of their eigenvalues, float32 [I, D].

    So the dot products of items are `SCALE^2` times the best approximation of rank D to a symmetric
    `co_purchase_rows`. Items with little evidence get short vectors, those without pairs zeros.

    Args:
      items_E: item numbers, users end to end, each user's oldest first.
      users_E: the user of each event.
      num_items: number of items, I.
      width: D.
      is_ordered: whether the order of a user's events means anything.
    """
    pairs_II = co_purchase_rows(items_E, users_E, num_items, IN_ORDER if is_ordered else WITHOUT_ORDER).as_history_IV
    assert scipy.sparse.issparse(pairs_II)
    similar_II = ((pairs_II + pairs_II.T) / 2).astype(np.float64)
    vectors_ID = np.zeros((num_items, width), np.float32)
    if not similar_II.nnz:
        return vectors_ID
    if num_items <= max(LARGEST_DENSE, 2 * width):
        values_J, leading_IJ = np.linalg.eigh(similar_II.toarray())
    else:
        start_I = np.random.default_rng(0).standard_normal(num_items)  # ARPACK's own differs from call to call
        values_J, leading_IJ = eigsh(similar_II, k=width, which="LA", v0=start_I, tol=1e-3)
    best_J = np.argsort(-values_J, kind="stable")[:width]
    vectors_ID[:, : len(best_J)] = SCALE * leading_IJ[:, best_J] * np.sqrt(np.maximum(values_J[best_J], 0))
    return vectors_ID


def popularity_biases(items_E: np.ndarray, num_items: int) -> np.ndarray:
    """`POPULARITY * ln(1 + n_i)`, where n_i is the number of events of an item, float32 [I]."""
    return (POPULARITY * np.log1p(np.bincount(items_E, minlength=num_items))).astype(np.float32)
