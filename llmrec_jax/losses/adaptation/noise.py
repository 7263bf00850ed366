"""The noise of a distance between samples, and its removal.

Two samples of one distribution are at a distance above 0, which grows with the variance of the rows. A model that
minimizes it where the domains are alike makes all of its vectors equal. The U-statistics of `kernels` have no such
bias; the distances of `moments` and `transport` do.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


def less_noise(
    distance: Callable[[Array, Array], jax.Array], is_source_N: Array, is_target_N: Array, key: jax.Array
) -> jax.Array:
    """A distance between the sides, less what it would be for two samples of one distribution.

    `d(s, t) - w_s d(s1, s2) - w_t d(t1, t2)`, where `s1` and `s2` are random halves of the source rows, of sizes `n1`
    and `n2`, and `w_s = n1 n2 / (n1 + n2)^2`, about 1/4; likewise for the target. Samples of a distribution are at an
    expected distance that falls with `1/n` to first order (exactly so for `coral`): `1/n1 + 1/n2` for the halves,
    times `w_s` that is `1/n`. The expectation is thus 0 for equal distributions, so values may be negative.

    >>> from llmrec_jax.losses.adaptation import coral
    >>> rows_ND = jax.random.normal(jax.random.key(0), (200, 4))
    >>> sides = jnp.arange(200) < 100, jnp.arange(200) >= 100
    >>> distance = lambda s, t: coral(rows_ND, rows_ND, s, t)
    >>> bool(abs(less_noise(distance, *sides, jax.random.key(1))) < distance(*sides) / 2)
    True

    Args:
      distance: (source mask, target mask) -> distance.
      is_source_N: the source rows.
      is_target_N: the target rows.
      key: for the halves, new in each step and the same on every device.
    """
    is_first_N = jax.random.bernoulli(key, shape=is_source_N.shape)

    def noise(is_side_N: Array) -> jax.Array:
        first_N, second_N = is_side_N & is_first_N, is_side_N & ~is_first_N
        share = first_N.sum() / jnp.maximum(is_side_N.sum(), 1)
        return share * (1 - share) * distance(first_N, second_N)

    corrected = distance(is_source_N, is_target_N) - noise(is_source_N) - noise(is_target_N)
    return rows.if_enough(corrected, is_source_N, is_target_N, rows=2)
