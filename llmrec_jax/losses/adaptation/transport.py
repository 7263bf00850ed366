"""Optimal transport between the source rows and the target rows: Sinkhorn divergence, sliced Wasserstein distance.

Both are squared distances in the units of the features: for two clouds of the same form at a distance `d`, `sinkhorn`
is `|d|^2` and `sliced_wasserstein` is `|d|^2 / D`.

Shape letters besides those of the package: Q random directions, J segments of the quantiles.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


def sinkhorn(
    rows_ND: Array, is_source_N: Array, is_target_N: Array, *, epsilon: float = 0.5, num_iterations: int = 20
) -> jax.Array:
    """Sinkhorn divergence (arXiv:1706.00292) with squared distances: entropic optimal transport without its bias.

    `OT(s, t) - OT(s, s) / 2 - OT(t, t) / 2`, where `OT(a, b) = min_P <P, |x - y|^2> + e KL(P | a b)` over the plans `P`
    between the two sides, all rows of a side having the same mass. 0 for equal sides, otherwise positive. The
    transport of features that DeepJDOT (arXiv:1803.10081) minimizes is `OT(s, t)`, without its term of labels.

    Two samples of one distribution are not equal sides: in wide features even the nearest row of the other side is far.
    The smaller `epsilon`, the more of that remains (128 standard normal rows a side, width 64: 3.4 at 0.5, 56 at
    0.1), while at large `epsilon` the value becomes the squared distance of the means.

    The gradient is that of the converged plan (Danskin), so memory does not grow with the iterations. It is computed
    in the log domain, so nothing underflows. Memory and time grow with the square of the number of rows.

    >>> rows_ND = jnp.array([[0.0, 0], [1, 0], [0, 1], [2, 0], [3, 0], [2, 1]])
    >>> is_source_N = jnp.arange(6) < 3
    >>> print(f"{sinkhorn(rows_ND, is_source_N, ~is_source_N):.2f}")
    4.00

    Args:
      rows_ND: features.
      is_source_N: the source rows; 0 is returned with fewer than two.
      is_target_N: the target rows, likewise.
      epsilon: strength of the entropy, relative to the mean squared distance between the sides (no gradient passes
        this mean); `e` above is their product.
      num_iterations: each updates the potentials of both sides; 20 are plenty at 0.5, small `epsilon` needs more.
    """
    mask_N = is_source_N | is_target_N
    rows_ND, _ = rows.masked(rows_ND, mask_N)
    cost_NN = rows.squared_distances(rows_ND, mask_N)
    # Weights that sum to 1, also for a side without rows, whose result is not used.
    source_N, target_N = (jnp.where(side_N.any(), side_N, True) for side_N in (is_source_N, is_target_N))
    source_N, target_N = source_N / source_N.sum(), target_N / target_N.sum()
    mean_cost = jnp.sum(source_N[:, None] * cost_NN * target_N[None])
    scale = jax.lax.stop_gradient(epsilon * jnp.maximum(mean_cost, rows.smallest_distance(rows_ND, mask_N)))

    def transport(from_N: jax.Array, to_N: jax.Array) -> jax.Array:
        def soft_min(potential_N: jax.Array, weight_N: jax.Array, cost_NN: jax.Array) -> jax.Array:
            exponent_NN = (potential_N[None] - cost_NN) / scale
            return -scale * jax.nn.logsumexp(exponent_NN, axis=1, b=weight_N[None], where=weight_N[None] > 0)

        def iterate(_: int, potential_N: jax.Array) -> jax.Array:
            other_N = soft_min(potential_N, from_N, constant_NN)
            return soft_min(other_N, to_N, constant_NN)

        constant_NN = jax.lax.stop_gradient(cost_NN)
        potential_N = jax.lax.fori_loop(0, num_iterations, iterate, jnp.zeros(len(cost_NN)))
        other_N = soft_min(potential_N, from_N, cost_NN)
        return jnp.sum(from_N * potential_N) + jnp.sum(to_N * other_N)

    from_3N, to_3N = jnp.stack([source_N, source_N, target_N]), jnp.stack([target_N, source_N, target_N])
    across, within_source, within_target = jax.vmap(transport)(from_3N, to_3N)
    return rows.if_enough(across - (within_source + within_target) / 2, is_source_N, is_target_N, rows=2)


def random_directions(key: jax.Array, num_directions: int, width: int) -> jax.Array:
    """Directions drawn uniformly from the unit sphere, `[Q, D]`, for `sliced_wasserstein`.

    >>> random_directions(jax.random.key(0), 8, 3).shape
    (8, 3)
    """
    return rows.unit(jax.random.normal(key, (num_directions, width)))


def sliced_wasserstein(rows_ND: Array, is_source_N: Array, is_target_N: Array, directions_QD: Array) -> jax.Array:
    """Squared sliced Wasserstein distance, the discrepancy of SWD (arXiv:1903.04064).

    The mean over the directions of `int_0^1 (F_s^-1(u) - F_t^-1(u))^2 du`, where `F^-1` are the quantiles of the rows
    projected on the direction; exact for sides of different sizes. The paper compares the outputs of two classifiers
    with it; here the sides are two sets of features.

    >>> rows_ND = jnp.array([[0.0, 0], [1, 0], [0, 1], [2, 0], [3, 0], [2, 1]])
    >>> is_source_N = jnp.arange(6) < 3
    >>> print(f"{sliced_wasserstein(rows_ND, is_source_N, ~is_source_N, jnp.array([[1.0, 0], [0, 1]])):.4f}")
    2.0000

    Args:
      rows_ND: features; at most 32,768 rows.
      is_source_N: the source rows; 0 is returned with fewer than two.
      is_target_N: the target rows, likewise.
      directions_QD: unit vectors, see `random_directions`; new ones at each step, tens to hundreds.
    """
    rows_ND, _ = rows.masked(rows_ND, is_source_N | is_target_N)
    assert len(rows_ND) <= 2**15, "products of two counts must fit into int32"
    projected_QN = rows.product(directions_QD, rows_ND.T)
    num_source, num_target = jnp.maximum(is_source_N.sum(), 1), jnp.maximum(is_target_N.sum(), 1)
    # [0, 1] is cut where either side's quantile changes; all cuts are multiples of 1 / (num_source num_target).
    whole, index_N = num_source * num_target, jnp.arange(len(rows_ND))
    source_cut_N = jnp.where(index_N < num_source, index_N * num_target, whole)
    target_cut_N = jnp.where(index_N < num_target, index_N * num_source, whole)
    start_J = jnp.sort(jnp.concatenate([source_cut_N, target_cut_N]))
    length_J = jnp.append(start_J[1:], whole) - start_J
    source_QJ = _sorted(projected_QN, is_source_N)[:, jnp.minimum(start_J // num_target, num_source - 1)]
    target_QJ = _sorted(projected_QN, is_target_N)[:, jnp.minimum(start_J // num_source, num_target - 1)]
    distance_Q = jnp.sum((source_QJ - target_QJ) ** 2 * (length_J / whole)[None], axis=1)
    return rows.if_enough(distance_Q.mean(), is_source_N, is_target_N, rows=2)


def _sorted(values_QN: jax.Array, mask_N: Array) -> jax.Array:
    """The values of the used rows in ascending order, then the others."""
    order_QN = jnp.argsort(jnp.where(mask_N[None], values_QN, jnp.inf), axis=1)
    return jnp.take_along_axis(values_QN, order_QN, axis=1)
