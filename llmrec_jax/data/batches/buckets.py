"""The padded text lengths, one per bucket. `pipeline` assigns the items to buckets.

I items of the joint catalogue
"""

import numpy as np

NUM_BUCKETS = 5  # each adds a call of the encoder to the compiled program; its layers are scanned
LENGTH_MULTIPLE = 8  # bucket lengths are multiples of this, except that of the longest text


def bucket_lengths(tokens_I: np.ndarray, num_buckets: int = NUM_BUCKETS) -> tuple[int, ...]:
    """The bucket lengths that minimize padding, ascending; the last is the length of the longest text.

    Optimal among multiples of `LENGTH_MULTIPLE`, by dynamic programming over the number of buckets.
    """
    steps_I = -(-tokens_I // LENGTH_MULTIPLE)
    texts = np.concatenate([[0], np.cumsum(np.bincount(steps_I)[1:])])  # [j]: number of texts with at most j steps
    step = np.arange(len(texts))
    # padded[i, j]: steps encoded if one bucket has the texts with more than i and at most j steps.
    padded = np.where(step[:, None] < step, (texts[None] - texts[:, None]) * step, np.inf)
    best = np.where(step == 0, 0.0, np.inf)
    ends: list[list[tuple[int, ...]]] = [[()] * len(texts)]
    for _ in range(min(num_buckets, len(texts) - 1)):
        total = best[:, None] + padded
        ends.append([(*ends[-1][i], j * LENGTH_MULTIPLE) for j, i in enumerate(total.argmin(axis=0))])
        best = total.min(axis=0)
    found = np.minimum(ends[-1][-1], tokens_I.max())
    return tuple(found[np.unique(np.searchsorted(found, tokens_I))].tolist())  # without empty buckets
