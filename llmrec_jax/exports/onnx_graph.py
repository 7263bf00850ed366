"""An ONNX graph under construction: tensors with Python's operators, each of which adds a node.

The maintained converter, jax2onnx, is not used: it needs a newer JAX than is available for Python 3.11, and fifteen
more packages. `onnx_ops` has the operations.
"""

import dataclasses
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET, IR_VERSION = 18, 9  # read by onnxruntime since 1.15


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph. Python's operators add nodes."""

    graph: "Graph"
    name: str
    dtype: Any

    def _with(self, kind: str, other: Any, dtype: Any = None) -> "Value":
        return self.graph.add(kind, self, self.graph.value(other, self.dtype), dtype=dtype or self.dtype)

    def __add__(self, other: Any) -> "Value":
        return self._with("Add", other)

    def __sub__(self, other: Any) -> "Value":
        return self._with("Sub", other)

    def __mul__(self, other: Any) -> "Value":
        return self._with("Mul", other)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> "Value":
        return self._with("Div", other)

    def __rtruediv__(self, other: Any) -> "Value":
        return self.graph.value(other, self.dtype) / self

    def __matmul__(self, other: Any) -> "Value":
        return self._with("MatMul", other)

    def __and__(self, other: Any) -> "Value":
        return self._with("And", other)

    def __ge__(self, other: Any) -> "Value":
        return self._with("GreaterOrEqual", other, bool)

    def __gt__(self, other: Any) -> "Value":
        return self._with("Greater", other, bool)

    def __le__(self, other: Any) -> "Value":
        return self._with("LessOrEqual", other, bool)

    def __lt__(self, other: Any) -> "Value":
        return self._with("Less", other, bool)

    def __eq__(self, other: object) -> "Value":  # type: ignore[override]
        return self._with("Equal", other, bool)


class Graph:
    """Nodes and initializers that become a model."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def model(self, inputs: dict[str, tuple[Any, list[Any]]], outputs: dict[str, tuple[Value, list[Any]]]) -> Any:
        """The ONNX model with these inputs (type, shape) and outputs (value, shape), checked."""
        for name, (value, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value.name], [name]))
        ins = [_info(name, dtype, shape) for name, (dtype, shape) in inputs.items()]
        outs = [_info(name, value.dtype, shape) for name, (value, shape) in outputs.items()]
        graph = helper.make_graph(self.nodes, "llmrec", ins, outs, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="llmrec_jax")
        onnx.checker.check_model(model)
        return model

    def input(self, name: str, dtype: Any) -> Value:
        """An input, also to be named in `model`."""
        return Value(self, name, dtype)

    def add(self, kind: str, *inputs: Value, dtype: Any, **attributes: Any) -> Value:
        """Add a node with one output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [value.name for value in inputs], [name], name, **attributes))
        return Value(self, name, dtype)

    def value(self, x: Any, dtype: Any = np.float32) -> Value:
        """A value, or a number as a constant of this type."""
        return x if isinstance(x, Value) else self.constant(np.array(x, dtype))

    def constant(self, array: np.ndarray, name: str | None = None) -> Value:
        """An initializer; the same name or content is stored once."""
        name = name or f"{array.dtype}_{'_'.join(map(str, array.ravel().tolist()))}_{array.ndim}"
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return Value(self, name, array.dtype)


def _info(name: str, dtype: Any, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
