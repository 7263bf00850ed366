"""Losses that make predictions for unlabelled target users confident and diverse: MCC, BNM, information maximization.

Predictions are logits over a fixed probe of items (or of categories), `[N, I]`: over a whole catalogue every single
probability is tiny and the losses are uninformative. Masked rows may hold any values; they change neither loss nor
gradient.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


def entropy(logits_NI: Array) -> jax.Array:
    """Entropy of each row's softmax in nats, float32 `[N]`, from 0 to `log I`. The logits must be finite.

    >>> print(entropy(jnp.array([[0.0, 0], [99, 0]])).round(4))
    [0.6931 0.    ]
    """
    log_p_NI = jax.nn.log_softmax(jnp.asarray(logits_NI, jnp.float32), axis=1)
    return jnp.sum(jnp.exp(log_p_NI) * -log_p_NI, axis=1)


def information_maximization(logits_NI: Array, is_target_N: Array) -> jax.Array:
    """`mean H(p) - H(mean p)` (SHOT, arXiv:2002.08546), minus the mutual information of users and items.

    In `[-log I, 0]`: 0 if all users have the same prediction, `-log I` if each is certain and all items are as
    frequent. 0 is returned with fewer than two rows.

    >>> logits_NI = jnp.array([[9.0, 0], [0, 9], [1, 0]])
    >>> print(f"{information_maximization(logits_NI, jnp.arange(3) < 2):.4f}")
    -0.6919
    """
    logits_NI, is_target_N = rows.masked(logits_NI, is_target_N)
    log_p_NI = jax.nn.log_softmax(logits_NI, axis=1)
    # In logs, so that no item is too rare for float32. A finite number, not -inf, where there are no rows.
    log_sum_I = jax.nn.logsumexp(jnp.where(is_target_N[:, None], log_p_NI, -1e30), axis=0)
    log_mean_I = log_sum_I - jnp.log(jnp.maximum(is_target_N.sum(), 1))
    difference_NI = jnp.exp(log_p_NI) * (log_mean_I[None] - log_p_NI)
    return rows.if_enough(rows.mean(jnp.sum(difference_NI, axis=1), is_target_N), is_target_N, rows=2)


def mcc(logits_NI: Array, is_target_N: Array, *, is_item_I: Array | None = None, temperature: float = 2.5) -> jax.Array:
    """Minimum class confusion (arXiv:1912.03699): how much the items' predictions are mixed with one another.

    With `p = softmax(logits / temperature)`, weights `w = 1 + exp(-H(p))` of certain rows (no gradient, as in the
    authors' program) and the confusion `C_ij = sum_n w_n p_ni p_nj`, the mean over items `i` of
    `sum_{j != i} C_ij / sum_j C_ij`, in `[0, 1)`: `1 - 1/I` for uniform predictions, 0 if every row is certain. Because
    `sum_j C_ij = sum_n w_n p_ni`, no matrix of all pairs of items is needed. 0 is returned with fewer than two rows.

    >>> logits_NI = jnp.array([[5.0, 0], [0, 5], [1, 0]])
    >>> print(f"{mcc(logits_NI, jnp.arange(3) < 2):.4f}")
    0.2100

    Args:
      logits_NI: scores of the probe.
      is_target_N: the rows to use.
      is_item_I: bool, False on padding of the probe, whose scores are so low that it is never predicted.
      temperature: 2.5 in the paper, for logits of a classifier; for scores that the ranking loss divides by its own
        temperature, pass them divided.
    """
    logits_NI, is_target_N = rows.masked(logits_NI, is_target_N)
    log_p_NI = jax.nn.log_softmax(logits_NI / temperature, axis=1)
    p_NI = jnp.exp(log_p_NI)
    weight_N = jax.lax.stop_gradient(1 + jnp.exp(jnp.sum(p_NI * log_p_NI, axis=1))) * is_target_N
    mass_I = rows.product(weight_N, p_NI)
    confused_I = rows.product(weight_N, p_NI * -jnp.expm1(log_p_NI))
    is_predicted_I = mass_I > 1e-30
    share_I = jnp.where(is_predicted_I, confused_I / jnp.where(is_predicted_I, mass_I, 1.0), 0.0)
    share = share_I.mean() if is_item_I is None else rows.mean(share_I, is_item_I)
    return rows.if_enough(share, is_target_N, rows=2)


def bnm(logits_NI: Array, is_target_N: Array) -> jax.Array:
    """Batch nuclear-norm maximization (arXiv:2003.12237): `-|P|_* / n`, where `P` are the n rows of probabilities.

    Between `-sqrt(min(n, I) / n)`, certain and diverse, and `-1 / sqrt(n I)`, all uniform. It depends on the number of
    rows, more so than the others. 0 is returned with fewer than two rows.

    >>> logits_NI = jnp.array([[9.0, 0], [0, 9], [1, 0]])
    >>> print(f"{bnm(logits_NI, jnp.arange(3) < 2):.4f}")
    -0.9999
    """
    logits_NI, is_target_N = rows.masked(logits_NI, is_target_N)
    p_NI = jax.nn.softmax(logits_NI, axis=1) * is_target_N[:, None]
    return rows.if_enough(-_nuclear_norm(p_NI) / jnp.maximum(is_target_N.sum(), 1), is_target_N, rows=2)


@jax.custom_vjp
def _nuclear_norm(matrix: jax.Array) -> jax.Array:
    """Sum of the singular values; its gradient is the smallest subgradient, so equal or zero ones do no harm."""
    return jnp.linalg.svd(matrix, compute_uv=False).sum()


def _nuclear_norm_forward(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    u, s, vh = jnp.linalg.svd(matrix, full_matrices=False)
    is_positive = s > s[0] * max(matrix.shape) * jnp.finfo(jnp.float32).eps
    return s.sum(), rows.product(u * is_positive[None], vh)


def _nuclear_norm_backward(polar: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    return (gradient * polar,)


_nuclear_norm.defvjp(_nuclear_norm_forward, _nuclear_norm_backward)
