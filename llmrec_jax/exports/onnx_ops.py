"""The operations of `array_ops.Ops` as nodes of an ONNX graph, with which `network` and `text_encoder` are exported.

Arrays become initializers; an int8 table stays int8 in the file.

Shape letters: those of `network`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from llmrec_jax.exports.onnx_graph import Graph, Value

INT64_MAX = 2**63 - 1
UNARY = {"sqrt": "Sqrt", "tanh": "Tanh", "exp": "Exp", "erf": "Erf"}


class OnnxOps(Graph):
    """See the file's head; the docstrings are those of `Ops`."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        super().__init__()
        self.arrays = arrays
        for name, kind in UNARY.items():
            setattr(self, name, functools.partial(self.add, kind, dtype=np.float32))

    def get(self, name: str, layer: int | None = None) -> Value:
        """See `Ops`."""
        if layer is None:
            return self.constant(self.arrays[name], name)
        return self.constant(self.arrays[name][layer], f"{name}.{layer}")

    def take(self, array: Value, index: Value) -> Value:
        """See `Ops`."""
        return self.add("Gather", array, index, dtype=array.dtype)

    def rows(self, name: str, index: Value) -> Value:
        """See `Ops`."""
        found = self.take(self.get(name), index)
        if f"{name}.scale" not in self.arrays:
            return found
        return self.to_float(found) * self.expand(self.take(self.get(f"{name}.scale"), index), -1)

    def dot_rows(self, x_BD: Value, name: str, num: int) -> Value:
        """See `Ops`."""
        table = self.get(name)
        if num < len(self.arrays[name]):
            table = self._slice(table, 0, num, 0)
        product = x_BD @ self.add("Transpose", self.to_float(table), dtype=np.float32, perm=[1, 0])
        if f"{name}.scale" not in self.arrays:
            return product
        return product * self.constant(self.arrays[f"{name}.scale"][None, :num], f"{name}.scale.first")

    def scatter(self, values_BS: Value, index_BS: Value, num: int) -> Value:
        """See `Ops`."""
        zeros_BI = self.sum(values_BS) * 0.0 * self.constant(np.zeros((1, num), np.float32), f"zeros_{num}")
        inputs = zeros_BI, index_BS, values_BS
        return self.add("ScatterElements", *inputs, dtype=np.float32, axis=1, reduction="add")

    def gather_scatter(self, x: Value, source_N: Value, weight_N: Value, goal_N: Value, num: int) -> Value:
        """See `Ops`."""
        values_BN = self.add("Gather", x, source_N, dtype=np.float32, axis=1) * weight_N
        shape = self.add("Shape", values_BN, dtype=np.int64)
        goal_BN = self.add("Expand", goal_N, shape, dtype=goal_N.dtype)
        return self.scatter(values_BN, goal_BN, num)

    def weighted(self, weight_BS: Value, x_BSD: Value) -> Value:
        """See `Ops`."""
        axes = self.constant(np.array([1], np.int64))
        return self.add("Squeeze", self.expand(weight_BS, 1) @ x_BSD, axes, dtype=np.float32)

    def where(self, condition: Value, yes: Any, no: Any) -> Value:
        """See `Ops`."""
        dtype = next((x.dtype for x in (yes, no) if isinstance(x, Value)), np.float32)
        return self.add("Where", condition, self.value(yes, dtype), self.value(no, dtype), dtype=dtype)

    def maximum(self, x: Value, other: Any) -> Value:
        """See `Ops`."""
        return self.add("Max", x, self.value(other, x.dtype), dtype=x.dtype)

    def power(self, base: Any, exponent: Value) -> Value:
        """See `Ops`."""
        return self.add("Pow", self.value(base), exponent, dtype=np.float32)

    def to_float(self, x: Value) -> Value:
        """See `Ops`."""
        return x if x.dtype == np.float32 else self.add("Cast", x, dtype=np.float32, to=TensorProto.FLOAT)

    def cumsum(self, x_BS: Value) -> Value:
        """See `Ops`."""
        as_int = self.add("Cast", x_BS, dtype=np.int64, to=TensorProto.INT64)
        return self.add("CumSum", as_int, self.constant(np.array(1, np.int64)), dtype=np.int64)

    def ones(self, x_BS: Value) -> Value:
        """See `Ops`."""
        one = helper.make_tensor("value", TensorProto.INT64, [1], [1])
        return self.add("ConstantOfShape", self.add("Shape", x_BS, dtype=np.int64), dtype=np.int64, value=one)

    def sum(self, x: Value, axis: int = -1) -> Value:
        """See `Ops`."""
        return self.add("ReduceSum", x, self._axes(axis), dtype=x.dtype, keepdims=1)

    def mean(self, x: Value) -> Value:
        """See `Ops`."""
        return self.add("ReduceMean", x, self._axes(-1), dtype=x.dtype, keepdims=1)

    def largest(self, x: Value) -> Value:
        """See `Ops`."""
        return self.add("ReduceMax", x, self._axes(-1), dtype=x.dtype, keepdims=1)

    def expand(self, x: Value, axis: int) -> Value:
        """See `Ops`."""
        return self.add("Unsqueeze", x, self._axes(axis), dtype=x.dtype)

    def concat(self, arrays: Sequence[Value], axis: int) -> Value:
        """See `Ops`."""
        return self.add("Concat", *arrays, dtype=arrays[0].dtype, axis=axis)

    def last(self, x: Value, num: int, axis: int) -> Value:
        """See `Ops`."""
        return self._slice(x, -num, INT64_MAX, axis)

    def first(self, x: Value, num: int) -> Value:
        """See `Ops`."""
        return self._slice(x, 0, num, -1)

    def split_heads(self, x_BLD: Value, heads: int) -> Value:
        """See `Ops`."""
        shape = self.constant(np.array([0, 0, heads, -1], np.int64))
        return self._permuted(self.add("Reshape", x_BLD, shape, dtype=x_BLD.dtype), [0, 2, 1, 3])

    def join_heads(self, x_BHLW: Value) -> Value:
        """See `Ops`."""
        shape = self.constant(np.array([0, 0, -1], np.int64))
        return self.add("Reshape", self._permuted(x_BHLW, [0, 2, 1, 3]), shape, dtype=x_BHLW.dtype)

    def transposed(self, x_BHLW: Value) -> Value:
        """See `Ops`; of four axes."""
        return self._permuted(x_BHLW, [0, 1, 3, 2])

    def _permuted(self, x: Value, axes: list[int]) -> Value:
        return self.add("Transpose", x, dtype=x.dtype, perm=axes)

    def _axes(self, axis: int) -> Value:
        return self.constant(np.array([axis], np.int64))

    def _slice(self, x: Value, start: int, end: int, axis: int) -> Value:
        bounds = [self.constant(np.array([n], np.int64)) for n in (start, end, axis)]
        return self.add("Slice", x, *bounds, dtype=x.dtype)
