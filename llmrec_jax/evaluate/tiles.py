"""Map a function over rows on all devices: rows are split into tiles of one size, sharded over the devices.

For functions of single rows; scores, which need users and items, are computed in `blocks`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

TILE = 64  # rows that a device processes at a time


def map_tiles(
    fn: Callable[..., Any], mesh: Mesh, arrays: tuple[np.ndarray, ...], constants: Any, batch_size: int
) -> Any:
    """Apply `fn(constants, *tile_arrays)` to tiles of rows on all devices of `mesh`; return host arrays over all rows.

    `arrays` have a common leading axis (rows, possibly none), which is padded with zeros. `batch_size` rows, rounded up
    to one tile per device, are on the devices at a time.
    """
    num_rows = len(arrays[0])
    step = -(-batch_size // (TILE * mesh.size)) * TILE * mesh.size
    run = _compiled(fn, mesh)
    results = []
    for start in range(0, max(num_rows, 1), step):  # one batch of padding if there are no rows, for the shapes
        tiles = [_tiled(_padded(array[start : start + step], step), mesh) for array in arrays]
        results.append(jax.tree.map(np.asarray, run(constants, *tiles)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:num_rows], *results)


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def _tiled(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """Reshape rows into tiles, sharded over the devices."""
    tiles = rows.reshape(-1, TILE, *rows.shape[1:])
    return jax.make_array_from_callback(tiles.shape, NamedSharding(mesh, P(mesh.axis_names)), tiles.__getitem__)


@functools.cache
def _compiled(fn: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """`fn` on every tile, then an all_gather of the results. Compiled once per function and mesh."""
    axes = mesh.axis_names

    def on_device(constants: Any, *tiles: jax.Array) -> Any:
        out = jax.lax.map(lambda tile: fn(constants, *tile), tiles)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)
        return jax.lax.all_gather(rows, axes, tiled=True)

    def run(constants: Any, *tiles: jax.Array) -> Any:
        specs = (P(), *(P(axes) for _ in tiles))
        return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)(constants, *tiles)

    return jax.jit(run)
