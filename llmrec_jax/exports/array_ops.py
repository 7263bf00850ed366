"""The array operations that `network` uses, for NumPy. `jax_program` and `onnx_graph` implement them for JAX and ONNX.

Uses NumPy only, because `numpy_runner` is copied with it.

Shape letters: those of `network`, W the width of a head, N nonzeros.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

ROWS = 8192  # of an int8 table, converted to float32 at a time


class Ops:
    """Operations on arrays, besides Python's operators."""

    xp: Any = np

    def __init__(self, arrays: dict[str, Any]):
        self.arrays = arrays
        for name in ("sqrt", "tanh", "exp", "where", "maximum", "power"):
            setattr(self, name, getattr(self.xp, name))

    def get(self, name: str, layer: int | None = None) -> Any:
        """An array of the export, or its part of one layer."""
        return self.arrays[name] if layer is None else self.arrays[name][layer]

    def take(self, array: Any, index: Any) -> Any:
        """Entries of an array along its first axis."""
        return array[index]

    def rows(self, name: str, index: Any) -> Any:
        """Rows of a table, float32; int8 tables have a scale per row."""
        found, scale_I = self.arrays[name][index], self.arrays.get(f"{name}.scale")
        return found if scale_I is None else found.astype(np.float32) * scale_I[index][..., None]

    def dot_rows(self, x_BD: Any, name: str, num: int) -> Any:
        """The dot products with the first `num` rows of a table, [B, num]."""
        table, scale_I = self.arrays[name][:num], self.arrays.get(f"{name}.scale")
        if scale_I is None:
            return x_BD @ table.T
        blocks = [x_BD @ table[n : n + ROWS].T.astype(np.float32) for n in range(0, num, ROWS)]
        return self.xp.concatenate(blocks, axis=1) * scale_I[None, :num]

    def scatter(self, values_BS: Any, index_BS: Any, num: int) -> Any:
        """Sums of the values with the same index, [B, num]."""
        found = np.zeros((len(values_BS), num), np.float32)
        np.add.at(found, (np.arange(len(found))[:, None], index_BS), values_BS)
        return found

    def gather_scatter(self, x: Any, source_N: Any, weight_N: Any, goal_N: Any, num: int) -> Any:
        """A product with a sparse matrix: column `source_N` of `x` times its weight is added to column `goal_N`."""
        values_BN = x[:, source_N] * weight_N
        return np.stack([np.bincount(goal_N, values_N, num) for values_N in values_BN]).astype(np.float32)

    def weighted(self, weight_BS: Any, x_BSD: Any) -> Any:
        """The weighted sum over the steps [B, D]."""
        return self.xp.einsum("bs,bsd->bd", weight_BS, x_BSD)

    def to_float(self, x: Any) -> Any:
        """As float32."""
        return x.astype(np.float32)

    def cumsum(self, x_BS: Any) -> Any:
        """The sum up to each step, int64."""
        return self.xp.cumsum(x_BS, axis=1)

    def ones(self, x_BS: Any) -> Any:
        """Integer ones in the shape of `x_BS`."""
        return self.xp.ones(x_BS.shape, int)

    def sum(self, x: Any, axis: int = -1) -> Any:
        """The sum over an axis, which is kept."""
        return x.sum(axis=axis, keepdims=True)

    def mean(self, x: Any) -> Any:
        """The mean over the last axis, which is kept."""
        return x.mean(axis=-1, keepdims=True)

    def largest(self, x: Any) -> Any:
        """The maximum over the last axis, which is kept."""
        return x.max(axis=-1, keepdims=True)

    def expand(self, x: Any, axis: int) -> Any:
        """Insert an axis of size 1."""
        return self.xp.expand_dims(x, axis)

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Concatenate along an axis."""
        return self.xp.concatenate(arrays, axis=axis)

    def last(self, x: Any, num: int, axis: int) -> Any:
        """At most `num` last entries along an axis, 1 or -1."""
        return x[:, -num:] if axis == 1 else x[..., -num:]

    def first(self, x: Any, num: int) -> Any:
        """The first `num` entries along the last axis."""
        return x[..., :num]

    def split_heads(self, x_BLD: Any, heads: int) -> Any:
        """[B, L, D] -> [B, H, L, D / H]."""
        return x_BLD.reshape(*x_BLD.shape[:2], heads, -1).swapaxes(1, 2)

    def join_heads(self, x_BHLW: Any) -> Any:
        """The inverse of `split_heads`."""
        return x_BHLW.swapaxes(1, 2).reshape(x_BHLW.shape[0], x_BHLW.shape[2], -1)

    def transposed(self, x: Any) -> Any:
        """Swap the last two axes."""
        return x.swapaxes(-1, -2)
