"""Every score of users and items, a block at a time: the items cut over the devices, the users in tiles.

Every tile of users meets every block of items. A score is always an entry of a product of one shape, `J x D` by
`D x R`, so it is the same number for any batch of users and any number of devices. What is made of the scores is the
business of `ranking`.

Shape letters beside those of `types.py`: R users of a tile, J items of a block, T tiles on the devices at a time,
C blocks of all devices, W user-item pairs of a tile and a block (padded), K pairs in all.
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
    """The scores of one tile for one block."""

    scores_JR: jax.Array
    number_J: jax.Array  # int32: item numbers
    real_J: jax.Array  # bool: False on padding and on items that an earlier block holds
    pair_W: jax.Array  # int32: where the pairs stand in the flattened scores; J * R on padding


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a catalogue is cut: `share` items a device, and these into blocks, of which the last begins early enough to
    be whole. So nothing is padded, and nothing copied, where the items divide by the devices.
    """

    num_items: int
    block: int  # J
    tile: int  # R
    mesh: Mesh

    @property
    def share(self) -> int:
        """Items of a device."""
        return max(self.block, -(-self.num_items // self.mesh.size))

    @property
    def blocks_per_device(self) -> int:
        """Blocks that cover a share."""
        return -(-self.share // self.block)

    @property
    def axes(self) -> tuple[str, ...]:
        """The mesh axes that the items are cut over: all of them."""
        return self.mesh.axis_names

    def put(self, array: np.ndarray, spec: P) -> jax.Array:
        """Place a host array on the mesh."""
        return jax.make_array_from_callback(array.shape, NamedSharding(self.mesh, spec), array.__getitem__)

    def put_items(self, items_ID: np.ndarray) -> jax.Array:
        """Place every device's share of the item vectors, float32; the last shares are padded by zeros."""
        shape = (self.share * self.mesh.size, items_ID.shape[1])

        def share_of(index: tuple[slice, ...]) -> np.ndarray:
            rows = np.asarray(items_ID[index[0]], np.float32)
            return rows if len(rows) == self.share else _padded(rows, self.share)

        return jax.make_array_from_callback(shape, NamedSharding(self.mesh, P(self.axes)), share_of)

    def scan(self, fn: Callable[[Any, Block], Any], carry: Any, items_ID: jax.Array, users_RD: jax.Array,
             pairs_CW: jax.Array) -> Any:  # fmt: skip
        """On a device, carry `fn(carry, block)` through the blocks of its share."""
        first = jax.lax.axis_index(self.axes) * self.share

        def step(carry: Any, x: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            begin, pair_W = x
            start = jnp.minimum(begin, self.share - self.block)
            vectors_JD = jax.lax.dynamic_slice_in_dim(items_ID, start, self.block)
            scores_JR = jnp.matmul(vectors_JD, users_RD.T, precision="highest")
            local_J = start + jnp.arange(self.block)
            number_J = first + local_J
            block = Block(scores_JR, number_J, (local_J >= begin) & (number_J < self.num_items), pair_W)
            return fn(carry, block), None

        begins = self.block * jnp.arange(self.blocks_per_device)
        return jax.lax.scan(step, carry, (begins, pairs_CW))[0]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Distinct user-item pairs that are treated apart, by tile and block."""

    layout: Layout
    cell_K: np.ndarray  # int64, ascending: tile * C + block
    flat_K: np.ndarray  # int32: where the pair stands in the flattened scores of its cell

    @classmethod
    def of(cls, user_K: np.ndarray, item_K: np.ndarray, layout: Layout) -> "Pairs":
        """Pairs in any order, repeated or not. Raises ValueError for an item that is none."""
        if len(item_K) and not 0 <= item_K.min() <= item_K.max() < layout.num_items:
            raise UserError(f"items {item_K.min()} to {item_K.max()}: there are only 0 to {layout.num_items - 1}")
        device_K, local_K = np.divmod(item_K.astype(np.int64), layout.share)
        block_K = local_K // layout.block
        start_K = np.minimum(block_K * layout.block, layout.share - layout.block)
        tile_K, row_K = np.divmod(user_K, layout.tile)
        cell_K = (tile_K * layout.mesh.size + device_K) * layout.blocks_per_device + block_K
        size = layout.block * layout.tile
        key_K = np.sort(cell_K * size + (local_K - start_K) * layout.tile + row_K)
        key_K = key_K[np.diff(key_K, prepend=-1) > 0]
        return cls(layout, key_K // size, (key_K % size).astype(np.int32))

    @functools.cached_property
    def width(self) -> int:
        """W: a power of two, so that few programs serve all data."""
        most = int(np.unique(self.cell_K, return_counts=True)[1].max()) if len(self.cell_K) else 0
        return 2 ** int(np.ceil(np.log2(max(most, 16))))

    def of_tiles(self, first: int, num_tiles: int) -> np.ndarray:
        """int32 [T, C, W] for a range of tiles."""
        num_blocks = self.layout.mesh.size * self.layout.blocks_per_device
        low, high = np.searchsorted(self.cell_K, (first * num_blocks, (first + num_tiles) * num_blocks))
        cell_K = self.cell_K[low:high] - first * num_blocks
        slot_K = np.arange(high - low) - np.searchsorted(cell_K, cell_K)
        pairs = np.full((num_tiles * num_blocks, self.width), self.layout.block * self.layout.tile, np.int32)
        pairs[cell_K, slot_K] = self.flat_K[low:high]
        return pairs.reshape(num_tiles, num_blocks, self.width)


def stream(fn: Callable[..., Any], rows: tuple[np.ndarray, ...], items_ID: np.ndarray, pairs: Pairs,
           batch_size: int) -> Any:  # fmt: skip
    """`fn(layout, items_ID, pairs_CW, *rows_R)` of every tile of rows on every device: host arrays over all rows.

    `fn` sees its device's share of items and pairs, and must return the same on all devices: arrays with leading axis
    R. `rows` share their leading axis, maybe 0. `batch_size` rows, rounded up to a tile, are on the devices at a time.
    """
    layout = pairs.layout
    num_rows, num_tiles = len(rows[0]), max(1, -(-len(rows[0]) // layout.tile))  # no rows: a tile gives the shapes
    num_batches = -(-num_tiles * layout.tile // max(batch_size, layout.tile))
    size = -(-num_tiles // num_batches)
    items, results = layout.put_items(items_ID), []
    for first in range(0, num_tiles, size):
        part = slice(first * layout.tile, (first + size) * layout.tile)
        tiles = [_padded(array[part], size * layout.tile).reshape(size, layout.tile, -1) for array in rows]
        batch = [layout.put(tile, P()) for tile in tiles]
        results.append(_run(fn, layout, items, layout.put(pairs.of_tiles(first, size), P(None, layout.axes)), *batch))
    return jax.tree.map(lambda *parts: np.concatenate([np.concatenate(part) for part in parts])[:num_rows], *results)


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(fn: Callable[..., Any], layout: Layout, items_ID: jax.Array, pairs_TCW: jax.Array, *rows: jax.Array) -> Any:
    def on_device(items_ID: jax.Array, pairs_TCW: jax.Array, *rows: jax.Array) -> Any:
        return jax.lax.map(lambda tile: fn(layout, items_ID, *tile), (pairs_TCW, *rows))

    specs = (P(layout.axes), P(None, layout.axes), *(P() for _ in rows))
    run = jax.shard_map(on_device, mesh=layout.mesh, in_specs=specs, out_specs=P(), check_vma=False)
    return run(items_ID, pairs_TCW, *rows)
