"""Full-catalogue ranking: exact ranks among all items except the history, streamed over users and items.

A user's rank is 1 + items scored strictly higher + half of the ties. Items are sharded over the devices and integer
counts are summed, so ranks are the same for any batch size and number of devices (see `blocks`).

Shape letters: those of `blocks`, and G groups of a block whose scores are counted in one word.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from llmrec_jax.evaluate.blocks import Block, Layout, Pairs, stream

USERS, ITEMS = 512, 1024  # scored at a time; `_rank_tile` needs ITEMS >= USERS
COUNTED = 512  # scores counted in one word (see `_word`); divides ITEMS
CUTOFFS = (10, 50)


class Ranks(NamedTuple):
    """Counts per user."""

    higher_N: np.ndarray  # int64: items scored strictly higher than the target
    ties_N: np.ndarray  # int64: other items with the target's score

    @property
    def rank_N(self) -> np.ndarray:
        """1 + strictly higher + half of the ties, float64."""
        return 1.0 + self.higher_N + 0.5 * self.ties_N


def metrics(rank_N: np.ndarray) -> dict[str, float]:
    """Recall@k (the hit rate, with one target per user), NDCG@k and MRR from exact ranks; NaN without users."""
    if not len(rank_N):
        return {name: float("nan") for k in CUTOFFS for name in (f"recall@{k}", f"ndcg@{k}")} | {"mrr": float("nan")}
    gain_N = 1.0 / np.log2(1.0 + rank_N)
    result = {}
    for k in CUTOFFS:
        result[f"recall@{k}"] = float(np.sum(rank_N <= k) / len(rank_N))
        result[f"ndcg@{k}"] = float(np.sum(np.where(rank_N <= k, gain_N, 0.0)) / len(rank_N))
    return result | {"mrr": float(np.sum(1.0 / rank_N) / len(rank_N))}


def rank(
    users_ND: np.ndarray,
    items_ID: Any,
    target_N: np.ndarray,
    seen: Sequence[np.ndarray],
    *,
    mesh: Mesh,
    batch_size: int = 256,
) -> Ranks:
    """Rank each user's target among all items except those the user has seen.

    Args:
      users_ND: float32 user vectors.
      items_ID: float32 item vectors; a score is their dot product with the user vector.
      target_N: int32 item numbers, one per user; a target is ranked even if it is among the seen items.
      seen: for each user, the item numbers to exclude (any number of them).
      mesh: the devices to use; the items are sharded over them.
      batch_size: users on the devices at a time; changes memory and speed only.

    Raises:
      FloatingPointError: a score is NaN.
      ValueError: a seen item or a target is not among the items.
    """
    items_ID = np.asarray(items_ID)
    layout = Layout(len(items_ID), ITEMS, USERS, mesh)
    user_N = np.arange(len(target_N))
    user_Q = np.concatenate(
        [np.repeat(user_N, [len(items) for items in seen]), user_N]
    )  # a target does not compete with itself
    left_out = Pairs.of(user_Q, np.concatenate([*seen, target_N]), layout)
    rows = (users_ND, items_ID[target_N])
    higher_N, ties_N, nans_N = stream(_rank_tile, rows, items_ID, left_out, batch_size)
    if nans_N.any():
        raise FloatingPointError(f"{int(nans_N.sum())} of the scores of {int((nans_N > 0).sum())} users are NaN")
    return Ranks(higher_N.astype(np.int64), ties_N.astype(np.int64))


def _rank_tile(
    layout: Layout, items_ID: jax.Array, pairs_CY: jax.Array, users_RD: jax.Array, targets_RD: jax.Array
) -> tuple[jax.Array, ...]:
    """Counts of one tile: (higher_R, ties_R, nans_R)."""
    # Computed by a product of the same shape as a block's, so that a copy of the target ties exactly.
    padded_JD = jnp.pad(targets_RD, ((0, layout.block - layout.tile), (0, 0)))
    target_R = jnp.diagonal(jnp.matmul(padded_JD, users_RD.T, precision="highest"))

    def count(counts: tuple[jax.Array, ...], block: Block) -> tuple[jax.Array, ...]:
        word_JR = jnp.where(block.real_J[:, None], _word(block.scores_JR, target_R[None]), 0)
        words_GR = jnp.sum(word_JR.reshape(-1, min(COUNTED, layout.block), layout.tile), axis=1)
        higher_R, ties_R, nans_R = (jnp.sum(part, axis=0) for part in _unpacked(words_GR))
        # Counting all items and subtracting the excluded ones is faster than masking them. A user has at most ITEMS
        # of them in a block; their count of NaN may overflow, but is not used.
        row_Y = jnp.where(block.pair_Y < word_JR.size, block.pair_Y % layout.tile, layout.tile)
        score_Y = block.scores_JR.reshape(-1).at[block.pair_Y].get(mode="clip")
        word_Y = _word(score_Y, target_R.at[row_Y].get(mode="clip"))
        out_higher_R, out_ties_R, _ = _unpacked(jnp.zeros(layout.tile, jnp.int32).at[row_Y].add(word_Y, mode="drop"))
        return counts[0] + higher_R - out_higher_R, counts[1] + ties_R - out_ties_R, counts[2] + nans_R

    zero_R = jnp.zeros(len(users_RD), jnp.int32)
    counts = layout.scan(count, (zero_R, zero_R, zero_R), items_ID, users_RD, pairs_CY)
    return jax.lax.psum(counts, layout.axes)


def _word(score: jax.Array, target: jax.Array) -> jax.Array:
    """Whether a score is higher, a tie or NaN, as three bit fields of one word (11, 11 and 10 bits), so that one sum
    counts all three: up to 2047 higher scores, 2047 ties and 1023 NaN.
    """
    return jnp.where(score > target, 1, jnp.where(score == target, 1 << 11, jnp.where(jnp.isnan(score), 1 << 22, 0)))


def _unpacked(word: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return word & 2047, (word >> 11) & 2047, jax.lax.shift_right_logical(word, 22)
