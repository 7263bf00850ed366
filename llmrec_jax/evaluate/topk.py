"""The best items of every user: exact, or approximate where a TPU makes that fast; streamed over users and items.

The items are cut over the devices; each merges the best of its blocks, then the devices merge theirs. Of equal scores
the lower item number wins, so the answer is the same for any batch of users and any number of devices. Ranks are
counted in `ranking`; nothing here sorts a catalogue for them.

Shape letters beside those of `types.py`: R users of a tile, J items of a block, W seen pairs of a tile and a block,
K best items, G groups of a block or items of a group, C candidates.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.blocks import Block, Layout, Pairs, stream

TILE = 64  # users scored at a time
BLOCK = 16384  # items scored at a time: fewer, larger selections are cheaper than many small ones
GROUP = 32  # items of a group, see `_best_of_block`; divides 128


class Best(NamedTuple):
    """The best items of every user, best first."""

    score_NK: np.ndarray  # float32; -inf where a user has fewer than K items that it has not seen
    item_NK: np.ndarray  # int32 item numbers; -1 there


def topk(
    users_ND: np.ndarray,
    items_ID: Any,
    k: int,
    *,
    mesh: Mesh,
    seen: Sequence[np.ndarray] | None = None,
    batch_size: int = 256,
    approximate: float | None = None,
) -> Best:
    """The `k` items of the highest dot product with each user vector.

    Args:
      users_ND: float32 user vectors.
      items_ID: float32 item vectors.
      k: how many items, at most all.
      mesh: the devices to use; each holds its share of the items.
      seen: per user the item numbers to leave out, any length.
      batch_size: users on the devices at a time; changes nothing but memory and speed.
      approximate: None for the exact best; else the share of them to be found in each block, for
        `jax.lax.approx_max_k` (https://arxiv.org/abs/2206.14286). It pays on TPUs only: elsewhere it misses none and
        is slower than the exact search.

    Raises:
      FloatingPointError: a score is NaN.
      ValueError: there are no `k` items, or a seen item is not among them.
    """
    items_ID = np.asarray(items_ID)
    if not 1 <= k <= len(items_ID):
        raise UserError(f"k={k}: there are {len(items_ID)} items")
    block = min(BLOCK, -(-len(items_ID) // 128) * 128)
    layout = Layout(len(items_ID), block, TILE, mesh)
    seen = [np.zeros(0, np.int64)] * len(users_ND) if seen is None else seen
    user_K = np.repeat(np.arange(len(users_ND)), [len(items) for items in seen])
    pairs = Pairs.of(user_K, np.concatenate([np.zeros(0, np.int64), *seen]), layout)
    score_NK, item_NK, nans_N = stream(_Select(k, approximate), (users_ND,), items_ID, pairs, batch_size)
    if nans_N.any():  # they would rank first
        raise FloatingPointError(f"{int(nans_N.sum())} of the scores of {int((nans_N > 0).sum())} users are NaN")
    return Best(score_NK, item_NK)


@dataclasses.dataclass(frozen=True)
class _Select:
    k: int
    approximate: float | None

    def __call__(
        self, layout: Layout, items_ID: jax.Array, pairs_CW: jax.Array, users_RD: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The best of one tile: (score_RK, item_RK, nans_R)."""

        def merge(carry: tuple[jax.Array, ...], block: Block) -> tuple[jax.Array, ...]:
            score_RK, item_RK, nans_R = carry
            flat = block.scores_JR.reshape(-1).at[block.pair_W].set(-jnp.inf, mode="drop")
            scores_JR = jnp.where(block.real_J[:, None], flat.reshape(block.scores_JR.shape), -jnp.inf)
            new_RK, local_RK = self._best_of_block(jnp.where(scores_JR == 0, 0.0, scores_JR))  # -0.0 would rank lower
            nans_R += jnp.sum(jnp.isnan(block.scores_JR) & block.real_J[:, None], axis=0)
            # Those carried have lower item numbers and stand first: they win ties.
            candidates = (jnp.append(score_RK, new_RK, axis=1), jnp.append(item_RK, block.number_J[local_RK], axis=1))
            return *self._best(*candidates), nans_R

        shape = (len(users_RD), self.k)
        nothing = jnp.full(shape, -jnp.inf), jnp.full(shape, -1, jnp.int32), jnp.zeros(len(users_RD), jnp.int32)
        score_RK, item_RK, nans_R = layout.scan(merge, nothing, items_ID, users_RD, pairs_CW)
        score_RK, item_RK = jax.lax.all_gather((score_RK, item_RK), layout.axes, axis=1, tiled=True)
        return *self._best(score_RK, item_RK), jax.lax.psum(nans_R, layout.axes)

    def _best_of_block(self, scores_JR: jax.Array) -> tuple[jax.Array, jax.Array]:
        if self.approximate is not None:
            return jax.lax.approx_max_k(scores_JR.T, min(self.k, len(scores_JR)), recall_target=self.approximate)
        # The best k items lie in the k groups whose best items are the best: only these are sorted.
        groups_GR = jnp.max(scores_JR.reshape(-1, GROUP, scores_JR.shape[1]), axis=1)
        _, group_RK = jax.lax.top_k(groups_GR.T, min(self.k, len(groups_GR)))
        local_RKG = (
            jnp.sort(group_RK)[:, :, None] * GROUP + jnp.arange(GROUP)[None, None]
        )  # in the order of item numbers, for ties
        local_RC = local_RKG.reshape(len(group_RK), -1)
        candidates_RC = jnp.take_along_axis(scores_JR, local_RC.T, axis=0).T
        score_RK, column_RK = jax.lax.top_k(candidates_RC, min(self.k, local_RC.shape[1]))
        return score_RK, jnp.take_along_axis(local_RC, column_RK, axis=1)

    def _best(self, score_RC: jax.Array, item_RC: jax.Array) -> tuple[jax.Array, jax.Array]:
        score_RK, column_RK = jax.lax.top_k(score_RC, self.k)
        return score_RK, jnp.take_along_axis(item_RC, column_RK, axis=1)
