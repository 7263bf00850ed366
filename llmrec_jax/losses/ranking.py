"""Ranking losses: how badly a user vector scores the next item against the other candidates.

Every function returns one loss per row, float32 `[N]`, neither masked nor reduced: which rows count, and over how many
devices a mean runs, is the caller's business. A score is the dot product over the temperature; whether vectors are
normalised is the model's business. Items of another group (domain) than the row's are no candidates; the row's own
target always is, so every loss is finite and at least 0, also on padding rows whose target means nothing.

Shape letters: N rows, I items of the catalogue, U distinct items of a batch, K items of a block, D width.
"""

import functools

import jax
import jax.numpy as jnp

from llmrec_jax.types import Array

# The score of what is no candidate. Finite, because -inf - (-inf) is NaN in a log-sum-exp and in its gradient.
_EXCLUDED = -1e30


def softmax(
    user_ND: Array,
    items_ID: Array,
    target_N: Array,
    *,
    temperature: float,
    block_size: int,
    user_group_N: Array | None = None,
    item_group_I: Array | None = None,
) -> jax.Array:
    """Exact softmax cross entropy over the catalogue: `logsumexp_i s(u, i) - s(u, target)`.

    Scores exist for one block of items at a time, in the backward pass too (where they are computed again), so they
    take `N * block_size` floats whatever the size of the catalogue, which need not be a multiple of `block_size`.

    Args:
      user_ND: user vectors.
      items_ID: item vectors of the whole catalogue.
      target_N: int, index into `items_ID` of the right item.
      temperature: divides the dot products.
      block_size: items scored at a time.
      user_group_N: int, group of each row, whose candidates are the items of the same group; None: all items.
      item_group_I: int, group of each item; None together with `user_group_N`.

    Returns:
      float32 `[N]`.

    Raises:
      ValueError: `block_size` is below 1, or one group is given without the other.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    num_items, width = items_ID.shape
    user_group_N, item_group_I = _groups(user_group_N, len(user_ND), item_group_I, num_items)
    padding = -num_items % block_size
    blocks = (
        jnp.pad(items_ID, ((0, padding), (0, 0))).reshape(-1, block_size, width),
        jnp.pad(jnp.arange(num_items), (0, padding), constant_values=-1).reshape(-1, block_size),
        jnp.pad(item_group_I, (0, padding)).reshape(-1, block_size),
    )

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def add_block(carry: tuple[jax.Array, jax.Array], block: tuple[jax.Array, ...]) -> tuple:
        total_N, right_N = carry
        items_KD, id_K, group_K = block
        score_NK = _scores(user_ND, items_KD, temperature)
        is_target_NK = id_K[None] == target_N[:, None]
        is_candidate_NK = is_target_NK | ((id_K[None] >= 0) & (group_K[None] == user_group_N[:, None]))
        score_NK = jnp.where(is_candidate_NK, score_NK, _EXCLUDED)
        total_N = jnp.logaddexp(total_N, jax.nn.logsumexp(score_NK, axis=1))
        # Picked here rather than gathered from items_ID: rounded as in the sum, and no gather from sharded items.
        right_N = right_N + jnp.where(is_target_NK, score_NK, 0.0).sum(axis=1)
        return (total_N, right_N), None

    empty_N = jnp.zeros(len(user_ND), jnp.float32)
    (total_N, right_N), _ = jax.lax.scan(add_block, (empty_N + _EXCLUDED, empty_N), blocks)
    return total_N - right_N


def in_batch(
    user_ND: Array,
    items_UD: Array,
    target_N: Array,
    *,
    temperature: float,
    item_ids_U: Array,
    item_mask_U: Array,
    log_q_U: Array,
    user_group_N: Array | None = None,
    item_group_U: Array | None = None,
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
      item_mask_U: bool, False on padding, which may hold anything.
      log_q_U: log probability that a batch holds the item; finite where `item_mask_U`.
      user_group_N: int, group of each row, whose candidates are the items of the same group; None: all items.
      item_group_U: int, group of each item; None together with `user_group_N`.

    Returns:
      float32 `[N]`.

    Raises:
      ValueError: one group is given without the other.
    """
    user_group_N, item_group_U = _groups(user_group_N, len(user_ND), item_group_U, len(items_UD))
    # Zeroed before they are scored: a NaN in the padding would come back through the gradient of the mask below.
    items_UD = jnp.where(item_mask_U[:, None], items_UD, 0)
    score_NU = _scores(user_ND, items_UD, temperature) - jnp.where(item_mask_U, log_q_U, 0)[None]
    is_target_NU = jnp.arange(len(items_UD))[None] == target_N[:, None]
    repeats_target_NU = item_ids_U[None] == jnp.take(item_ids_U, target_N)[:, None]
    is_candidate_NU = item_mask_U[None] & ~repeats_target_NU & (item_group_U[None] == user_group_N[:, None])
    score_NU = jnp.where(is_target_NU | is_candidate_NU, score_NU, _EXCLUDED)
    right_N = jnp.where(is_target_NU, score_NU, 0.0).sum(axis=1)
    return jax.nn.logsumexp(score_NU, axis=1) - right_N


def _scores(user_ND: Array, items_MD: Array, temperature: float) -> jax.Array:
    """float32 `[N, M]`, whatever the dtype of the vectors."""
    return jnp.matmul(user_ND, items_MD.T, preferred_element_type=jnp.float32) / temperature


def _groups(
    user_group_N: Array | None, num_users: int, item_group_M: Array | None, num_items: int
) -> tuple[Array, Array]:
    """The groups as given, or one group of all."""
    if user_group_N is None and item_group_M is None:
        return jnp.zeros(num_users, jnp.int32), jnp.zeros(num_items, jnp.int32)
    if user_group_N is None or item_group_M is None:
        raise ValueError("the groups of users and items are given together or not at all")
    return user_group_N, item_group_M
