"""Helpers that the adaptation losses share: masks, means, covariances, distances. Holds no loss.

Masked rows are set to 0 first (`masked`), so that NaN in them reaches neither values nor gradients.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.types import Array


def masked(rows: Array, mask_N: Array | None) -> tuple[jax.Array, jax.Array]:
    """The rows as float32, with masked rows set to 0; and the mask, all True if there is none."""
    if mask_N is None:
        mask_N = jnp.ones(len(rows), bool)
    mask_N = jnp.asarray(mask_N)
    return jnp.where(jnp.expand_dims(mask_N, tuple(range(1, rows.ndim))), rows, 0).astype(jnp.float32), mask_N


def mean(values_N: jax.Array, mask_N: Array) -> jax.Array:
    """Mean of the rows where the mask is True; 0 if there are none."""
    return jnp.sum(jnp.where(mask_N, values_N, 0.0)) / jnp.maximum(mask_N.sum(), 1)


def if_enough(value: jax.Array, *masks: Array, rows: int) -> jax.Array:
    """The value, or 0 if one of the masks has fewer than `rows` rows."""
    enough = jnp.stack([jnp.asarray(mask_N).sum() >= rows for mask_N in masks]).all()
    return jnp.where(enough, value, 0.0)


def balanced_mean(source_N: jax.Array, target_N: jax.Array, is_source_N: Array, is_target_N: Array) -> jax.Array:
    """Mean of the two sides' means, so that both weigh the same whatever their sizes; 0 if a side has no rows."""
    value = (mean(source_N, is_source_N) + mean(target_N, is_target_N)) / 2
    return if_enough(value, is_source_N, is_target_N, rows=1)


def product(a: Array, b: Array) -> jax.Array:
    """Matrix product in full float32 on any platform: by default, TPUs round float32 operands to bfloat16."""
    return jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float32)


def norm(rows_ND: jax.Array) -> jax.Array:
    """Euclidean norm of each row; the gradient of a row of zeros is 0."""
    squared_N = jnp.sum(rows_ND**2, axis=-1)
    is_zero_N = squared_N == 0
    return jnp.where(is_zero_N, 0.0, jnp.sqrt(jnp.where(is_zero_N, 1.0, squared_N)))


def unit(rows_ND: jax.Array) -> jax.Array:
    """Each row divided by its norm; a row of zeros stays so, and its gradient is 0."""
    norm_N = norm(rows_ND)
    return rows_ND / jnp.where(norm_N > 0, norm_N, 1.0)[:, None]


def centered(rows_ND: jax.Array, mask_N: Array) -> jax.Array:
    """The rows minus their mean; masked rows are 0 and stay 0."""
    mean_D = rows_ND.sum(axis=0) / jnp.maximum(mask_N.sum(), 1)
    return jnp.where(mask_N[:, None], rows_ND - mean_D[None], 0.0)


def covariance(rows_ND: jax.Array, mask_N: Array) -> jax.Array:
    """The unbiased covariance `[D, D]`."""
    centered_ND = centered(rows_ND, mask_N)
    return product(centered_ND.T, centered_ND) / jnp.maximum(mask_N.sum() - 1, 1)


def squared_distances(rows_ND: jax.Array, mask_N: Array) -> jax.Array:
    """`|x|^2 + |y|^2 - 2 x y`, `[N, N]`, with the rows centered, because a common offset would lose precision."""
    centered_ND = centered(rows_ND, mask_N)
    squared_N = jnp.sum(centered_ND**2, axis=1)
    product_NN = product(centered_ND, centered_ND.T)
    return jnp.maximum(squared_N[:, None] + squared_N[None] - 2 * product_NN, 0.0)


def smallest_distance(rows_ND: jax.Array, mask_N: Array) -> jax.Array:
    """A floor for statistics of squared distances, which are rounding errors if all rows are equal."""
    return 1e-6 * jnp.sum(rows_ND**2) / jnp.maximum(mask_N.sum(), 1) + 1e-30


def median(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Exact lower median of the non-negative float32 values where `mask` is True.

    Bisects on the bits, which have the same order as the numbers. 31 counting passes are much faster than a sort, and
    sharded values are not gathered, only their counts are summed.
    """
    largest = jnp.iinfo(jnp.int32).max
    bits = jnp.where(mask, jax.lax.bitcast_convert_type(values, jnp.int32), largest)
    rank = (mask.sum() + 1) // 2

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        reached = (bits <= middle).sum() >= rank
        return jnp.where(reached, low, middle + 1), jnp.where(reached, middle, high)

    low, _ = jax.lax.fori_loop(0, 31, halve, (jnp.int32(0), jnp.int32(largest)))
    return jax.lax.bitcast_convert_type(low, jnp.float32)
