"""Validators that compare the vectors of the domains, of users or of items: MMD and the proxy A-distance.

Pure functions; higher is better, so these are negative distances. Both are highest for a collapsed model, whose vectors
are all equal: choose by them only among models that rank well otherwise.

Shape letters: those of `evidence`.
"""

import numpy as np
import scipy.spatial.distance

from llmrec_jax.selection.domain_classifier import classify

LARGEST_SCALE, NUM_KERNELS = 4.0, 5  # bandwidths of 4, 2, 1, 1/2 and 1/4 medians, as in the adaptation loss `mk_mmd`


def negative_mmd(source_ND: np.ndarray, target_MD: np.ndarray) -> float:
    """Minus the squared maximum mean discrepancy with several Gaussian kernels (arXiv:1502.02791), unbiased.

    `2 mean_{i, j} k(s_i, t_j) - mean_{i != j} k(s_i, s_j) - mean_{i != j} k(t_i, t_j)`, above -2 and at most slightly
    above 0; its expectation is 0 for equal distributions. `k(x, y)` is the mean of `exp(-|x - y|^2 / (scale * m))` over
    the scales 1/4, 1/2, 1, 2 and 4, where `m` is the lower median of `|x - y|^2` over all pairs of rows of both sides,
    so that the scale of the vectors does not matter.

    >>> rng = np.random.default_rng(0)
    >>> rows_ND = rng.standard_normal((100, 2))
    >>> negative_mmd(rows_ND[:50], rows_ND[50:]) > negative_mmd(rows_ND[:50], rows_ND[50:] + 3)
    True
    """
    num_source, num_target = len(source_ND), len(target_MD)
    assert min(num_source, num_target) >= 2, "a distance needs two rows of each domain"
    rows_AD = np.concatenate([source_ND, target_MD]).astype(np.float64)
    squared = scipy.spatial.distance.pdist(rows_AD, "sqeuclidean")
    middle = (len(squared) - 1) // 2
    median = np.partition(squared, middle)[middle]
    if not median > 1e-12 * np.sum(rows_AD**2) / len(rows_AD):
        return 0.0  # most rows are equal
    kernel = np.exp(-squared / (LARGEST_SCALE * median))
    total = kernel.copy()
    for _ in range(NUM_KERNELS - 1):
        kernel *= kernel  # half the bandwidth
        total += kernel
    kernel_AA = scipy.spatial.distance.squareform(total / NUM_KERNELS)  # with zeros on the diagonal
    source, target = slice(0, num_source), slice(num_source, None)

    def within(side: slice, size: int) -> float:
        return float(kernel_AA[side, side].sum() / (size * (size - 1)))

    between = float(kernel_AA[source, target].mean())
    return 2 * between - within(source, num_source) - within(target, num_target)


def negative_a_distance(source_ND: np.ndarray, target_MD: np.ndarray, seed: int = 0) -> float:
    """Minus the proxy A-distance `2 (1 - 2 min(error, 1/2))`, in [-2, 0] (Ben-David et al., NIPS 2006).

    `error` is the held-out error of a small logistic regression that tells the domains apart (`domain_classifier`).

    >>> rng = np.random.default_rng(0)
    >>> rows_ND = rng.standard_normal((200, 2))
    >>> negative_a_distance(rows_ND, rows_ND + 9)
    -2.0
    """
    return -2.0 * (1.0 - 2.0 * min(classify(source_ND, target_MD, seed).error, 0.5))
