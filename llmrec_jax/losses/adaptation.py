"""Domain-adaptation losses: distances between the feature distributions of two domains, and gradient reversal.

Pure functions that return a float32 scalar to minimize: a distance (`coral`, `mk_mmd`), or the discriminator's loss
(`dann`), which the features maximize because `gradient_reversal` flips their gradient. Statistics run over the rows
given, so pass the global batch, not one device's shard.

Both sides take an optional mask (True: the row is used). Masked rows may hold any values and change neither loss nor
gradient, so one array can be passed twice with complementary masks. If a side has too few rows (a distance needs two,
the classifier one), the loss and its gradient are 0.

Shape letters: B rows of a side (the two may differ), M rows of both sides, D width.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.types import Array

_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def coral(
    source_BD: Array, target_BD: Array, source_mask_B: Array | None = None, target_mask_B: Array | None = None
) -> jax.Array:
    """Deep CORAL (arXiv:1607.01719): `|C_s - C_t|_F^2 / (4 D^2)` of the unbiased covariances `C`; ignores the means."""
    source_BD, source_mask_B = _rows(source_BD, source_mask_B)
    target_BD, target_mask_B = _rows(target_BD, target_mask_B)
    difference_DD = _covariance(source_BD, source_mask_B) - _covariance(target_BD, target_mask_B)
    distance = jnp.sum(difference_DD**2) / (4 * source_BD.shape[1] ** 2)
    return jnp.where((source_mask_B.sum() >= 2) & (target_mask_B.sum() >= 2), distance, 0.0)


def mk_mmd(
    source_BD: Array,
    target_BD: Array,
    source_mask_B: Array | None = None,
    target_mask_B: Array | None = None,
    *,
    scales: tuple[float, ...] = _SCALES,
) -> jax.Array:
    """Squared maximum mean discrepancy with several Gaussian kernels (DAN, arXiv:1502.02791), unbiased.

    `mean_{i != j} k(s_i, s_j) + mean_{i != j} k(t_i, t_j) - 2 mean_{i, j} k(s_i, t_j)`, the U-statistic, whose
    expectation is 0 for equal distributions, so it may be negative. `k(x, y)` is the mean over `scales` of
    `exp(-|x - y|^2 / (scale * m))`, where `m` is the lower median of `|x - y|^2` over all pairs of different rows of
    both sides together, with its gradient stopped.
    """
    source_BD, source_mask_B = _rows(source_BD, source_mask_B)
    target_BD, target_mask_B = _rows(target_BD, target_mask_B)
    return mk_mmd_within(
        jnp.concatenate([source_BD, target_BD]),
        jnp.concatenate([source_mask_B, jnp.zeros(len(target_BD), bool)]),
        jnp.concatenate([jnp.zeros(len(source_BD), bool), target_mask_B]),
        scales=scales,
    )


def mk_mmd_within(
    rows_MD: Array, is_source_M: Array, is_target_M: Array, *, scales: tuple[float, ...] = _SCALES
) -> jax.Array:
    """`mk_mmd` between the source rows and the target rows of one array; rows that are neither are ignored.

    Equals `mk_mmd` with the array passed twice, but computes a quarter of the pairs.
    """
    mask_M = is_source_M | is_target_M
    rows_MD, _ = _rows(rows_MD, mask_M)
    num_source, num_target = is_source_M.sum(), is_target_M.sum()
    is_pair_MM = mask_M[:, None] & mask_M[None] & ~jnp.eye(len(rows_MD), dtype=bool)

    squared_MM = _squared_distances(rows_MD, mask_M)
    # A floor, because the median is a rounding error if all rows are equal.
    floor = 1e-6 * jnp.sum(rows_MD**2) / jnp.maximum(num_source + num_target, 1) + 1e-30
    bandwidth = jax.lax.stop_gradient(jnp.maximum(_median(squared_MM, is_pair_MM), floor))

    @jax.checkpoint  # saves the distances for the backward pass instead of one array per scale
    def discrepancy(squared_MM: jax.Array) -> jax.Array:
        kernel_MM = sum(jnp.exp(-squared_MM / (scale * bandwidth)) for scale in scales) / len(scales)
        num_same_M = jnp.where(is_source_M, num_source * (num_source - 1), num_target * (num_target - 1))
        weight_same_M, weight_other = 1 / jnp.maximum(num_same_M, 1), -1 / jnp.maximum(num_source * num_target, 1)
        weight_MM = jnp.where(is_source_M[:, None] == is_source_M[None], weight_same_M[:, None], weight_other)
        return jnp.sum(jnp.where(is_pair_MM, weight_MM * kernel_MM, 0.0))

    return jnp.where((num_source >= 2) & (num_target >= 2), discrepancy(squared_MM), 0.0)


@jax.custom_vjp
def gradient_reversal(x: Array, scale: Array | float) -> Array:
    """The identity; its gradient is multiplied by `-scale` (arXiv:1505.07818). `scale` gets no gradient."""
    return x


def _reversal_forward(x: Array, scale: Array | float) -> tuple[Array, Array | float]:
    return x, scale


def _reversal_backward(scale: Array | float, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (-scale * gradient).astype(gradient.dtype), jnp.zeros_like(scale)


gradient_reversal.defvjp(_reversal_forward, _reversal_backward)


def dann_schedule(progress: Array | float) -> jax.Array:
    """Scale of the reversal (arXiv:1505.07818): `2 / (1 + exp(-10 p)) - 1`, from 0 at progress 0 to 1 at progress 1."""
    return 2 / (1 + jnp.exp(-10 * jnp.asarray(progress, jnp.float32))) - 1


def dann(
    source_logits_B: Array,
    target_logits_B: Array,
    source_mask_B: Array | None = None,
    target_mask_B: Array | None = None,
) -> jax.Array:
    """Domain classification loss (arXiv:1505.07818): binary cross entropy of logits, source = 0, target = 1.

    `(mean_s softplus(l_s) + mean_t softplus(-l_t)) / 2`: both sides have equal weight, whatever their sizes.
    """
    source_B, source_mask_B = _rows(source_logits_B, source_mask_B)
    target_B, target_mask_B = _rows(target_logits_B, target_mask_B)
    return _balanced(jax.nn.softplus(source_B), jax.nn.softplus(-target_B), source_mask_B, target_mask_B)


def domain_accuracy(
    source_logits_B: Array,
    target_logits_B: Array,
    source_mask_B: Array | None = None,
    target_mask_B: Array | None = None,
) -> jax.Array:
    """Accuracy of the discriminator, averaged over the two sides; a logit of 0 counts half."""
    source_B, source_mask_B = _rows(source_logits_B, source_mask_B)
    target_B, target_mask_B = _rows(target_logits_B, target_mask_B)
    return _balanced((1 - jnp.sign(source_B)) / 2, (1 + jnp.sign(target_B)) / 2, source_mask_B, target_mask_B)


def _rows(rows: Array, mask_B: Array | None) -> tuple[jax.Array, jax.Array]:
    """The rows as float32, with masked rows set to 0 so that NaN in them does not reach gradients; and the mask."""
    if mask_B is None:
        mask_B = jnp.ones(len(rows), bool)
    return jnp.where(jnp.expand_dims(mask_B, tuple(range(1, rows.ndim))), rows, 0).astype(jnp.float32), mask_B


def _balanced(source_B: Array, target_B: Array, source_mask_B: Array, target_mask_B: Array) -> jax.Array:
    """Mean of the two sides' means; 0 if a side has no rows."""
    num_source, num_target = source_mask_B.sum(), target_mask_B.sum()
    source = jnp.sum(source_B * source_mask_B) / jnp.maximum(num_source, 1)
    target = jnp.sum(target_B * target_mask_B) / jnp.maximum(num_target, 1)
    return jnp.where((num_source > 0) & (num_target > 0), (source + target) / 2, 0.0)


def _covariance(rows_BD: jax.Array, mask_B: jax.Array) -> jax.Array:
    centred_BD = _centred(rows_BD, mask_B)
    return jnp.matmul(centred_BD.T, centred_BD, precision="highest") / jnp.maximum(mask_B.sum() - 1, 1)


def _centred(rows_BD: jax.Array, mask_B: jax.Array) -> jax.Array:
    """The rows minus their mean; masked rows are 0 and stay 0."""
    mean_D = rows_BD.sum(axis=0) / jnp.maximum(mask_B.sum(), 1)
    return jnp.where(mask_B[:, None], rows_BD - mean_D[None], 0.0)


def _squared_distances(rows_MD: jax.Array, mask_M: jax.Array) -> jax.Array:
    """`|x|^2 + |y|^2 - 2 x y`, `[M, M]`, with the rows centred, because a common offset would lose precision."""
    centred_MD = _centred(rows_MD, mask_M)
    norm_M = jnp.sum(centred_MD**2, axis=1)
    product_MM = jnp.matmul(centred_MD, centred_MD.T, precision="highest")
    return jnp.maximum(norm_M[:, None] + norm_M[None] - 2 * product_MM, 0.0)


def _median(values: jax.Array, mask: jax.Array) -> jax.Array:
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
