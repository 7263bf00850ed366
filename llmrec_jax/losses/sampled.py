"""Ranking losses over the target and a sample of the catalogue; see `ranking` for the others.

Pure functions with one value per row, float32 `[N]`. The negatives are the same for all rows, see `types.Negatives`.

Shape letters: those of `types`.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.losses.ranking import EXCLUDED, scores
from llmrec_jax.types import Array


def sampled_softmax(
    user_ND: Array,
    target_ND: Array,
    *,
    negatives_KD: Array,
    is_negative_NK: Array,
    log_q_K: Array,
    temperature: float,
) -> jax.Array:
    """Softmax cross entropy over the target and sampled negatives, with the logQ correction.

    A negative counts as `exp(s(u, i)) / q_i`, so the sum over the sample estimates that over the catalogue without bias
    (Bengio and Senecal, "Adaptive importance sampling to accelerate training of a neural probabilistic language model",
    2008). With all items as negatives it equals `softmax`.

    Args:
      user_ND: user vectors.
      target_ND: vector of each row's target.
      negatives_KD: item vectors of the sample.
      is_negative_NK: bool, False on items that are padding, or the row's own target.
      log_q_K: log probability that the sample contains the item; finite.
      temperature: divides the dot products.

    Returns:
      float32 `[N]`.
    """
    right_N, score_NK = _target_and_scores(user_ND, target_ND, negatives_KD, temperature)
    score_NK = jnp.where(is_negative_NK, score_NK - log_q_K[None], EXCLUDED)
    return jnp.logaddexp(right_N, jax.nn.logsumexp(score_NK, axis=1)) - right_N


def gbce(
    user_ND: Array,
    target_ND: Array,
    *,
    negatives_KD: Array,
    is_negative_NK: Array,
    log_q_K: Array,
    temperature: float,
    calibration: float,
) -> jax.Array:
    """Generalized binary cross entropy: `-beta log sigmoid(s+) - sum_k log(1 - sigmoid(s_k))`.

    With `alpha` the share of the catalogue that is sampled and `t` the calibration, `beta = alpha (t (1 - 1/alpha) +
    1/alpha)`. Plain binary cross entropy (`t = 0`) with few negatives overestimates the probability of the target.

    Two differences from the paper. It divides by the number of items; the sum has the size of the softmax losses, so
    that the weights of other terms keep their meaning. And each `s` is a score plus `log(beta / K)` with K negatives,
    the log odds at which equal scores are right: without it, training begins with many steps that only lower all
    scores, and may not recover from them.

    Source: Petrov and Macdonald, "gSASRec: Reducing overconfidence in sequential recommendation trained with negative
    sampling", RecSys 2023, arXiv:2308.07192.

    Args:
      user_ND: user vectors.
      target_ND: vector of each row's target.
      negatives_KD: item vectors of the sample.
      is_negative_NK: bool, False on items that are padding, or the row's own target.
      log_q_K: log probability that the sample contains the item; alpha is the mean probability of a row's negatives.
      temperature: divides the dot products.
      calibration: t, in [0, 1].

    Returns:
      float32 `[N]`.
    """
    right_N, score_NK = _target_and_scores(user_ND, target_ND, negatives_KD, temperature)
    size_N = is_negative_NK.sum(axis=1)
    alpha_N = jnp.where(is_negative_NK, jnp.exp(log_q_K)[None], 0).sum(axis=1) / jnp.maximum(size_N, 1)
    beta_N = calibration * (alpha_N - 1) + 1
    offset_N = jnp.log(jnp.maximum(beta_N, 1e-6) / jnp.maximum(size_N, 1))
    wrong_N = jnp.where(is_negative_NK, jax.nn.softplus(score_NK + offset_N[:, None]), 0).sum(axis=1)
    return beta_N * jax.nn.softplus(-right_N - offset_N) + wrong_N


def _target_and_scores(
    user_ND: Array, target_ND: Array, negatives_KD: Array, temperature: float
) -> tuple[jax.Array, jax.Array]:
    """The scores of the targets, float32 `[N]`, and of the negatives, float32 `[N, K]`."""
    user_ND, target_ND = (jnp.asarray(x, jnp.float32) for x in (user_ND, target_ND))
    return jnp.sum(user_ND * target_ND, axis=1) / temperature, scores(user_ND, negatives_KD, temperature)
