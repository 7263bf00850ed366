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

from llmrec_jax.types import ALONE, Array, Shards

# The score of what is no candidate. Finite, because -inf - (-inf) is NaN in a log-sum-exp and in its gradient.
_EXCLUDED = -1e30


def softmax(
    user_ND: Array,
    items_ID: Array,
    target_N: Array,
    *,
    item_ids_I: Array,
    temperature: float,
    block_size: int,
    shards: Shards = ALONE,
) -> jax.Array:
    """Exact softmax cross entropy over all items: `logsumexp_i s(u, i) - s(u, target)`.

    Items may lie in shares on several devices. Each scores all users against its own; of a user's scores only their sum
    and the target's travel. Scores exist for one block of items at a time, in the backward pass too (where they are
    computed again): `N * block_size` floats over all devices, whatever the number of items.

    Args:
      user_ND: user vectors, the same on every device.
      items_ID: item vectors, as many to a share; the shares in sight, end to end.
      target_N: int, number of the right item.
      item_ids_I: int, number of each item; -1 on what is no candidate.
      temperature: divides the dot products.
      block_size: items scored at a time, over all devices.
      shards: how the shares meet.

    Returns:
      float32 `[N]`, the same on every device.

    Raises:
      ValueError: `block_size` is below 1.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")

    def of_share(share: tuple[Array, Array], whole: tuple[Array, Array]) -> tuple[jax.Array, jax.Array]:
        (items_ID, item_ids_I), (user_ND, target_N) = share, whole
        size = min(max(block_size // shards.size, 1), len(items_ID))
        return _log_sum(user_ND, items_ID, item_ids_I, target_N, temperature, size)

    total_CN, right_CN = shards.each(of_share)((items_ID, item_ids_I), (user_ND, target_N))
    highest_N = shards.max(jax.lax.stop_gradient(total_CN.max(axis=0)))
    sum_N, right_N = shards.sum((jnp.exp(total_CN - highest_N[None]).sum(axis=0), right_CN.sum(axis=0)))
    return highest_N + jnp.log(sum_N) - right_N


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _log_sum(
    user_ND: Array, items_ID: Array, item_ids_I: Array, target_N: Array, temperature: float, block_size: int
) -> tuple[jax.Array, jax.Array]:
    """Of one share: the log of the sum of the exponentials of the scores, and the target's score, 0 where it is not."""
    return _log_sum_forward(user_ND, items_ID, item_ids_I, target_N, temperature, block_size)[0]


def _log_sum_forward(
    user_ND: Array, items_ID: Array, item_ids_I: Array, target_N: Array, temperature: float, block_size: int
) -> tuple[tuple[jax.Array, jax.Array], tuple[Array, ...]]:
    def add_block(carry: tuple[jax.Array, jax.Array], block: tuple[jax.Array, jax.Array]) -> tuple:
        total_N, right_N = carry
        items_KD, id_K = block
        score_NK = _candidate_scores(user_ND, items_KD, id_K, temperature)
        total_N = jnp.logaddexp(total_N, jax.nn.logsumexp(score_NK, axis=1))
        # Picked here rather than gathered from items_ID: rounded as in the sum, and the target is in one share only.
        right_N = right_N + jnp.where(id_K[None] == target_N[:, None], score_NK, 0.0).sum(axis=1)
        return (total_N, right_N), None

    empty_N = jnp.zeros(len(user_ND), jnp.float32)
    start = (empty_N + _EXCLUDED, empty_N)
    (total_N, right_N), _ = jax.lax.scan(add_block, start, _blocks(items_ID, item_ids_I, block_size))
    return (total_N, right_N), (user_ND, items_ID, item_ids_I, target_N, total_N)


def _log_sum_backward(
    temperature: float, block_size: int, saved: tuple[Array, ...], gradients: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array, None, None]:
    """`d total / d score = probability`, `d right / d score = is_target`: fewer passes over them than autodiff."""
    user_ND, items_ID, item_ids_I, target_N, total_N = saved
    total_gradient_N, right_gradient_N = (gradient_N / temperature for gradient_N in gradients)

    def add_block(user_gradient_ND: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        items_KD, id_K = block
        probability_NK = jnp.exp(_candidate_scores(user_ND, items_KD, id_K, temperature) - total_N[:, None])
        is_target_NK = id_K[None] == target_N[:, None]
        error_NK = probability_NK * total_gradient_N[:, None] + is_target_NK * right_gradient_N[:, None]
        return user_gradient_ND + error_NK @ items_KD, error_NK.T @ user_ND

    user_gradient_ND, item_gradient_BKD = jax.lax.scan(
        add_block, jnp.zeros(user_ND.shape, jnp.float32), _blocks(items_ID, item_ids_I, block_size)
    )
    item_gradient_ID = item_gradient_BKD.reshape(-1, items_ID.shape[1])[: len(items_ID)]
    return user_gradient_ND.astype(user_ND.dtype), item_gradient_ID.astype(items_ID.dtype), None, None


_log_sum.defvjp(_log_sum_forward, _log_sum_backward)


def _candidate_scores(user_ND: Array, items_KD: Array, id_K: Array, temperature: float) -> jax.Array:
    """float32 `[N, K]`; of what is no candidate so low that its exponential is 0."""
    return _scores(user_ND, items_KD, temperature) + jnp.where(id_K >= 0, 0.0, _EXCLUDED)[None]


def _blocks(items_ID: Array, item_ids_I: Array, block_size: int) -> tuple[jax.Array, jax.Array]:
    """The items in blocks `[blocks, K, D]` and their numbers, -1 on the padding of the last."""
    num_items, width = items_ID.shape
    padding = -num_items % block_size
    ids_I = jnp.pad(item_ids_I, (0, padding), constant_values=-1)
    return jnp.pad(items_ID, ((0, padding), (0, 0))).reshape(-1, block_size, width), ids_I.reshape(-1, block_size)


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
    """float32 `[N, M]`, whatever the dtype of the vectors."""
    return jnp.matmul(user_ND, items_MD.T, preferred_element_type=jnp.float32) / temperature
