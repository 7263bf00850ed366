"""Scores of all users for all items, one block at a time: items are sharded over the devices, users split into tiles.

All scores come from matrix products of one shape, `J x D` by `D x R`, so they are the same for any batch size and any
number of devices. `ranking` computes ranks from them.

Shape letters of this package besides those of `types`: R rows of a tile (here users), J items of a block, Z tiles on
the devices at a time, C blocks of all devices, Y user-item pairs of a tile and a block (padded), Q pairs in all.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from llmrec_jax.errors import UserError


class Block(NamedTuple):
    """The scores of a tile of users for a block of items."""

    scores_JR: jax.Array
    number_J: jax.Array  # int32: item numbers
    real_J: jax.Array  # bool: False on padding and on items of an earlier block
    pair_Y: jax.Array  # int32: index of each pair in the flattened scores; J * R on padding


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a catalogue is sharded: `shard` items per device, in blocks. The last block of a shard may overlap the
    previous one, so nothing is padded or copied if the number of items is divisible by the number of devices.
    """

    num_items: int
    block: int  # J
    tile: int  # R
    mesh: Mesh

    @property
    def shard(self) -> int:
        """Items per device."""
        return max(self.block, -(-self.num_items // self.mesh.size))

    @property
    def blocks_per_device(self) -> int:
        """Blocks of a shard."""
        return -(-self.shard // self.block)

    @property
    def axes(self) -> tuple[str, ...]:
        """The mesh axes that the items are sharded over: all."""
        return self.mesh.axis_names

    def put(self, array: np.ndarray, spec: P) -> jax.Array:
        """Place a host array on the mesh."""
        return jax.make_array_from_callback(array.shape, NamedSharding(self.mesh, spec), array.__getitem__)

    def put_items(self, items_ID: np.ndarray) -> jax.Array:
        """Shard the item vectors over the devices, float32; the last shards are padded with zeros."""
        shape = (self.shard * self.mesh.size, items_ID.shape[1])

        def shard_at(index: tuple[slice, ...]) -> np.ndarray:
            rows = np.asarray(items_ID[index[0]], np.float32)
            return rows if len(rows) == self.shard else _padded(rows, self.shard)

        return jax.make_array_from_callback(shape, NamedSharding(self.mesh, P(self.axes)), shard_at)

    def scan(self, fn: Callable[[Any, Block], Any], carry: Any, items_ID: jax.Array, users_RD: jax.Array,
             pairs_CY: jax.Array) -> Any:  # fmt: skip
        """On one device: scan `fn(carry, block)` over the blocks of its shard."""
        first = jax.lax.axis_index(self.axes) * self.shard

        def step(carry: Any, x: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            begin, pair_Y = x
            start = jnp.minimum(begin, self.shard - self.block)
            vectors_JD = jax.lax.dynamic_slice_in_dim(items_ID, start, self.block)
            scores_JR = jnp.matmul(vectors_JD, users_RD.T, precision="highest")
            local_J = start + jnp.arange(self.block)
            number_J = first + local_J
            block = Block(scores_JR, number_J, (local_J >= begin) & (number_J < self.num_items), pair_Y)
            return fn(carry, block), None

        begins = self.block * jnp.arange(self.blocks_per_device)
        return jax.lax.scan(step, carry, (begins, pairs_CY))[0]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Distinct user-item pairs to exclude, by tile and block."""

    layout: Layout
    cell_Q: np.ndarray  # int64, ascending: tile * C + block
    flat_Q: np.ndarray  # int32: index of the pair in the flattened scores of its cell

    @classmethod
    def of(cls, user_Q: np.ndarray, item_Q: np.ndarray, layout: Layout) -> "Pairs":
        """From pairs in any order, possibly with duplicates. Raises ValueError for item numbers out of range."""
        if len(item_Q) and not 0 <= item_Q.min() <= item_Q.max() < layout.num_items:
            raise UserError(f"items {item_Q.min()} to {item_Q.max()}: there are only 0 to {layout.num_items - 1}")
        device_Q, local_Q = np.divmod(item_Q.astype(np.int64), layout.shard)
        block_Q = local_Q // layout.block
        start_Q = np.minimum(block_Q * layout.block, layout.shard - layout.block)
        tile_Q, row_Q = np.divmod(user_Q, layout.tile)
        cell_Q = (tile_Q * layout.mesh.size + device_Q) * layout.blocks_per_device + block_Q
        size = layout.block * layout.tile
        key_Q = np.sort(cell_Q * size + (local_Q - start_Q) * layout.tile + row_Q)
        key_Q = key_Q[np.diff(key_Q, prepend=-1) > 0]
        return cls(layout, key_Q // size, (key_Q % size).astype(np.int32))

    @functools.cached_property
    def width(self) -> int:
        """Y: a power of two, so that few programs are compiled."""
        most = int(np.unique(self.cell_Q, return_counts=True)[1].max()) if len(self.cell_Q) else 0
        return 2 ** int(np.ceil(np.log2(max(most, 16))))

    def of_tiles(self, first: int, num_tiles: int) -> np.ndarray:
        """int32 [Z, C, Y] for a range of tiles."""
        num_blocks = self.layout.mesh.size * self.layout.blocks_per_device
        low, high = np.searchsorted(self.cell_Q, (first * num_blocks, (first + num_tiles) * num_blocks))
        cell_Q = self.cell_Q[low:high] - first * num_blocks
        slot_Q = np.arange(high - low) - np.searchsorted(cell_Q, cell_Q)
        pairs = np.full((num_tiles * num_blocks, self.width), self.layout.block * self.layout.tile, np.int32)
        pairs[cell_Q, slot_Q] = self.flat_Q[low:high]
        return pairs.reshape(num_tiles, num_blocks, self.width)


def stream(fn: Callable[..., Any], rows: tuple[np.ndarray, ...], items_ID: np.ndarray, pairs: Pairs,
           batch_size: int) -> Any:  # fmt: skip
    """Run `fn(layout, items_ID, pairs_CY, *rows_R)` on every tile of rows; return host arrays over all rows.

    `fn` runs on every device with its shard of items and pairs, and must return the same arrays, with leading axis R,
    on all of them. `rows` have a common leading axis, possibly empty. `batch_size` rows, rounded up to tiles, are on
    the devices at a time.
    """
    layout = pairs.layout
    num_rows, num_tiles = len(rows[0]), max(1, -(-len(rows[0]) // layout.tile))  # without rows, one tile for the shapes
    num_batches = -(-num_tiles * layout.tile // max(batch_size, layout.tile))
    size = -(-num_tiles // num_batches)
    items, results = layout.put_items(items_ID), []
    for first in range(0, num_tiles, size):
        part = slice(first * layout.tile, (first + size) * layout.tile)
        tiles = [_padded(array[part], size * layout.tile).reshape(size, layout.tile, -1) for array in rows]
        batch = [layout.put(tile, P()) for tile in tiles]
        results.append(_run(fn, layout, items, layout.put(pairs.of_tiles(first, size), P(None, layout.axes)), *batch))
    # On the host: indexing a device array by tile would launch a program for each.
    tiles = jax.tree.map(lambda *parts: np.concatenate([np.asarray(part) for part in parts]), *results)
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:num_rows], tiles)


def tiles_at_once(mesh: Mesh) -> int | None:
    """Tiles that a device scores at a time: one on a CPU (None), 16 on a GPU or TPU, which one tile does not fill."""
    return None if mesh.devices.flat[0].platform == "cpu" else 16


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(fn: Callable[..., Any], layout: Layout, items_ID: jax.Array, pairs_ZCY: jax.Array, *rows: jax.Array) -> Any:
    at_once = tiles_at_once(layout.mesh)

    def on_device(items_ID: jax.Array, pairs_ZCY: jax.Array, *rows: jax.Array) -> Any:
        return jax.lax.map(lambda tile: fn(layout, items_ID, *tile), (pairs_ZCY, *rows), batch_size=at_once)

    specs = (P(layout.axes), P(None, layout.axes), *(P() for _ in rows))
    run = jax.shard_map(on_device, mesh=layout.mesh, in_specs=specs, out_specs=P(), check_vma=False)
    return run(items_ID, pairs_ZCY, *rows)
