"""The `jax` export: the scorer and the text encoder by `jax.export`, for CPU, CUDA and TPU, with any number of rows.

    scorer.stablehlo    history [b, s] int32, padded with -1 on the left to at least `shortest_history` steps
                        -> scores [b, J], user vectors [b, D]
    encoder.stablehlo   tokens [b, L] int32, mask [b, L] bool -> features [b, F], item vectors [b, D]
    *.safetensors       the arrays that the programs take as their first argument
    manifest.json, items.json, tokenizer.json

`load` needs jax and safetensors only. JAX keeps such programs readable for six months of its versions.

Shape letters: those of `network`.
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import export as jax_export

from llmrec_jax.errors import UserError
from llmrec_jax.exports import network, text_encoder
from llmrec_jax.exports.array_ops import Ops
from llmrec_jax.exports.scorer import Scorer, write_json
from llmrec_jax.exports.text_encoder import TextEncoder

PLATFORMS = ("cpu", "cuda", "tpu")


class JaxOps(Ops):
    """The operations on JAX arrays."""

    xp = jnp

    def erf(self, x: Any) -> Any:
        """The error function."""
        return jax.lax.erf(x)

    def scatter(self, values_BS: Any, index_BS: Any, num: int) -> Any:
        """See `Ops`."""
        rows_B1 = jnp.arange(values_BS.shape[0])[:, None]
        return jnp.zeros((values_BS.shape[0], num)).at[rows_B1, index_BS].add(values_BS)

    def gather_scatter(self, x: Any, source_N: Any, weight_N: Any, goal_N: Any, num: int) -> Any:
        """See `Ops`."""
        return jnp.zeros((x.shape[0], num)).at[:, goal_N].add(x[:, source_N] * weight_N)


class Program(NamedTuple):
    """An exported program with its arrays: call it with NumPy or JAX arrays."""

    call: Callable[..., tuple[jax.Array, jax.Array]]
    manifest: dict[str, Any]


def write(scorer: Scorer, encoder: TextEncoder | None, folder: Path) -> None:
    """Write the programs and their arrays to an existing folder."""
    shortest = scorer.facts["tower"]["max_history"]
    batch, steps = jax_export.symbolic_shape(f"b, s + {shortest - 1}")  # s is at least 1
    history = jax.ShapeDtypeStruct((batch, steps), jnp.int32)
    manifest: dict[str, Any] = {"platforms": PLATFORMS, "shortest_history": shortest}
    _write_program(folder, "scorer", _scores(scorer.facts), scorer.arrays, history)
    if encoder is not None:
        length = encoder.facts["max_tokens"]
        texts = [jax.ShapeDtypeStruct((batch, length), dtype) for dtype in (jnp.int32, jnp.bool_)]
        _write_program(folder, "encoder", _vectors(encoder.facts), encoder.arrays, *texts)
        manifest["tokens"] = length
    write_json(folder / "items.json", scorer.items)
    write_json(folder / "manifest.json", manifest | {"jax": jax.__version__, "target": scorer.facts["target"],
                                                     "num_target": scorer.facts["num_target"]})  # fmt: skip


def load(folder: str | Path, name: str = "scorer") -> Program:
    """Read an exported program: `scorer` or `encoder`.

    Raises:
      ValueError: the folder does not hold it.
    """
    folder = Path(folder)
    if not (folder / f"{name}.stablehlo").is_file():
        raise UserError(f"{folder}: no {name}.stablehlo; not a folder of `llmrec export --format jax`")
    exported = jax_export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes()))
    arrays = jax.device_put(safetensors.numpy.load_file(folder / f"{name}.safetensors"))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    return Program(functools.partial(jax.jit(exported.call), arrays), manifest)


def padded(histories: Sequence[Sequence[int]], shortest: int) -> np.ndarray:
    """Item numbers as the scorer takes them, int32 [B, S] with S at least `shortest`."""
    rows = np.full((len(histories), max(shortest, *map(len, histories))), -1, np.int32)
    for row, history in zip(rows, histories, strict=True):
        row[len(row) - len(history) :] = history
    return rows


def _write_program(folder: Path, name: str, function: Any, arrays: dict[str, np.ndarray], *inputs: Any) -> None:
    shapes = {key: jax.ShapeDtypeStruct(array.shape, array.dtype) for key, array in arrays.items()}
    with jax.numpy_rank_promotion("allow"), jax.default_matmul_precision("highest"):
        exported = jax_export.export(jax.jit(function), platforms=PLATFORMS)(shapes, *inputs)
    (folder / f"{name}.stablehlo").write_bytes(exported.serialize())
    contiguous = {key: np.asarray(array, order="C") for key, array in arrays.items()}
    (folder / f"{name}.safetensors").write_bytes(safetensors.numpy.save(contiguous))


def _scores(facts: dict[str, Any]) -> Callable[..., Any]:
    return lambda arrays, history_BS: network.score(JaxOps(arrays), facts, history_BS)


def _vectors(facts: dict[str, Any]) -> Callable[..., Any]:
    return lambda arrays, tokens_BL, mask_BL: text_encoder.item_vectors(JaxOps(arrays), facts, tokens_BL, mask_BL)
