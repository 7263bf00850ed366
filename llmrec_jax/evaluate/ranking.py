"""Full-catalogue ranking: every item scored, the history masked, exact ranks, streamed over users and items.

A user's rank is 1 + items scored strictly higher + half of the ties. Nothing here depends on how users are batched: the
devices always work on tiles of `TILE` users, so a score is the same sum in the same order for any batch size and any
number of devices, and only whole counts are added up.

Shape letters beside those of `types.py`: R users of a tile, J items of a block, M padded length of the seen items.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

TILE = 64  # users a device scores at a time
BLOCK = 4096  # items scored at a time
CUTOFFS = (10, 50)


class Ranks(NamedTuple):
    """What a ranking counts, per user."""

    higher_N: np.ndarray  # int64: items scored strictly higher than the target
    ties_N: np.ndarray  # int64: other items with the target's score

    @property
    def rank_N(self) -> np.ndarray:
        """1 + strictly higher + half of the ties, float64."""
        return 1.0 + self.higher_N + 0.5 * self.ties_N


def metrics(rank_N: np.ndarray) -> dict[str, float]:
    """Recall@k (hit rate, with one target a user), NDCG@k and MRR from exact ranks; NaN where there are no users."""
    if not len(rank_N):
        return {name: float("nan") for k in CUTOFFS for name in (f"recall@{k}", f"ndcg@{k}")} | {"mrr": float("nan")}
    gain_N = 1.0 / np.log2(1.0 + rank_N)
    result = {}
    for k in CUTOFFS:
        result[f"recall@{k}"] = float(np.sum(rank_N <= k) / len(rank_N))
        result[f"ndcg@{k}"] = float(np.sum(np.where(rank_N <= k, gain_N, 0.0)) / len(rank_N))
    return result | {"mrr": float(np.sum(1.0 / rank_N) / len(rank_N))}


def map_tiles(
    fn: Callable[..., Any], mesh: Mesh, arrays: tuple[np.ndarray, ...], constants: Any, batch_size: int
) -> Any:
    """Apply `fn(constants, *tile_arrays)` to tiles of rows on all devices of `mesh`; return host arrays over all rows.

    `arrays` share their leading axis (rows, maybe none); it is padded with zeros to whole batches. `batch_size` rows,
    rounded up to a tile per device, are on the devices at a time.
    """
    num_rows = len(arrays[0])
    step = -(-batch_size // (TILE * mesh.size)) * TILE * mesh.size
    run = _compiled(fn, mesh)
    results = []
    for start in range(0, max(num_rows, 1), step):  # without rows one batch of padding: it gives the results' shapes
        tiles = [_tiled(_padded(array[start : start + step], step), mesh) for array in arrays]
        results.append(jax.tree.map(np.asarray, run(constants, *tiles)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:num_rows], *results)


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def _tiled(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """Cut rows into tiles and the tiles over the devices."""
    tiles = rows.reshape(-1, TILE, *rows.shape[1:])
    return jax.make_array_from_callback(tiles.shape, NamedSharding(mesh, P(mesh.axis_names)), tiles.__getitem__)


@functools.cache
def _compiled(fn: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """`fn` tile by tile on every device, the results gathered on all of them. Compiled once per function and mesh."""
    axes = mesh.axis_names

    def on_device(constants: Any, *tiles: jax.Array) -> Any:
        out = jax.lax.map(lambda tile: fn(constants, *tile), tiles)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)
        return jax.lax.all_gather(rows, axes, tiled=True)

    def run(constants: Any, *tiles: jax.Array) -> Any:
        specs = (P(), *(P(axes) for _ in tiles))
        return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)(constants, *tiles)

    return jax.jit(run)


def rank(
    users_ND: np.ndarray,
    items_ID: Any,
    target_N: np.ndarray,
    seen: list[np.ndarray],
    *,
    mesh: Mesh,
    batch_size: int = 256,
) -> Ranks:
    """Rank each user's target among all items but those the user has seen.

    Args:
      users_ND: float32 user vectors.
      items_ID: float32 item vectors; a score is their dot product with the user vector.
      target_N: int32 item numbers, one a user; a target is ranked even where it is among the seen.
      seen: per user the item numbers to leave out, any length.
      mesh: the devices to use.
      batch_size: users on the devices at a time; changes nothing but memory and speed.

    Raises:
      FloatingPointError: a score is NaN.
    """
    order = np.argsort([len(items) for items in seen], kind="stable")  # similar lengths together: little padding
    higher_N, ties_N = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    items = _blocked(np.asarray(items_ID), mesh)
    for part, seen_NM in _by_length(order, seen):
        arrays = (users_ND[part], target_N[part].astype(np.int32), seen_NM)
        higher, ties, nans = map_tiles(_rank_tile, mesh, arrays, items, batch_size)
        if nans.any():
            raise FloatingPointError(f"{int(nans.sum())} of the scores of {int((nans > 0).sum())} users are NaN")
        higher_N[part], ties_N[part] = higher, ties
    return Ranks(higher_N, ties_N)


def _by_length(order: np.ndarray, seen: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Users whose seen items fit the same power of two, with those items padded by -1: [users, M]."""
    lengths = np.array([len(seen[user]) for user in order], np.int64)
    widths = 2 ** np.ceil(np.log2(np.maximum(lengths, 16))).astype(int)
    for width in np.unique(widths):
        part = order[widths == width]
        seen_NM = np.full((len(part), width), -1, np.int32)
        for row, user in enumerate(part):
            seen_NM[row, : len(seen[user])] = seen[user]
        yield part, seen_NM


