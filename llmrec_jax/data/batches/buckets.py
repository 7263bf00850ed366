"""Where buckets of texts by length end. Which item is in which, and how many a batch holds, is `pipeline.py`'s.

I items of the joint catalogue
"""

import numpy as np

NUM_BUCKETS = 5  # each costs a copy of the encoder in the compiled program, not of its layers
LENGTH_MULTIPLE = 8  # of tokens, what their ends are rounded up to


def bucket_lengths(tokens_I: np.ndarray, num_buckets: int = NUM_BUCKETS) -> tuple[int, ...]:
    """Where buckets of texts end so that the least padding is encoded: ascending, the last holds the longest text.

    The best of all choices among multiples of `LENGTH_MULTIPLE`, by dynamic programming over the number of buckets.
    """
    steps_I = -(-tokens_I // LENGTH_MULTIPLE)
    texts = np.concatenate([[0], np.cumsum(np.bincount(steps_I)[1:])])  # with at most so many steps
    step = np.arange(len(texts))
    # padded[i, j]: encoded where one bucket holds the texts of more than i and at most j steps.
    padded = np.where(step[:, None] < step, (texts[None] - texts[:, None]) * step, np.inf)
    best = np.where(step == 0, 0.0, np.inf)
    ends: list[list[tuple[int, ...]]] = [[()] * len(texts)]
    for _ in range(min(num_buckets, len(texts) - 1)):
        total = best[:, None] + padded
        ends.append([(*ends[-1][i], j * LENGTH_MULTIPLE) for j, i in enumerate(total.argmin(axis=0))])
        best = total.min(axis=0)
    found = np.minimum(ends[-1][-1], tokens_I.max())
    return tuple(found[np.unique(np.searchsorted(found, tokens_I))].tolist())  # those that hold a text
