"""k-means and adjusted mutual information, for ClassAMI.

Shape letters: those of `evidence`; R, C groups of two clusterings, P pairs of groups that share rows.
"""

import warnings

import numpy as np
import scipy.cluster.vq
import scipy.special

ITERATIONS = 20


def k_means(rows_MD: np.ndarray, num_clusters: int, seed: int = 0) -> np.ndarray:
    """The cluster of each row, int32 [M]: SciPy's k-means++ start and Lloyd's iterations. Clusters may stay empty."""
    distinct = len(np.unique(rows_MD, axis=0))
    if distinct == 1:
        return np.zeros(len(rows_MD), np.int32)
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        return scipy.cluster.vq.kmeans2(
            rows_MD, min(num_clusters, distinct), iter=ITERATIONS, minit="++", rng=rng
        )[1]  # fmt: skip


def adjusted_mutual_information(first_M: np.ndarray, second_M: np.ndarray) -> float:
    """Agreement of two clusterings beyond chance, at most 1: 1 if they are equal, about 0 if they are independent.

    `(MI - E[MI]) / ((H_1 + H_2) / 2 - E[MI])`, where the expectation is over clusterings with the same sizes (Vinh et
    al., JMLR 11:2837, 2010). 0 if either has a single cluster or both have as many as rows: nothing can be said then.

    Args:
      first_M: integer labels.
      second_M: integer labels.

    >>> round(adjusted_mutual_information(np.array([0, 0, 1, 1]), np.array([5, 5, 3, 3])), 6)
    1.0
    >>> adjusted_mutual_information(np.array([0, 0, 0, 0]), np.array([0, 1, 2, 3]))
    0.0
    """
    total = len(first_M)
    row_M, column_M = (np.unique(labels, return_inverse=True)[1] for labels in (first_M, second_M))
    size_R, size_C = np.bincount(row_M), np.bincount(column_M)
    if 1 in (len(size_R), len(size_C)) or len(size_R) == len(size_C) == total:
        return 0.0
    pairs, count_P = np.unique(np.stack([row_M, column_M]), axis=1, return_counts=True)
    information = float(np.sum(_terms(count_P, size_R[pairs[0]], size_C[pairs[1]], total)))
    expected = _expected_information(size_R, size_C, total)
    mean_entropy = sum(float(scipy.special.entr(size / total).sum()) for size in (size_R, size_C)) / 2
    return min(1.0, float((information - expected) / (mean_entropy - expected)))


def _terms(count: np.ndarray, first: np.ndarray, second: np.ndarray, total: int) -> np.ndarray:
    """The part of the mutual information of pairs of clusters of the sizes `first`, `second` that share `count`."""
    return count / total * (np.log(total) + np.log(count) - np.log(first) - np.log(second))


def _expected_information(size_R: np.ndarray, size_C: np.ndarray, total: int) -> float:
    """Expected mutual information: the number of rows that two clusters share is hypergeometrically distributed."""
    log_factorial = scipy.special.gammaln(np.arange(total + 1) + 1.0)
    sum_over_pairs = 0.0
    # Pairs of equal sizes have equal terms, and there are few sizes.
    for first, num_first in zip(*np.unique(size_R, return_counts=True), strict=True):
        for second, num_second in zip(*np.unique(size_C, return_counts=True), strict=True):
            count = np.arange(max(1, first + second - total), min(first, second) + 1)
            log_probability = (
                log_factorial[[first, second, total - first, total - second]].sum() - log_factorial[total]
                - log_factorial[count] - log_factorial[first - count] - log_factorial[second - count]
                - log_factorial[total - first - second + count]
            )  # fmt: skip
            terms = np.exp(log_probability) * _terms(count, first, second, total)
            sum_over_pairs += num_first * num_second * float(terms.sum())
    return sum_over_pairs
