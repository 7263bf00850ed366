"""L3AE: EASE whose weights are regularized towards those of a linear model of the item texts.

    C = I - P1 / diag(P1), P1 = (F F' + 10 I)^-1: EASE fitted to the text vectors F instead of events
    B minimizes |X - X B|^2 + 100 |B|^2 + 100 |B - C|^2, with a zero diagonal

Source: Moon, Park and Lee, "LLM-enhanced linear autoencoders for recommendation", CIKM 2025, arXiv:2508.13500. Here the
text vectors are half-whitened.

Shape letters: those of `types`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmrec_jax.baselines.counting import Ease
from llmrec_jax.baselines.history import decayed_means
from llmrec_jax.baselines.text import half_whitened
from llmrec_jax.predictor import ScorePredictor

TEXT_RIDGE = 10.0  # of C
PRIOR = 100.0  # weight of |B - C|^2; it is part of EASE's ridge, so the weight of |B|^2 is the rest


def l3ae(ease: Ease, features_IF: Any) -> ScorePredictor:
    """Scores by the weights B of the head of the file. An item without events is scored by its text.

    Woodbury's identity gives C = F T' off the diagonal, without an inverse of items x items. The inverse of EASE,
    P = (X'X + 200 I)^-1, is also that of B, which is `100 P C - P D` off the diagonal, with the diagonal matrix D that
    makes the diagonal of B zero. With `B_ease = -P / diag(P)` this is

        B = Q + B_ease (I + diag(Q)) off the diagonal, Q = 100 P F T', T = F (F'F + 10 I)^-1 / (10 diag(P1))

    So nothing but the weights of EASE, which are shared, has the size of items x items. The rest takes O(I^2 F) time
    and two I x F matrices of float32.

    Args:
      ease: fitted to the training events.
      features_IF: text vectors, an array or a SciPy sparse matrix; only the first principal components of the latter
        are used.

    Raises:
      ValueError: all text vectors are equal.
    """
    vectors_IF = half_whitened(features_IF)
    inverse_FF = np.linalg.inv(vectors_IF.T.astype(np.float64) @ vectors_IF + TEXT_RIDGE * np.eye(vectors_IF.shape[1]))
    to_IF = vectors_IF @ inverse_FF.astype(np.float32)
    to_IF /= 1 - np.sum(to_IF * vectors_IF, axis=1, keepdims=True)  # 10 diag(P1)
    from_IF = PRIOR * ease.inverse_diagonal_I[:, None] * vectors_IF
    from_IF -= ease.weights_II @ from_IF  # 100 P F, because P = (I - B_ease) diag(P)
    own_I = np.sum(from_IF * to_IF, axis=1)  # diag(Q)

    def scores(histories: Sequence[np.ndarray]) -> np.ndarray:
        means_NI = decayed_means(histories, len(own_I)).astype(np.float32)
        scores_NI = means_NI @ ease.weights_II
        scores_NI *= 1 + own_I
        scores_NI += (means_NI @ from_IF) @ to_IF.T
        own_NI = means_NI.multiply(own_I).tocoo()
        scores_NI[own_NI.row, own_NI.col] -= own_NI.data
        return scores_NI

    return ScorePredictor("l3ae", len(own_I), scores)
