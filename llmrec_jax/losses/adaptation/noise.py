"""The noise of a distance between samples, and its removal.

The distance between two samples of one distribution is above 0, and grows with the variance of the rows. A model that
minimizes it once the domains are aligned collapses all of its vectors. The U-statistics of `kernels` do not have this
bias; the distances of `moments` and `transport` do.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


def less_noise(
    distance: Callable[[Array, Array], jax.Array], is_source_N: Array, is_target_N: Array, is_first_N: Array
) -> jax.Array:
    """A distance between the sides, less what it would be for two samples of one distribution.

    `d(s, t) - w_s d(s1, s2) - w_t d(t1, t2)`, where `s1` and `s2` are random halves of the source rows, of sizes `n1`
    and `n2`, and `w_s = n1 n2 / (n1 + n2)^2`, about 1/4; likewise for the target. Samples of a distribution are at an
    expected distance that falls with `1/n` to first order (exactly so for `coral`): `1/n1 + 1/n2` for the halves,
    times `w_s` that is `1/n`. The expectation is thus 0 for equal distributions, so values may be negative.

    >>> rows_N, is_source_N = jax.random.normal(jax.random.key(2), 100), jnp.arange(100) < 50
    >>> is_first_N = jnp.arange(100) % 2 == 0
    >>> distance = lambda s_N, t_N: (rows_N.mean(where=s_N) - rows_N.mean(where=t_N)) ** 2
    >>> print(f"{distance(is_source_N, ~is_source_N):.4f}")
    0.0533
    >>> print(f"{less_noise(distance, is_source_N, ~is_source_N, is_first_N):.4f}")
    0.0325

    Args:
      distance: (source mask, target mask) -> distance.
      is_source_N: the source rows.
      is_target_N: the target rows.
      is_first_N: the rows of the first halves, drawn anew in every step and the same on every device.
    """

    def noise(is_side_N: Array) -> jax.Array:
        first_N, second_N = is_side_N & is_first_N, is_side_N & ~is_first_N
        share = first_N.sum() / jnp.maximum(is_side_N.sum(), 1)
        return share * (1 - share) * distance(first_N, second_N)

    corrected = distance(is_source_N, is_target_N) - noise(is_source_N) - noise(is_target_N)
    return rows.if_enough(corrected, is_source_N, is_target_N, rows=2)
