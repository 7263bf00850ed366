"""What a compiled program does on one chip, read off its text: traffic between chips and to memory; and FLOPs.

Pure functions of text and of a traced program; nothing is compiled here. An operation inside a loop counts as often as
the loop turns: XLA's own cost analysis counts it once, and here the loop is over the layers of the encoder.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

BYTES = {"f64": 8, "s64": 8, "u64": 8, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "pred": 1, "s8": 1, "u8": 1}  # else 4
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# These move nothing through memory: names for what is there already, or counted where their parts are.
FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "conditional", "copy-start",
        "slice-start", "after-all", "partition-id", "replica-id"}  # fmt: skip


class Operation(NamedTuple):
    """One instruction of a compiled program."""

    kind: str
    result: str  # its type, as text
    operands: tuple[str, ...]  # their types
    text: str
    inside: str  # the computation that it stands in
    times: int  # how often a step runs it


def operations(hlo: str) -> list[Operation]:
    """All instructions that a step runs, those inside of fusions included."""
    bodies = {
        name: [line for line in text.splitlines() if " = " in line]
        for name, text in re.findall(r"^(?:ENTRY )?%?([\w.-]+) \(.*?\{\n(.*?)^\}$", hlo, re.DOTALL | re.MULTILINE)
    }
    entry = re.search(r"^ENTRY %?([\w.-]+)", hlo, re.MULTILINE)
    return list(_run(bodies, entry.group(1) if entry else "", 1))


def _run(bodies: dict[str, list[str]], name: str, times: int) -> Iterator[Operation]:
    types: dict[str, str] = {}
    for line in bodies.get(name, ()):
        match = re.match(r"\s*(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)", line)
        if match is None:
            continue
        own, result, kind, rest = match.groups()
        types[own] = result
        operands = tuple(types.get(operand, "") for operand in re.findall(r"%([\w.-]+)", rest.split("), ")[0]))
        yield Operation(kind, result, operands, line, name, times)
        called = dict(re.findall(r"(body|condition|calls)=%?([\w.-]+)", rest))
        turns = 1
        if kind == "while":  # from 0 up to a constant, as `lax.scan` makes them
            limits = re.findall(r" constant\((\d+)\)", "\n".join(bodies.get(called["condition"], ())))
            turns = max(map(int, limits), default=1)
        for role in ("body", "calls"):
            yield from _run(bodies, called.get(role, ""), times * turns)


def size_of(type_text: str, memory_only: bool = False) -> int:
    """Bytes of an array or a tuple of arrays; with `memory_only`, without what lies in a chip's fast memory."""
    total = 0
    for dtype, dims, layout in re.findall(r"(\w+)\[([\d,]*)\](\{[^}]*\})?", type_text):
        if not (memory_only and "S(" in layout):
            total += BYTES.get(dtype, 4) * math.prod(int(dim) for dim in dims.split(",") if dim)
    return total


def collectives(program: list[Operation]) -> dict[str, dict[str, int]]:
    """Of each kind of collective: how many a step runs, and bytes of the whole arrays that they make or take apart."""
    found: dict[str, dict[str, int]] = {}
    seen = set()
    for operation in program:
        kind = operation.kind.removesuffix("-start")
        channel = re.search(r"channel_id=(\d+)", operation.text)
        if kind not in COLLECTIVES or (channel and channel.group() in seen):
            continue  # spread over several fusions, so that products run beside it, a collective stands in each
        seen.add(channel.group() if channel else operation.text)
        if operation.inside.startswith("all-reduce-scatter"):  # what the TPU compiler makes of a reduce-scatter
            kind = "reduce-scatter"
        given, made = sum(map(size_of, operation.operands)), size_of(operation.result)
        if operation.kind.endswith("-start"):
            made -= given  # its result holds the operands too
        counts = found.setdefault(kind, {"count": 0, "bytes": 0})
        counts["count"] += operation.times
        counts["bytes"] += operation.times * max(given, made)
    return found


def ici_bytes(counts: dict[str, dict[str, int]]) -> int:
    """Bytes that a chip sends in a step's collectives, around rings: an array once, in an all-reduce twice."""
    return sum((2 if kind == "all-reduce" else 1) * count["bytes"] for kind, count in counts.items())


def memory_bytes(program: list[Operation]) -> int:
    """Bytes that a step reads from a chip's memory and writes to it: operands and results of all but fused operations.

    Approximate. Of a stack of layers, a turn of the loop touches one.
    """
    fused = set(re.findall(r"calls=%?([\w.-]+)", "\n".join(operation.text for operation in program)))
    total = 0
    for operation in program:
        if operation.inside in fused or operation.kind in FREE:
            continue
        if operation.kind in ("copy-done", "slice-done"):  # between memory and fast memory: one side of it counts
            total += operation.times * size_of(operation.result)
            continue
        for type_text in (operation.result, *operation.operands):
            for array in re.findall(r"\w+\[[\d,]*\](?:\{[^}]*\})?", type_text):
                is_stack = operation.times > 1 and f"[{operation.times}," in array
                total += size_of(array, memory_only=True) * (1 if is_stack else operation.times)
    return total


def compiled_matmul_flops(program: list[Operation]) -> int:
    """FLOPs of all matrix products of a compiled program, on one device.

    Without what the compiler left out, with what it lets several devices compute alike. Products that it writes as
    anything but `dot`, as TPU's does, are not seen.
    """

    def numbers(pattern: str, text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", re.findall(pattern, text)[0])]

    total = 0
    for operation in program:
        if operation.kind == "dot":
            made, left = (numbers(r"\[([\d,]*)\]", array) for array in (operation.result, operation.operands[0]))
            contracted = numbers(r"lhs_contracting_dims=\{([\d,]*)\}", operation.text)
            total += operation.times * 2 * math.prod(made) * math.prod(left[dim] for dim in contracted)
    return total


def matmul_flops(jaxpr: Any) -> float:
    """FLOPs of all matrix products of a traced program, on all devices, recomputation included."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[dim] for dim in contracted)
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        if equation.primitive.name == "shard_map":  # every device runs it
            times = equation.params["mesh"].size
        total += times * sum(matmul_flops(inner) for inner in _inner(equation.params))
    return total


def _inner(params: dict[str, Any]) -> list[Any]:
    """The programs that an equation calls."""
    values = [value for param in params.values() for value in (param if isinstance(param, tuple) else (param,))]
    return [getattr(value, "jaxpr", value) for value in values if hasattr(value, "eqns") or hasattr(value, "jaxpr")]
