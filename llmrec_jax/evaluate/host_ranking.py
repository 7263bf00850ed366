"""Exact ranks from scores computed on the host, in blocks of users (`ranking`: from vectors, on the devices).

Shape letters besides those of `types.py`: R users of a block.
"""

from collections.abc import Sequence

import numpy as np

from llmrec_jax.blend.answer import Blend, mix
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.ranking import Ranks
from llmrec_jax.predictor import ScorePredictor

SCORES = 2**24  # in memory at a time, for a blend times its number of parts


def rank_scores(predictor: ScorePredictor, histories: Sequence[np.ndarray], target_N: np.ndarray) -> Ranks:
    """`ranking.rank` for a predictor by scores: each user's target among all items except the history.

    Scores are rounded to float32, so that equal items tie.

    Raises:
      FloatingPointError: a score is NaN.
      ValueError: the scores do not have the shape [R, I].
    """
    blocks = []
    for rows in _blocks(len(target_N), predictor.num_items):
        scores_RI = np.array(predictor.scores(histories[rows]), np.float32)
        expected = len(target_N[rows]), predictor.num_items
        if scores_RI.shape != expected:
            raise UserError(f"{predictor.name}: scores of shape {scores_RI.shape} for {expected[0]} histories and "
                            f"{expected[1]} items; expected {expected}")  # fmt: skip
        blocks.append(_count(predictor.name, scores_RI, histories[rows], target_N[rows]))
    return _joined(blocks)


def rank_matrix(
    name: str, scores_NI: np.ndarray, users_N: np.ndarray, histories: Sequence[np.ndarray], target_N: np.ndarray
) -> Ranks:
    """`rank_scores` for given scores; `users_N` are the rows of the ranked users."""
    blocks = _blocks(len(target_N), scores_NI.shape[1])
    return _joined(
        [
            _count(name, np.array(scores_NI[users_N[rows]], np.float32), histories[rows], target_N[rows])
            for rows in blocks
        ]
    )


def rank_blend(blend: Blend, histories: Sequence[np.ndarray], target_N: np.ndarray) -> dict[str, Ranks]:
    """`rank_scores` for the answer and what explains it (`Blend.mixtures`); the parts are scored once for all of them.

    Raises FloatingPointError if a score is NaN.
    """
    mixtures = blend.mixtures()
    found: dict[str, list[Ranks]] = {name: [] for name in mixtures}
    for rows in _blocks(len(target_N), blend.num_items):
        scores = blend.part_scores(histories[rows])
        for name, weights in mixtures.items():
            found[name].append(_count(name, mix(scores, weights), histories[rows], target_N[rows]))
    return {name: _joined(blocks) for name, blocks in found.items()}


def _blocks(num_rows: int, num_items: int) -> list[slice]:
    size = max(1, SCORES // num_items)
    return [slice(start, start + size) for start in range(0, num_rows, size)]


def _count(name: str, scores_RI: np.ndarray, histories: Sequence[np.ndarray], target_R: np.ndarray) -> Ranks:
    """The ranks of a block of users; overwrites the scores."""
    if np.isnan(scores_RI).any():
        raise FloatingPointError(f"{name}: {int(np.isnan(scores_RI).sum())} scores are NaN")
    users_R = np.arange(len(scores_RI))
    target_R1 = scores_RI[users_R, target_R][:, None].copy()
    for user, history in zip(users_R, histories, strict=True):
        scores_RI[user, history] = -np.inf
    scores_RI[users_R, target_R] = -np.inf
    return Ranks(
        np.count_nonzero(scores_RI > target_R1, axis=1).astype(np.int64),
        np.count_nonzero(scores_RI == target_R1, axis=1).astype(np.int64),
    )


def _joined(blocks: Sequence[Ranks]) -> Ranks:
    if not blocks:
        return Ranks(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return Ranks(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
