"""Importance weights that make the source's training loss an estimate of the target's."""

import jax
import jax.numpy as jnp

from llmrec_jax.types import Array

LARGEST_LOGIT = 20.0  # beyond, weights of all rows could underflow to 0


def density_ratio(logits_N: Array, *, alpha: float = 0.1) -> jax.Array:
    """Weights of source rows from a discriminator's logits, float32 `[N]`, for a weighted mean of their losses.

    A discriminator trained with both sides at equal weight (`dann`) has logits `l = log(p_t(x) / p_s(x))`. The weight
    is the relative density ratio `p_t / (alpha p_t + (1 - alpha) p_s) = 1 / (alpha + (1 - alpha) exp(-l))`
    (arXiv:1106.4729), whose mean over the source is about 1. It is at most `1 / alpha`, so that a few rows cannot take
    all the weight; `alpha = 0` is the plain ratio `exp(l)`. Logits are clipped to [-20, 20]. No gradient: the
    discriminator is trained by its own loss. Divide the weighted sum of losses by the sum of the weights.

    >>> print([f"{weight:.3f}" for weight in density_ratio(jnp.array([0.0, 2, -2]), alpha=0.5)])
    ['1.000', '1.762', '0.238']

    Args:
      logits_N: of the discriminator, for the target.
      alpha: in [0, 1).
    """
    logits_N = jax.lax.stop_gradient(jnp.asarray(logits_N, jnp.float32))
    return 1 / (alpha + (1 - alpha) * jnp.exp(-jnp.clip(logits_N, -LARGEST_LOGIT, LARGEST_LOGIT)))
