"""The top-k items of every user, exact or (fast on TPUs) approximate, streamed over users and items.

Items are sharded over the devices. Each device merges the best of its blocks, then the devices merge theirs. Ties go to
the lower item number, so the result is the same for any batch size and number of devices. Ranks are counted in
`ranking`, without sorting.

Shape letters: those of `blocks`, and K best items, G groups of a block, M items of a group, A candidates.
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
BLOCK = 16384  # items scored at a time: few large selections are cheaper than many small ones
GROUP = 32  # items of a group, see `_best_of_block`; divides 128


class Best(NamedTuple):
    """The best items of every user, best first."""

    score_NK: np.ndarray  # float32; -inf where a user has fewer than K unseen items
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
      mesh: the devices to use; the items are sharded over them.
      seen: per user the item numbers to leave out, any length.
      batch_size: users on the devices at a time; changes memory and speed only.
      approximate: None for exact results; else the recall target of `jax.lax.approx_max_k` in each block
        (https://arxiv.org/abs/2206.14286). Worth it on TPUs only: elsewhere it is exact and slower than the exact
        search.

    Raises:
      FloatingPointError: a score is NaN.
      ValueError: there are fewer than `k` items, or a seen item is not among them.
    """
    items_ID = np.asarray(items_ID)
    if not 1 <= k <= len(items_ID):
        raise UserError(f"k={k}: there are {len(items_ID)} items")
    block = min(BLOCK, -(-len(items_ID) // 128) * 128)
    layout = Layout(len(items_ID), block, TILE, mesh)
    seen = [np.zeros(0, np.int64)] * len(users_ND) if seen is None else seen
    user_Q = np.repeat(np.arange(len(users_ND)), [len(items) for items in seen])
    pairs = Pairs.of(user_Q, np.concatenate([np.zeros(0, np.int64), *seen]), layout)
    score_NK, item_NK, nans_N = stream(_Select(k, approximate), (users_ND,), items_ID, pairs, batch_size)
    if nans_N.any():  # they would rank first
        raise FloatingPointError(f"{int(nans_N.sum())} of the scores of {int((nans_N > 0).sum())} users are NaN")
    return Best(score_NK, item_NK)


@dataclasses.dataclass(frozen=True)
class _Select:
    k: int
    approximate: float | None

    def __call__(
        self, layout: Layout, items_ID: jax.Array, pairs_CY: jax.Array, users_RD: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The best of one tile: (score_RK, item_RK, nans_R)."""

        def merge(carry: tuple[jax.Array, ...], block: Block) -> tuple[jax.Array, ...]:
            score_RK, item_RK, nans_R = carry
            flat = block.scores_JR.reshape(-1).at[block.pair_Y].set(-jnp.inf, mode="drop")
            scores_JR = jnp.where(block.real_J[:, None], flat.reshape(block.scores_JR.shape), -jnp.inf)
            new_RK, local_RK = self._best_of_block(jnp.where(scores_JR == 0, 0.0, scores_JR))  # -0.0 would rank lower
            nans_R += jnp.sum(jnp.isnan(block.scores_JR) & block.real_J[:, None], axis=0)
            # Carried items have lower numbers and come first, so they win ties.
            candidates = (jnp.append(score_RK, new_RK, axis=1), jnp.append(item_RK, block.number_J[local_RK], axis=1))
            return *self._best(*candidates), nans_R

        shape = (len(users_RD), self.k)
        nothing = jnp.full(shape, -jnp.inf), jnp.full(shape, -1, jnp.int32), jnp.zeros(len(users_RD), jnp.int32)
        score_RK, item_RK, nans_R = layout.scan(merge, nothing, items_ID, users_RD, pairs_CY)
        score_RK, item_RK = jax.lax.all_gather((score_RK, item_RK), layout.axes, axis=1, tiled=True)
        return *self._best(score_RK, item_RK), jax.lax.psum(nans_R, layout.axes)

    def _best_of_block(self, scores_JR: jax.Array) -> tuple[jax.Array, jax.Array]:
        if self.approximate is not None:
            return jax.lax.approx_max_k(scores_JR.T, min(self.k, len(scores_JR)), recall_target=self.approximate)
        # The best k items are in the k groups with the best maxima; only those are sorted.
        groups_GR = jnp.max(scores_JR.reshape(-1, GROUP, scores_JR.shape[1]), axis=1)
        _, group_RK = jax.lax.top_k(groups_GR.T, min(self.k, len(groups_GR)))
        local_RKM = (
            jnp.sort(group_RK)[:, :, None] * GROUP + jnp.arange(GROUP)[None, None]
        )  # in the order of item numbers, for ties
        local_RA = local_RKM.reshape(len(group_RK), -1)
        candidates_RA = jnp.take_along_axis(scores_JR, local_RA.T, axis=0).T
        score_RK, column_RK = jax.lax.top_k(candidates_RA, min(self.k, local_RA.shape[1]))
        return score_RK, jnp.take_along_axis(local_RA, column_RK, axis=1)

    def _best(self, score_RA: jax.Array, item_RA: jax.Array) -> tuple[jax.Array, jax.Array]:
        score_RK, column_RK = jax.lax.top_k(score_RA, self.k)
        return score_RK, jnp.take_along_axis(item_RA, column_RK, axis=1)
