"""Transforms that give every domain the same moments: normalization and whitening with parameters per domain.

Pure functions from features to features, `[N, D] -> [N, E]`: the model applies them, no loss is involved. Rows that are
masked or whose domain is not in `[0, G)` become 0 and get no gradient. The statistics are of all rows given; to encode
a whole catalogue at inference, take them from the whole catalogue.

Shape letters besides those of the package: E width of the output.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


class Moments(NamedTuple):
    """Statistics of each domain; 0 for a domain without rows."""

    mean_GD: jax.Array
    variance_GD: jax.Array  # of the population: divided by the number of rows


def domain_moments(rows_ND: Array, domain_N: Array, mask_N: Array, *, num_domains: int) -> Moments:
    """Mean and variance of each domain's rows, float32, differentiable.

    >>> rows_ND = jnp.array([[1.0, 0], [3, 0], [10, 5]])
    >>> moments = domain_moments(rows_ND, jnp.array([0, 0, 1]), jnp.ones(3, bool), num_domains=2)
    >>> print(moments.mean_GD.tolist(), moments.variance_GD.tolist())
    [[2.0, 0.0], [10.0, 5.0]] [[1.0, 0.0], [0.0, 0.0]]
    """
    rows_ND, one_hot_NG = _by_domain(rows_ND, domain_N, mask_N, num_domains)
    size_G1 = jnp.maximum(one_hot_NG.sum(axis=0), 1)[:, None]
    mean_GD = rows.product(one_hot_NG.T, rows_ND) / size_G1
    centered_ND = rows_ND - rows.product(one_hot_NG, mean_GD)
    return Moments(mean_GD, rows.product(one_hot_NG.T, centered_ND**2) / size_G1)


def domain_normalization(
    rows_ND: Array,
    domain_N: Array,
    mask_N: Array,
    moments: Moments,
    *,
    scale_GD: Array | None = None,
    shift_GD: Array | None = None,
    epsilon: float = 1e-5,
) -> jax.Array:
    """Normalization with each domain's own statistics (AdaBN, arXiv:1603.04779) and parameters (arXiv:1906.03950).

    `(x - mean_g) / sqrt(variance_g + epsilon) * scale_g + shift_g` of a row of domain g, float32 `[N, D]`. With
    `moments = domain_moments(rows_ND, ...)` this is batch normalization within each domain.

    >>> rows_ND, domain_N, mask_N = jnp.array([[1.0, 0], [3, 2], [10, 5]]), jnp.array([0, 0, 1]), jnp.ones(3, bool)
    >>> moments = domain_moments(rows_ND, domain_N, mask_N, num_domains=2)
    >>> print(domain_normalization(rows_ND, domain_N, mask_N, moments).round(2).tolist())
    [[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]

    Args:
      rows_ND: features.
      domain_N: int, the domain of each row.
      mask_N: bool, False on rows to ignore.
      moments: of each domain, of this batch or of a whole catalogue.
      scale_GD: parameters, 1 if None.
      shift_GD: parameters, 0 if None.
      epsilon: added to the variance.
    """
    rows_ND, one_hot_NG = _by_domain(rows_ND, domain_N, mask_N, len(moments.mean_GD))
    factor_GD = jax.lax.rsqrt(moments.variance_GD + epsilon)
    if scale_GD is not None:
        factor_GD = factor_GD * scale_GD
    centered_ND = rows_ND - rows.product(one_hot_NG, moments.mean_GD)
    result_ND = centered_ND * rows.product(one_hot_NG, factor_GD)
    return result_ND if shift_GD is None else result_ND + rows.product(one_hot_NG, shift_GD)


def domain_whitening(rows_ND: Array, domain_N: Array, mask_N: Array, shift_GD: Array, matrix_GDE: Array) -> jax.Array:
    """Parametric whitening (UniSRec, arXiv:2206.05941), with parameters for each domain: `(x - b_g) W_g`.

    float32 `[N, E]`. The parameters are trained; `whitening_parameters` gives their start.

    >>> rows_ND, shift_GD = jnp.array([[1.0, 2], [3, 4]]), jnp.array([[1.0, 1], [0, 0]])
    >>> matrix_GDE = jnp.array([[[2.0, 0], [0, 2]], [[1, 0], [0, 1]]])
    >>> print(domain_whitening(rows_ND, jnp.array([0, 1]), jnp.ones(2, bool), shift_GD, matrix_GDE).tolist())
    [[0.0, 2.0], [3.0, 4.0]]
    """
    num_domains, width, width_out = matrix_GDE.shape
    rows_ND, one_hot_NG = _by_domain(rows_ND, domain_N, mask_N, num_domains)
    centered_ND = rows_ND - rows.product(one_hot_NG, shift_GD)
    # One product with all matrices, of rows that are 0 but at their domain: no matrix is gathered for a row.
    placed_NGD = one_hot_NG[:, :, None] * centered_ND[:, None]
    flat_shape = (num_domains * width, width_out)
    return rows.product(placed_NGD.reshape(len(placed_NGD), -1), jnp.reshape(matrix_GDE, flat_shape))


def whitening_parameters(
    rows_ND: Array, domain_N: Array, mask_N: Array, *, num_domains: int, epsilon: float = 1e-3
) -> tuple[jax.Array, jax.Array]:
    """Shift `[G, D]` and matrix `[G, D, D]` that whiten each domain's rows (arXiv:2103.15316), without gradient.

    The mean `b_g` and `W_g = (C_g + epsilon m_g)^(-1/2)`, where `C_g` is the domain's covariance (divided by the number
    of rows) and `m_g` the mean of its eigenvalues. The paper whitens into principal components, `U L^(-1/2)`; the
    symmetric root used here is `U L^(-1/2) U^T`, the whitening that moves the rows the least, because the order and
    signs of principal components differ between domains.

    >>> rows_ND = jnp.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
    >>> shift_GD, matrix_GDD = whitening_parameters(rows_ND, jnp.zeros(4, int), jnp.ones(4, bool), num_domains=1)
    >>> print(matrix_GDD[0].diagonal().round(2))
    [0.71 1.41]
    """
    rows_ND, one_hot_NG = jax.lax.stop_gradient(_by_domain(rows_ND, domain_N, mask_N, num_domains))
    size_G = jnp.maximum(one_hot_NG.sum(axis=0), 1)
    mean_GD = rows.product(one_hot_NG.T, rows_ND) / size_G[:, None]
    centered_ND = rows_ND - rows.product(one_hot_NG, mean_GD)
    placed_GND = one_hot_NG.T[:, :, None] * centered_ND[None]
    covariance_GDD = rows.product(placed_GND.transpose(0, 2, 1), placed_GND) / size_G[:, None, None]
    values_GD, vectors_GDD = jnp.linalg.eigh(covariance_GDD)
    floor_G1 = epsilon * values_GD.mean(axis=1, keepdims=True) + 1e-12
    scaled_GDD = vectors_GDD * jax.lax.rsqrt(jnp.maximum(values_GD, 0.0) + floor_G1)[:, None]
    return mean_GD, rows.product(scaled_GDD, vectors_GDD.transpose(0, 2, 1))


def _by_domain(rows_ND: Array, domain_N: Array, mask_N: Array, num_domains: int) -> tuple[jax.Array, jax.Array]:
    """The rows, 0 where unused, and the one-hot domains of the used rows, float32 `[N, G]`."""
    is_used_N = mask_N & (domain_N >= 0) & (domain_N < num_domains)
    rows_ND, _ = rows.masked(rows_ND, is_used_N)
    return rows_ND, jax.nn.one_hot(domain_N, num_domains) * is_used_N[:, None]
