"""Losses on moments of the features: second moments (CORAL), and the norms of the rows (AFN).

The transforms that normalize the moments of each domain are in `transforms`.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


def coral(
    source_BD: Array, target_BD: Array, source_mask_B: Array | None = None, target_mask_B: Array | None = None
) -> jax.Array:
    """Deep CORAL (arXiv:1607.01719): `|C_s - C_t|_F^2 / (4 D^2)` of the unbiased covariances `C`; ignores the means.

    >>> source_BD, target_BD = jnp.array([[0.0, 0], [1, 0], [0, 1]]), jnp.array([[2.0, 0], [5, 0], [2, 1]])
    >>> print(f"{coral(source_BD, target_BD):.4f}")
    0.4583
    """
    source_BD, source_mask_B = rows.masked(source_BD, source_mask_B)
    target_BD, target_mask_B = rows.masked(target_BD, target_mask_B)
    difference_DD = rows.covariance(source_BD, source_mask_B) - rows.covariance(target_BD, target_mask_B)
    distance = jnp.sum(difference_DD**2) / (4 * source_BD.shape[1] ** 2)
    return rows.if_enough(distance, source_mask_B, target_mask_B, rows=2)


def afn(rows_ND: Array, is_source_N: Array, is_target_N: Array, *, step: float = 1.0) -> jax.Array:
    """Stepwise adaptive feature norm (SAFN, arXiv:1811.07456): every row's norm should grow by `step`.

    The mean over the rows of both sides of `(|f| - (stop_gradient(|f|) + step))^2`. The value is always `step^2`, so
    it says nothing of the domains: its gradient, `-2 step / rows` along each row, is all that counts, and the
    ranking loss balances it. Features of which only the direction is used later (L2-normalized) do not respond: pass
    them as they are before the normalization.

    >>> rows_ND = jnp.array([[3.0, 4], [1, 0], [0, 2], [2, 0]])
    >>> is_source_N = jnp.arange(4) < 2
    >>> print(f"{afn(rows_ND, is_source_N, ~is_source_N, step=0.5):.4f}")
    0.2500

    Args:
      rows_ND: features, not L2-normalized.
      is_source_N: the source rows; 0 is returned without any.
      is_target_N: the target rows, likewise.
      step: in units of the features.
    """
    mask_N = is_source_N | is_target_N
    rows_ND, _ = rows.masked(rows_ND, mask_N)
    norm_N = rows.norm(rows_ND)
    loss = rows.mean((norm_N - jax.lax.stop_gradient(norm_N) - step) ** 2, mask_N)
    return rows.if_enough(loss, is_source_N, is_target_N, rows=1)
