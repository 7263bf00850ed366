"""Ranking losses: softmax cross entropy of the next item among candidates.

Every function returns one loss per row, float32 `[N]`, neither masked nor reduced; the caller masks padding rows and
takes the mean. A score is a dot product divided by the temperature; `models/scoring.py` normalizes the vectors if
scores are cosines. Losses are finite on padding rows too.

Shape letters: those of `types`, I being the candidates; C visible shards of them (see `Collectives`), K items of a
block.
"""

import functools

import jax
import jax.numpy as jnp

from llmrec_jax.errors import UserError
from llmrec_jax.types import SINGLE_DEVICE, Array, Collectives

# Score of items that are not candidates. Finite, because -inf - (-inf) is NaN in a logsumexp and its gradient.
EXCLUDED = -1e30


def softmax(
    user_ND: Array,
    items_ID: Array,
    target_ND: Array,
    *,
    is_candidate_I: Array,
    temperature: float,
    block_size: int,
    ids_I: Array | None = None,
    excluded_NS: Array | None = None,
    collectives: Collectives = SINGLE_DEVICE,
) -> jax.Array:
    """Exact softmax cross entropy over all items: `logsumexp_i s(u, i) - s(u, target)`.

    Items may be sharded. Each device scores all users against its shard, and only the per-user sums are reduced. Scores
    are computed one block of items at a time, and recomputed in the backward pass, so they take `N * block_size` floats
    over all devices, whatever the number of items.

    Args:
      user_ND: user vectors, replicated.
      items_ID: item vectors of the visible shards, concatenated; all shards have the same size.
      target_ND: vector of each row's target, which is one of the candidates; replicated.
      is_candidate_I: bool, False on items to exclude.
      temperature: divides the dot products.
      block_size: items scored at a time, over all devices.
      ids_I: int, identity of each item, ascending within each shard; required with `excluded_NS`.
      excluded_NS: int, identities of the items that are no candidates of a row, any number of times; -1: none.
      collectives: to reduce over the shards.

    Returns:
      float32 `[N]`, replicated.

    Raises:
      ValueError: `block_size` is below 1.
    """
    if block_size < 1:
        raise UserError(f"block_size must be at least 1, got {block_size}")
    # In float32, so that a gradient is summed over blocks before it is rounded to the dtype of the vectors.
    user_ND, items_ID, target_ND = (jnp.asarray(x, jnp.float32) for x in (user_ND, items_ID, target_ND))

    if excluded_NS is None:
        ids_I, excluded_NS = jnp.arange(len(items_ID)), jnp.zeros((len(user_ND), 0), jnp.int32)
    assert ids_I is not None

    def of_shard(shard: tuple[Array, Array, Array], rows: tuple[Array, Array]) -> jax.Array:
        (items_ID, is_candidate_I, ids_I), (user_ND, excluded_NS) = shard, rows
        index_NS = jnp.minimum(jnp.searchsorted(ids_I, excluded_NS), len(ids_I) - 1)
        index_NS = jnp.where(ids_I[index_NS] == excluded_NS, index_NS, -1)
        num_blocks = min(-(-len(items_ID) * collectives.num_shards // block_size), len(items_ID))
        return _log_sum(user_ND, items_ID, is_candidate_I, index_NS, temperature, num_blocks)

    total_CN = collectives.map_shards(of_shard)((items_ID, is_candidate_I, ids_I), (user_ND, excluded_NS))
    highest_N = collectives.pmax(jax.lax.stop_gradient(total_CN.max(axis=0)))
    sum_N = collectives.psum(jnp.exp(total_CN - highest_N[None]).sum(axis=0))
    right_N = jnp.sum(user_ND * target_ND, axis=1) / temperature
    return highest_N + jnp.log(sum_N) - right_N


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _log_sum(
    user_ND: Array, items_ID: Array, is_candidate_I: Array, excluded_NS: Array, temperature: float, num_blocks: int
) -> jax.Array:
    """Logsumexp of each row's scores over the items of one shard; `excluded_NS` are indices into them, or -1."""
    return _log_sum_forward(user_ND, items_ID, is_candidate_I, excluded_NS, temperature, num_blocks)[0]


def _log_sum_forward(
    user_ND: Array, items_ID: Array, is_candidate_I: Array, excluded_NS: Array, temperature: float, num_blocks: int
) -> tuple[jax.Array, tuple[Array, ...]]:
    def add_block(number: jax.Array, total_N: jax.Array) -> jax.Array:
        start, items_KD, is_new_K = _block(number, num_blocks, items_ID, is_candidate_I)
        score_NK = _candidate_scores(user_ND, items_KD, is_new_K, excluded_NS - start, temperature)
        return jnp.logaddexp(total_N, jax.nn.logsumexp(score_NK, axis=1))

    total_N = jax.lax.fori_loop(0, num_blocks, add_block, jnp.full(len(user_ND), EXCLUDED))
    return total_N, (user_ND, items_ID, is_candidate_I, excluded_NS, total_N)


def _log_sum_backward(
    temperature: float, num_blocks: int, saved: tuple[Array, ...], gradient_N: jax.Array
) -> tuple[jax.Array, jax.Array, None, None]:
    """Uses `d total / d score = probability`, in fewer passes over the scores than autodiff."""
    user_ND, items_ID, is_candidate_I, excluded_NS, total_N = saved

    def add_block(number: jax.Array, gradients: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        user_gradient_ND, item_gradient_ID = gradients
        start, items_KD, is_new_K = _block(number, num_blocks, items_ID, is_candidate_I)
        score_NK = _candidate_scores(user_ND, items_KD, is_new_K, excluded_NS - start, temperature)
        probability_NK = jnp.exp(score_NK - total_N[:, None])
        error_NK = probability_NK * (gradient_N / temperature)[:, None]
        before_KD = jax.lax.dynamic_slice_in_dim(item_gradient_ID, start, len(items_KD))
        after_KD = before_KD + _product(error_NK.T, user_ND)
        item_gradient_ID = jax.lax.dynamic_update_slice_in_dim(item_gradient_ID, after_KD, start, 0)
        return user_gradient_ND + _product(error_NK, items_KD), item_gradient_ID

    zeros = (jnp.zeros_like(user_ND), jnp.zeros_like(items_ID))
    return *jax.lax.fori_loop(0, num_blocks, add_block, zeros), None, None


_log_sum.defvjp(_log_sum_forward, _log_sum_backward)


def _block(
    number: jax.Array, num_blocks: int, items_ID: Array, is_candidate_I: Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The start of a block, its items [K, D], and which of them are candidates not in an earlier block.

    The last block ends at the last item and may overlap the previous one, because padding would copy all items.
    """
    size = -(-len(items_ID) // num_blocks)
    begin = number * size
    start = jnp.minimum(begin, len(items_ID) - size)
    items_KD, is_candidate_K = (jax.lax.dynamic_slice_in_dim(x, start, size) for x in (items_ID, is_candidate_I))
    return start, items_KD, is_candidate_K & (start + jnp.arange(size) >= begin)


def _candidate_scores(
    user_ND: Array, items_KD: Array, is_candidate_K: Array, excluded_NS: Array, temperature: float
) -> jax.Array:
    """Scores, float32 `[N, K]`; so low for items that are not candidates that their exponential is 0.

    `excluded_NS` are each row's further items that are not candidates, as indices into the block; others are ignored.
    """
    score_NK = scores(user_ND, items_KD, temperature) + jnp.where(is_candidate_K, 0.0, EXCLUDED)[None]
    if not excluded_NS.shape[1]:
        return score_NK
    column_NS = jnp.where(excluded_NS < 0, len(items_KD), excluded_NS)  # a negative index would count from the end
    return score_NK.at[jnp.arange(len(user_ND))[:, None], column_NS].set(EXCLUDED, mode="drop")


def in_batch(
    user_ND: Array,
    items_UD: Array,
    target_N: Array,
    *,
    temperature: float,
    item_ids_U: Array,
    item_mask_U: Array,
    log_q_U: Array,
) -> jax.Array:
    """Softmax cross entropy over the batch's items, with the logQ correction.

    Popular items are in more batches, so each score, including the target's, is `s(u, i) - log q_i` (Yi et al.,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys 2019). Other copies of the
    target are excluded.

    Args:
      user_ND: user vectors.
      items_UD: item vectors of the batch.
      target_N: int, index of the target in `items_UD`.
      temperature: divides the dot products.
      item_ids_U: int, identity of each item.
      item_mask_U: bool, False on items to exclude, which may hold any values; True on every row's target.
      log_q_U: log probability that a batch contains the item; finite where `item_mask_U` is True.

    Returns:
      float32 `[N]`.
    """
    # Zeroed before scoring: a NaN in the padding would reach the gradients despite the mask below.
    items_UD = jnp.where(item_mask_U[:, None], items_UD, 0)
    score_NU = scores(user_ND, items_UD, temperature) - jnp.where(item_mask_U, log_q_U, 0)[None]
    is_target_NU = jnp.arange(len(items_UD))[None] == target_N[:, None]
    repeats_target_NU = item_ids_U[None] == jnp.take(item_ids_U, target_N)[:, None]
    is_candidate_NU = item_mask_U[None] & ~repeats_target_NU
    score_NU = jnp.where(is_target_NU | is_candidate_NU, score_NU, EXCLUDED)
    right_N = jnp.where(is_target_NU, score_NU, 0.0).sum(axis=1)
    return jax.nn.logsumexp(score_NU, axis=1) - right_N


def scores(user_ND: Array, items_KD: Array, temperature: float) -> jax.Array:
    """Scores of users and items, float32 `[N, K]`."""
    return _product(user_ND, items_KD.T) / temperature


def _product(a: Array, b: Array) -> jax.Array:
    """Matrix product in full float32 on any platform: by default, TPUs round float32 operands to bfloat16."""
    return jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float32)