def _blocked(items_ID: np.ndarray, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
    """Item vectors cut into blocks [blocks, J, D] and the number of real items, on every device."""
    block = min(BLOCK, -(-len(items_ID) // 128) * 128)
    num_blocks = -(-len(items_ID) // block)
    padded = np.zeros((num_blocks * block, items_ID.shape[1]), np.float32)
    padded[: len(items_ID)] = items_ID
    whole = NamedSharding(mesh, P())
    return jax.device_put((padded.reshape(num_blocks, block, -1), np.int32(len(items_ID))), whole)


def _rank_tile(items: tuple[jax.Array, jax.Array], users_RD: jax.Array, target_R: jax.Array, seen_RM: jax.Array) -> Any:
    """Counts of one tile: (higher_R, ties_R, nans_R)."""
    blocks, num_items = items
    num_blocks, block, _ = blocks.shape
    rows_R = jnp.arange(len(target_R))

    def scores(index: jax.Array) -> jax.Array:
        return jnp.matmul(users_RD, blocks[index].T, precision="highest")

    def find_target(target_score_R: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
        # The target's score comes out of the same product as all others: a duplicate of it ties exactly.
        local_R = target_R - index * block
        here_R = scores(index)[rows_R, jnp.clip(local_R, 0, block - 1)]
        return jnp.where((local_R >= 0) & (local_R < block), here_R, target_score_R), None

    def count(counts: tuple[jax.Array, ...], index: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        scores_RJ = scores(index)
        number_1J = (index * block + jnp.arange(block))[None]
        local_RM = seen_RM - index * block
        inside_RM = jnp.where((local_RM >= 0) & (local_RM < block), local_RM, block)
        seen_RJ = jnp.zeros(scores_RJ.shape, bool).at[rows_R[:, None], inside_RM].set(True, mode="drop")
        other_RJ = (number_1J < num_items) & (number_1J != target_R[:, None])
        rival_RJ = other_RJ & ~seen_RJ
        higher_R = jnp.sum(rival_RJ & (scores_RJ > target_score_R[:, None]), axis=1)
        ties_R = jnp.sum(rival_RJ & (scores_RJ == target_score_R[:, None]), axis=1)
        nans_R = jnp.sum(jnp.isnan(scores_RJ) & (number_1J < num_items), axis=1)
        return tuple(a + b for a, b in zip(counts, (higher_R, ties_R, nans_R), strict=True)), None

    blocks_range = jnp.arange(num_blocks)
    target_score_R, _ = jax.lax.scan(find_target, jnp.zeros(len(target_R), jnp.float32), blocks_range)
    zero_R = jnp.zeros(len(target_R), jnp.int32)
    counts, _ = jax.lax.scan(count, (zero_R, zero_R, zero_R), blocks_range)
    return counts
