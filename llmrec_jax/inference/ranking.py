"""The best items by score: exact top k, and maximal marginal relevance for diverse lists.

Shape letters besides those of `types.py`: J items of the shelf, C candidates.
"""

import numpy as np

POOL = 5  # candidates of a diverse list for each of its items, at least MIN_POOL
MIN_POOL = 100
BLOCK = 128  # items whose maximum is compared first


def best(scores_J: np.ndarray, allowed_J: np.ndarray, k: int) -> np.ndarray:
    """Positions of the `k` allowed items of the highest score, best first; the first of equals comes first."""
    masked_J = np.where(allowed_J, scores_J, -np.inf)
    blocks = len(scores_J) // BLOCK
    threshold = -np.inf
    if k <= blocks:  # at least k items reach the k-th largest of the blocks' maxima; few others do
        largest_B = masked_J[: blocks * BLOCK].reshape(blocks, BLOCK).max(axis=1)
        threshold = np.partition(largest_B, blocks - k)[blocks - k]
    candidates = np.flatnonzero(allowed_J & (masked_J >= threshold))
    return candidates[np.argsort(-scores_J[candidates], kind="stable")[:k]]


def diverse(
    scores_J: np.ndarray, allowed_J: np.ndarray, k: int, vectors_JD: np.ndarray, diversity: float
) -> np.ndarray:
    """Positions of `k` items by maximal marginal relevance (Carbonell and Goldstein 1998), in the order of choice.

    Each next item has the largest `(1 - diversity) * relevance - diversity * similarity`: relevance is the score,
    scaled to 0..1 over the best candidates, similarity the largest cosine to the items that are already chosen. With
    `diversity` 0 these are the best by score.
    """
    if not diversity:
        return best(scores_J, allowed_J, k)
    pool = best(scores_J, allowed_J, max(POOL * k, MIN_POOL))
    if len(pool) < 2:
        return pool
    scores_C = scores_J[pool].astype(np.float64)
    relevance_C = (scores_C - scores_C[-1]) / ((scores_C[0] - scores_C[-1]) or 1)
    vectors_CD = vectors_JD[pool]
    norm_C = np.linalg.norm(vectors_CD, axis=1)
    vectors_CD = vectors_CD / np.where(norm_C > 0, norm_C, 1)[:, None]
    nearest_C = np.zeros(len(pool))
    chosen: list[int] = []
    for _ in range(min(k, len(pool))):
        value_C = (1 - diversity) * relevance_C - diversity * nearest_C
        value_C[chosen] = -np.inf
        chosen.append(int(np.argmax(value_C)))
        nearest_C = np.maximum(nearest_C, vectors_CD @ vectors_CD[chosen[-1]])
    return pool[chosen]


def with_new(top: np.ndarray, scores_J: np.ndarray, new_J: np.ndarray, k: int, num_new: int) -> np.ndarray:
    """The list `top` with at least `num_new` items of `new_J`. The best that are missing come last, for others."""
    missing = num_new - int(new_J[top].sum())
    if missing <= 0:
        return top
    rest_J = new_J.copy()
    rest_J[top] = False
    added, known = best(scores_J, rest_J, missing), top[~new_J[top]]
    surplus = max(0, len(top) + len(added) - k)
    return np.concatenate([top[~np.isin(top, known[len(known) - surplus :])], added])
