"""Ranking losses: how badly a user vector scores the next item against the other candidates.

Every function returns one loss per row, float32 `[N]`, neither masked nor reduced: which rows count, and over how many
devices a mean runs, is the caller's business; so is who the candidates are. A score is the dot product over the
temperature; whether vectors are normalised is the model's business. Every loss is finite, also on padding rows whose
target means nothing.

Shape letters: N rows, I candidates, C shares of them, U distinct items of a batch, K items of a block, D width.
"""

import functools

import jax
import jax.numpy as jnp

from llmrec_jax.errors import UserError
from llmrec_jax.types import SINGLE_DEVICE, Array, Collectives

# The score of what is no candidate. Finite, because -inf - (-inf) is NaN in a log-sum-exp and in its gradient.
_EXCLUDED = -1e30


def softmax(
    user_ND: Array,
    items_ID: Array,
    target_ND: Array,
    *,
    is_candidate_I: Array,
    temperature: float,
    block_size: int,
    collectives: Collectives = SINGLE_DEVICE,
) -> jax.Array:
    """Exact softmax cross entropy over all items: `logsumexp_i s(u, i) - s(u, target)`.

    Items may lie in shares on several devices. Each scores all users against its own; of a user's scores only their sum
    travels. Scores exist for one block of items at a time, in the backward pass too (where they are computed again):
    `N * block_size` floats over all devices, whatever the number of items.

    Args:
      user_ND: user vectors, the same on every device.
      items_ID: item vectors, as many to a share; the shares in sight, end to end.
      target_ND: vector of each row's right item, one of the candidates; the same on every device.
      is_candidate_I: bool, False on items that are not ranked among.
      temperature: divides the dot products.
      block_size: items scored at a time, over all devices.
      collectives: how the shares meet.

    Returns:
      float32 `[N]`, the same on every device.

    Raises:
      ValueError: `block_size` is below 1.
    """
    if block_size < 1:
        raise UserError(f"block_size must be at least 1, got {block_size}")
    # A gradient that is the sum of several is rounded once, however narrow the vectors.
    user_ND, items_ID, target_ND = (jnp.asarray(x, jnp.float32) for x in (user_ND, items_ID, target_ND))

    def of_share(share: tuple[Array, Array], user_ND: Array) -> jax.Array:
        items_ID, is_candidate_I = share
        num_blocks = min(-(-len(items_ID) * collectives.num_shards // block_size), len(items_ID))
        return _log_sum(user_ND, items_ID, is_candidate_I, temperature, num_blocks)

    total_CN = collectives.map_shards(of_share)((items_ID, is_candidate_I), user_ND)
    highest_N = collectives.pmax(jax.lax.stop_gradient(total_CN.max(axis=0)))
    sum_N = collectives.psum(jnp.exp(total_CN - highest_N[None]).sum(axis=0))
    right_N = jnp.sum(user_ND * target_ND, axis=1) / temperature
    return highest_N + jnp.log(sum_N) - right_N


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _log_sum(user_ND: Array, items_ID: Array, is_candidate_I: Array, temperature: float, num_blocks: int) -> jax.Array:
    """Of one share: the log of the sum of the exponentials of the scores."""
    return _log_sum_forward(user_ND, items_ID, is_candidate_I, temperature, num_blocks)[0]


def _log_sum_forward(
    user_ND: Array, items_ID: Array, is_candidate_I: Array, temperature: float, num_blocks: int
) -> tuple[jax.Array, tuple[Array, ...]]:
    def add_block(number: jax.Array, total_N: jax.Array) -> jax.Array:
        _, items_KD, is_new_K = _block(number, num_blocks, items_ID, is_candidate_I)
        score_NK = _candidate_scores(user_ND, items_KD, is_new_K, temperature)
        return jnp.logaddexp(total_N, jax.nn.logsumexp(score_NK, axis=1))

    total_N = jax.lax.fori_loop(0, num_blocks, add_block, jnp.full(len(user_ND), _EXCLUDED))
    return total_N, (user_ND, items_ID, is_candidate_I, total_N)


def _log_sum_backward(
    temperature: float, num_blocks: int, saved: tuple[Array, ...], gradient_N: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    """`d total / d score = probability`, in fewer passes over the scores than autodiff needs."""
    user_ND, items_ID, is_candidate_I, total_N = saved

    def add_block(number: jax.Array, gradients: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        user_gradient_ND, item_gradient_ID = gradients
        start, items_KD, is_new_K = _block(number, num_blocks, items_ID, is_candidate_I)
        probability_NK = jnp.exp(_candidate_scores(user_ND, items_KD, is_new_K, temperature) - total_N[:, None])
        error_NK = probability_NK * (gradient_N / temperature)[:, None]
        before_KD = jax.lax.dynamic_slice_in_dim(item_gradient_ID, start, len(items_KD))
        after_KD = before_KD + _product(error_NK.T, user_ND)
        item_gradient_ID = jax.lax.dynamic_update_slice_in_dim(item_gradient_ID, after_KD, start, 0)
        return user_gradient_ND + _product(error_NK, items_KD), item_gradient_ID

    nothing = (jnp.zeros_like(user_ND), jnp.zeros_like(items_ID))
    return *jax.lax.fori_loop(0, num_blocks, add_block, nothing), None


_log_sum.defvjp(_log_sum_forward, _log_sum_backward)


def _block(
    number: jax.Array, num_blocks: int, items_ID: Array, is_candidate_I: Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where a block starts, its items [K, D], and which of them are candidates that the blocks before do not hold.

    The last block ends with the items and may begin in the one before: to pad them to whole blocks would copy all.
    """
    size = -(-len(items_ID) // num_blocks)
    begin = number * size
    start = jnp.minimum(begin, len(items_ID) - size)
    items_KD, is_candidate_K = (jax.lax.dynamic_slice_in_dim(x, start, size) for x in (items_ID, is_candidate_I))
    return start, items_KD, is_candidate_K & (start + jnp.arange(size) >= begin)


def _candidate_scores(user_ND: Array, items_KD: Array, is_candidate_K: Array, temperature: float) -> jax.Array:
    """float32 `[N, K]`; of what is no candidate so low that its exponential is 0."""
    return _scores(user_ND, items_KD, temperature) + jnp.where(is_candidate_K, 0.0, _EXCLUDED)[None]


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
    """Softmax cross entropy over the batch's items, corrected for how often a batch holds them.

    A batch holds popular items more often, so each score, the target's included, is `s(u, i) - log q_i` (Yi et al.,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys 2019). Items that repeat the
    target under another index are no candidates.

    Args:
      user_ND: user vectors.
      items_UD: item vectors of the batch.
      target_N: int, index into `items_UD` of the right item.
      temperature: divides the dot products.
      item_ids_U: int, identity of each item.
      item_mask_U: bool, False on what is no candidate, which may hold anything; a row's target always is one.
      log_q_U: log probability that a batch holds the item; finite where `item_mask_U`.

    Returns:
      float32 `[N]`.
    """
    # Zeroed before they are scored: a NaN in the padding would come back through the gradient of the mask below.
    items_UD = jnp.where(item_mask_U[:, None], items_UD, 0)
    score_NU = _scores(user_ND, items_UD, temperature) - jnp.where(item_mask_U, log_q_U, 0)[None]
    is_target_NU = jnp.arange(len(items_UD))[None] == target_N[:, None]
    repeats_target_NU = item_ids_U[None] == jnp.take(item_ids_U, target_N)[:, None]
    is_candidate_NU = item_mask_U[None] & ~repeats_target_NU
    score_NU = jnp.where(is_target_NU | is_candidate_NU, score_NU, _EXCLUDED)
    right_N = jnp.where(is_target_NU, score_NU, 0.0).sum(axis=1)
    return jax.nn.logsumexp(score_NU, axis=1) - right_N


def _scores(user_ND: Array, items_MD: Array, temperature: float) -> jax.Array:
    """Scores of users and items, float32 `[N, M]`."""
    return _product(user_ND, items_MD.T) / temperature


def _product(a: Array, b: Array) -> jax.Array:
    """Matrix product in full float32 on any platform: TPUs round float32 operands to bfloat16 unless asked not to."""
    return jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float32)
