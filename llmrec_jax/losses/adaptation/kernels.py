"""Maximum mean discrepancy: distances between domains from Gaussian kernels of pairs of rows.

Values are in [-1, 2] whatever the scale of the features, because kernels are in (0, 1] and their bandwidth follows the
features. Memory and time grow with the square of the number of rows.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def mk_mmd(
    source_BD: Array,
    target_BD: Array,
    source_mask_B: Array | None = None,
    target_mask_B: Array | None = None,
    *,
    scales: tuple[float, ...] = SCALES,
) -> jax.Array:
    """Squared maximum mean discrepancy with several Gaussian kernels (DAN, arXiv:1502.02791), unbiased.

    `mean_{i != j} k(s_i, s_j) + mean_{i != j} k(t_i, t_j) - 2 mean_{i, j} k(s_i, t_j)`, the U-statistic, whose
    expectation is 0 for equal distributions, so it may be negative. `k(x, y)` is the mean over `scales` of
    `exp(-|x - y|^2 / (scale * m))`, where `m` is the lower median of `|x - y|^2` over all pairs of different rows of
    both sides together, with its gradient stopped.

    >>> source_BD, target_BD = jnp.array([[0.0, 0], [1, 0], [0, 1]]), jnp.array([[2.0, 0], [3, 0], [2, 1]])
    >>> print(f"{mk_mmd(source_BD, target_BD):.4f}")
    0.5176
    """
    source_BD, source_mask_B = rows.masked(source_BD, source_mask_B)
    target_BD, target_mask_B = rows.masked(target_BD, target_mask_B)
    return mk_mmd_within(
        jnp.concatenate([source_BD, target_BD]),
        jnp.concatenate([source_mask_B, jnp.zeros(len(target_BD), bool)]),
        jnp.concatenate([jnp.zeros(len(source_BD), bool), target_mask_B]),
        scales=scales,
    )


def mk_mmd_within(
    rows_ND: Array, is_source_N: Array, is_target_N: Array, *, scales: tuple[float, ...] = SCALES
) -> jax.Array:
    """`mk_mmd` between the source rows and the target rows of one array; rows that are neither are ignored.

    Equals `mk_mmd` with the array passed twice, but computes a quarter of the pairs.

    >>> rows_ND = jnp.array([[0.0, 0], [1, 0], [0, 1], [2, 0], [3, 0], [2, 1]])
    >>> is_source_N = jnp.arange(6) < 3
    >>> print(f"{mk_mmd_within(rows_ND, is_source_N, ~is_source_N):.4f}")
    0.5176
    """
    return joint_mmd((rows_ND,), is_source_N, is_target_N, scales=scales)


def joint_mmd(
    layers: Sequence[Array], is_source_N: Array, is_target_N: Array, *, scales: tuple[float, ...] = SCALES
) -> jax.Array:
    """Discrepancy of the joint distribution of several layers (JMMD of JAN, arXiv:1605.06636).

    `mk_mmd` with the product of the layers' kernels, `k(x, y) = prod_l k_l(x_l, y_l)`, each with its own bandwidth.
    The paper's estimate in linear time has a larger variance; this one uses all pairs and is unbiased as well.

    >>> features_ND = jnp.array([[0.0, 0], [1, 0], [0, 1], [2, 0], [3, 0], [2, 1]])
    >>> predictions_NI = jnp.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    >>> is_source_N = jnp.arange(6) < 3
    >>> print(f"{joint_mmd((features_ND, predictions_NI), is_source_N, ~is_source_N):.4f}")
    0.7380

    Args:
      layers: features of the same rows from different layers, `[N, D]` each of any width: for example the text
        vectors and the user vectors, or the user vectors and the predictions as probabilities.
      is_source_N: the source rows; 0 is returned with fewer than two.
      is_target_N: the target rows, likewise.
      scales: of the bandwidth, as in `mk_mmd`.
    """
    mask_N = is_source_N | is_target_N
    num_source, num_target = is_source_N.sum(), is_target_N.sum()
    is_pair_NN = mask_N[:, None] & mask_N[None] & ~jnp.eye(len(mask_N), dtype=bool)

    squared, bandwidths = [], []
    for layer_ND in layers:
        layer_ND, _ = rows.masked(layer_ND, mask_N)
        squared.append(rows.squared_distances(layer_ND, mask_N))
        bandwidth = jnp.maximum(rows.median(squared[-1], is_pair_NN), rows.smallest_distance(layer_ND, mask_N))
        bandwidths.append(jax.lax.stop_gradient(bandwidth))

    @jax.checkpoint  # saves the distances for the backward pass instead of one array per scale
    def discrepancy(squared: list[jax.Array]) -> jax.Array:
        kernel_NN = math.prod(
            sum(jnp.exp(-squared_NN / (scale * bandwidth)) for scale in scales) / len(scales)
            for squared_NN, bandwidth in zip(squared, bandwidths, strict=True)
        )
        num_same_N = jnp.where(is_source_N, num_source * (num_source - 1), num_target * (num_target - 1))
        weight_same_N, weight_other = 1 / jnp.maximum(num_same_N, 1), -1 / jnp.maximum(num_source * num_target, 1)
        weight_NN = jnp.where(is_source_N[:, None] == is_source_N[None], weight_same_N[:, None], weight_other)
        return jnp.sum(jnp.where(is_pair_NN, weight_NN * kernel_NN, 0.0))

    return rows.if_enough(discrepancy(squared), is_source_N, is_target_N, rows=2)
