"""Ranking losses: how badly a user vector scores the next item against the other candidates.

Every function returns one loss per row, float32 `[N]`, neither masked nor reduced: which rows count, and over how many
devices a mean runs, is the caller's business; so is who the candidates are. A score is the dot product over the
temperature; whether vectors are normalised is the model's business. Every loss is finite, also on padding rows whose
target means nothing.

Shape letters: N rows, I candidates, U distinct items of a batch, K items of a block, D width.
"""

import functools

import jax
import jax.numpy as jnp

from llmrec_jax.types import Array

# The score of what is no candidate. Finite, because -inf - (-inf) is NaN in a log-sum-exp and in its gradient.
_EXCLUDED = -1e30


def softmax(user_ND: Array, items_ID: Array, target_N: Array, *, temperature: float, block_size: int) -> jax.Array:
    """Exact softmax cross entropy over all items: `logsumexp_i s(u, i) - s(u, target)`.

    Scores exist for one block of items at a time, in the backward pass too (where they are computed again), so they
    take `N * block_size` floats whatever the number of items, which need not be a multiple of `block_size`.

    Args:
      user_ND: user vectors.
      items_ID: item vectors.
      target_N: int, index into `items_ID` of the right item.
      temperature: divides the dot products.
      block_size: items scored at a time.

    Returns:
      float32 `[N]`.

    Raises:
      ValueError: `block_size` is below 1.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    return _softmax(user_ND, items_ID, target_N, temperature, min(block_size, len(items_ID)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _softmax(user_ND: Array, items_ID: Array, target_N: Array, temperature: float, block_size: int) -> jax.Array:
    return _softmax_forward(user_ND, items_ID, target_N, temperature, block_size)[0]


def _softmax_forward(
    user_ND: Array, items_ID: Array, target_N: Array, temperature: float, block_size: int
) -> tuple[jax.Array, tuple[Array, ...]]:
    def add_block(carry: tuple[jax.Array, jax.Array], block: tuple[jax.Array, jax.Array]) -> tuple:
        total_N, right_N = carry
        items_KD, id_K = block
        score_NK = jnp.where(id_K[None] >= 0, _scores(user_ND, items_KD, temperature), _EXCLUDED)
        total_N = jnp.logaddexp(total_N, jax.nn.logsumexp(score_NK, axis=1))
        # Picked here rather than gathered from items_ID: rounded as in the sum, and no gather from sharded items.
        right_N = right_N + jnp.where(id_K[None] == target_N[:, None], score_NK, 0.0).sum(axis=1)
        return (total_N, right_N), None

    empty_N = jnp.zeros(len(user_ND), jnp.float32)
    (total_N, right_N), _ = jax.lax.scan(add_block, (empty_N + _EXCLUDED, empty_N), _blocks(items_ID, block_size))
    return total_N - right_N, (user_ND, items_ID, target_N, total_N)


def _softmax_backward(
    temperature: float, block_size: int, saved: tuple[Array, ...], gradient_N: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    """`d loss / d score = probability - is_target`; written out, fewer passes over the scores than by autodiff."""
    user_ND, items_ID, target_N, total_N = saved

    def add_block(user_gradient_ND: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        items_KD, id_K = block
        probability_NK = jnp.exp(_scores(user_ND, items_KD, temperature) - total_N[:, None])
        error_NK = jnp.where(id_K[None] >= 0, probability_NK, 0.0) - (id_K[None] == target_N[:, None])
        error_NK = error_NK * (gradient_N[:, None] / temperature)
        return user_gradient_ND + error_NK @ items_KD, error_NK.T @ user_ND

    user_gradient_ND, item_gradient_BKD = jax.lax.scan(
        add_block, jnp.zeros(user_ND.shape, jnp.float32), _blocks(items_ID, block_size)
    )
    item_gradient_ID = item_gradient_BKD.reshape(-1, items_ID.shape[1])[: len(items_ID)]
    return user_gradient_ND.astype(user_ND.dtype), item_gradient_ID.astype(items_ID.dtype), None


_softmax.defvjp(_softmax_forward, _softmax_backward)


def _blocks(items_ID: Array, block_size: int) -> tuple[jax.Array, jax.Array]:
    """The items in blocks `[blocks, K, D]` and their numbers, -1 on the padding of the last."""
    num_items, width = items_ID.shape
    padding = -num_items % block_size
    numbers = jnp.pad(jnp.arange(num_items), (0, padding), constant_values=-1)
    return jnp.pad(items_ID, ((0, padding), (0, 0))).reshape(-1, block_size, width), numbers.reshape(-1, block_size)


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
