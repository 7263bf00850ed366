"""Exact ranks from scores computed on the host, in blocks of users (`ranking`: from vectors, on the devices).

Shape letters besides those of `types.py`: R users of a block.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from llmrec_jax.blend.answer import Blend, mix
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.ranking import Ranks
from llmrec_jax.predictor import MatrixPredictor, Predictor, ScorePredictor, VectorPredictor

SCORES = 2**24  # in memory at a time, for a blend times its number of parts


def score_blocks(
    predictor: Predictor, histories: Sequence[np.ndarray], users_N: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """The scores of all items by any predictor, in blocks of users: the rows, and float32 [R, I] to be overwritten.

    `users_N` are the users' numbers, the rows of a matrix. Raises ValueError if scores do not have the shape [R, I].
    """
    if isinstance(predictor, VectorPredictor):
        num_items = len(predictor.items_ID)
    else:
        num_items = predictor.num_items if isinstance(predictor, ScorePredictor) else predictor.scores_NI.shape[1]
    for rows in _blocks(len(histories), num_items):
        block = histories[rows]
        if isinstance(predictor, MatrixPredictor):
            scores_RI = predictor.scores_NI[users_N[rows]]
        elif isinstance(predictor, VectorPredictor):
            scores_RI = predictor.users(block) @ predictor.items_ID.T
        else:
            scores_RI = predictor.scores(block)
        scores_RI = np.array(scores_RI, np.float32)
        if scores_RI.shape != (expected := (len(block), num_items)):
            raise UserError(f"{predictor.name}: scores of shape {scores_RI.shape} for {len(block)} histories and "
                            f"{num_items} items; expected {expected}")  # fmt: skip
        yield rows, scores_RI


def rank_scores(
    predictor: ScorePredictor | MatrixPredictor,
    histories: Sequence[np.ndarray],
    target_N: np.ndarray,
    users_N: np.ndarray | None = None,
) -> Ranks:
    """`ranking.rank` by scores: each user's target among all items except the history. A matrix needs `users_N`.

    Scores are rounded to float32, so that equal items tie.

    Raises:
      FloatingPointError: a score is NaN.
      ValueError: the scores do not have the shape [R, I].
    """
    users_N = np.arange(len(target_N)) if users_N is None else users_N
    return _joined(
        [
            _count(predictor.name, scores_RI, histories[rows], target_N[rows])
            for rows, scores_RI in score_blocks(predictor, histories, users_N)
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
        scores_RI[user, history] = np.nan  # neither higher than the target nor equal, also where this is -inf
    scores_RI[users_R, target_R] = np.nan
    return Ranks(
        np.count_nonzero(scores_RI > target_R1, axis=1).astype(np.int64),
        np.count_nonzero(scores_RI == target_R1, axis=1).astype(np.int64),
    )


def _joined(blocks: Sequence[Ranks]) -> Ranks:
    if not blocks:
        return Ranks(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return Ranks(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
