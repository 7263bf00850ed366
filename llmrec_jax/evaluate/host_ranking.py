"""Exact ranks from scores computed on the host, in blocks of users (`ranking`: from vectors, on the devices).

Shape letters besides those of `types.py`: R users of a block.
"""

from collections.abc import Sequence

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.ranking import Ranks
from llmrec_jax.predictor import ScorePredictor

SCORES = 2**24  # in memory at a time


def rank_scores(predictor: ScorePredictor, histories: Sequence[np.ndarray], target_N: np.ndarray) -> Ranks:
    """`ranking.rank` for a predictor by scores: each user's target among all items except the history.

    Scores are rounded to float32, so that equal items tie.

    Raises:
      FloatingPointError: a score is NaN.
      ValueError: the scores do not have the shape [R, I].
    """
    higher_N, ties_N = np.zeros((2, len(target_N)), np.int64)
    size = max(1, SCORES // predictor.num_items)
    for start in range(0, len(target_N), size):
        rows = slice(start, min(start + size, len(target_N)))
        scores_RI = np.array(predictor.scores(histories[rows]), np.float32)
        expected = rows.stop - rows.start, predictor.num_items
        if scores_RI.shape != expected:
            raise UserError(f"{predictor.name}: scores of shape {scores_RI.shape} for {expected[0]} histories and "
                            f"{expected[1]} items; expected {expected}")  # fmt: skip
        if np.isnan(scores_RI).any():
            raise FloatingPointError(f"{predictor.name}: {int(np.isnan(scores_RI).sum())} scores are NaN")
        users_R = np.arange(len(scores_RI))
        target_R1 = scores_RI[users_R, target_N[rows]][:, None].copy()
        for user, history in zip(users_R, histories[rows], strict=True):
            scores_RI[user, history] = -np.inf
        scores_RI[users_R, target_N[rows]] = -np.inf
        higher_N[rows] = np.count_nonzero(scores_RI > target_R1, axis=1)
        ties_N[rows] = np.count_nonzero(scores_RI == target_R1, axis=1)
    return Ranks(higher_N, ties_N)
