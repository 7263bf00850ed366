"""The losses of the auxiliary tasks: pure functions, one value per row.

Shape letters: those of `types`; G thresholds between neighbouring ratings; J items of a list.
"""

import jax
import jax.numpy as jnp
import optax

from llmrec_jax.losses.ranking import EXCLUDED
from llmrec_jax.types import Array


def squared_error(predicted_N: Array, rating_N: Array, scale_N: Array) -> jax.Array:
    """`((predicted - rating) / scale)^2`, float32 [N]; 1 for a prediction that is off by one standard deviation.

    >>> squared_error(jnp.array([4.0, 2.0]), jnp.array([3.0, 2.0]), jnp.array([0.5, 0.5]))
    Array([4., 0.], dtype=float32)
    """
    return jnp.square((predicted_N - rating_N) / scale_N)


def clicks(logits_NJ: Array, is_shown_NJ: Array, is_clicked_NJ: Array) -> jax.Array:
    """Cross entropy of the clicks among the items of a list, float32 [N]: `-mean over clicks of log softmax`.

    A list without clicks has loss 0.

    Args:
      logits_NJ: of the items of each list.
      is_shown_NJ: bool, False on padding.
      is_clicked_NJ: bool.

    >>> clicks(jnp.zeros((1, 4)), jnp.array([[True, True, True, False]]), jnp.array([[False, True, False, False]]))
    Array([1.0986123], dtype=float32)
    """
    log_p_NJ = jax.nn.log_softmax(jnp.where(is_shown_NJ, logits_NJ, EXCLUDED), axis=1)
    number_N = jnp.sum(is_clicked_NJ, axis=1)
    return -jnp.sum(jnp.where(is_clicked_NJ, log_p_NJ, 0.0), axis=1) / jnp.maximum(number_N, 1)


def ordinal(logits_NG: jax.Array, is_above_NG: Array) -> jax.Array:
    """Mean binary cross entropy over the thresholds, float32 [N].

    With `P(rating > threshold g) = sigmoid(logit_g)`. The thresholds share everything but their position, so the
    probabilities do not cross once the thresholds are in order (Cao, Mirjalili and Raschka, "Rank consistent ordinal
    regression for neural networks with application to age estimation", arXiv:1901.07884).

    Args:
      logits_NG: of a rating above each threshold.
      is_above_NG: bool, whether it is.

    >>> ordinal(jnp.array([[2.0, -2.0]]), jnp.array([[True, False]]))
    Array([0.126928], dtype=float32)
    """
    return optax.sigmoid_binary_cross_entropy(logits_NG, jnp.asarray(is_above_NG, jnp.float32)).mean(axis=1)
