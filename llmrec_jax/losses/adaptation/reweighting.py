"""Importance weights that make the source's training loss an estimate of the target's."""

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


def density_ratio(logits_N: Array, is_source_N: Array, is_target_N: Array, *, alpha: float = 0.1) -> jax.Array:
    """Weights of the source rows from a discriminator's logits, float32 `[N]` with mean 1 over the source rows.

    A discriminator trained with both sides at equal weight (`dann`) has logits `l = log(p_t(x) / p_s(x))`. The weight
    is the relative density ratio `p_t / (alpha p_t + (1 - alpha) p_s) = 1 / (alpha + (1 - alpha) exp(-l))`
    (arXiv:1106.4729), divided by its mean over the source rows. Before the division it is at most `1 / alpha`, so that
    a few rows cannot take all the weight; `alpha = 0` is the plain ratio `exp(l)`. No gradient: the discriminator is
    trained by its own loss. Rows that are not of the source get 0; without a row of each side all source rows get 1.

    >>> logits_N, is_source_N = jnp.array([0.0, 2, -2, 1]), jnp.arange(4) < 3
    >>> print([f"{weight:.3f}" for weight in density_ratio(logits_N, is_source_N, ~is_source_N, alpha=0.5)])
    ['1.000', '1.762', '0.238', '0.000']

    Args:
      logits_N: of the discriminator, for the target.
      is_source_N: the source rows.
      is_target_N: the target rows.
      alpha: in [0, 1).
    """
    logits_N, _ = rows.masked(jax.lax.stop_gradient(logits_N), is_source_N)
    # In logs, and divided by the largest, so that no weight overflows.
    log_alpha = jnp.log(alpha) if alpha > 0 else -jnp.inf
    log_ratio_N = -jnp.logaddexp(log_alpha, jnp.log1p(-alpha) - logits_N)
    largest = jnp.max(log_ratio_N, initial=-jnp.inf, where=is_source_N)
    ratio_N = jnp.where(is_source_N, jnp.exp(log_ratio_N - largest), 0.0)
    weight_N = ratio_N / jnp.maximum(rows.mean(ratio_N, is_source_N), 1e-30)
    has_both = is_source_N.any() & is_target_N.any()
    return jnp.where(has_both, weight_N, jnp.asarray(is_source_N, jnp.float32))
