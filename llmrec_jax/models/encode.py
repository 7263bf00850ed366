"""Encodes many texts in batches of similar length: a vector for each text, or a hidden state for each token.

No caching (see `train/features.py`) and no tokenizer: the input is token ids.

Shape letters: those of `types`.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.layers import pool

Pooling = Literal["mean", "cls", "last"]


class Shapes(NamedTuple):
    """The shapes of the batches; each padded length is one compilation."""

    texts: int  # texts per batch; fewer if they are long
    tokens: int  # at most, per batch, including padding
    lengths: tuple[int, ...]  # padded lengths


# A CPU pays for padding and compiles in half a second. A GPU compiles for 15 seconds and hardly notices padding.
ON_CPU = Shapes(64, 64 * 512, (*range(8, 65, 4), 80, 96, 128, 192, 256, 384, 512, 768, 1024))
ON_ACCELERATOR = Shapes(1024, 128 * 1024, (32, 64, 128, 256, 512, 1024))


class Texts(Protocol):
    """Token ids of N texts, concatenated: text `n` is `ids[offsets[n]:offsets[n + 1]]`."""

    @property
    def ids(self) -> np.ndarray:
        """int32 [T]."""

    @property
    def offsets(self) -> np.ndarray:
        """int64 [N + 1]."""

    def padded(self, rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and mask of some texts, int32 and bool [R, L], padded on the right."""


def encode_texts(
    encoder: Bert | Gpt2, table: Texts, pooling: Pooling, on_batch: Callable[[int], None] = lambda _: None
) -> np.ndarray:
    """One vector per text, float32 [N, F]. `on_batch` is called with the number of texts of each encoded batch."""
    graphdef, params = nnx.split(encoder)
    vectors_NF = np.zeros((len(table.offsets) - 1, encoder.config.width), np.float32)
    for rows, tokens_BL, mask_BL in batches(table, encoder.config.max_positions):
        vectors_BF = _encode(params, tokens_BL, mask_BL, graphdef=graphdef, pooling=pooling)
        vectors_NF[rows] = np.asarray(vectors_BF)[: len(rows)]
        on_batch(len(rows))
    return vectors_NF


def hidden_states(encoder: Bert | Gpt2, table: Texts, on_batch: Callable[[int], None] = lambda _: None) -> np.ndarray:
    """One vector per token, texts concatenated [T, F], from the last layer of `encoder` without a final norm."""
    graphdef, params = nnx.split(encoder)
    hidden_TF = np.zeros((len(table.ids), encoder.config.width), encoder.config.dtype)
    for rows, tokens_BL, mask_BL in batches(table, encoder.config.max_positions):
        hidden_BLF = np.asarray(_hidden(params, tokens_BL, mask_BL, graphdef=graphdef))
        real_BL = mask_BL[: len(rows)]
        places_BL = table.offsets[rows][:, None] + np.arange(mask_BL.shape[1])
        hidden_TF[places_BL[real_BL]] = hidden_BLF[: len(rows)][real_BL]
        on_batch(len(rows))
    return hidden_TF


def batches(
    table: Texts, max_positions: int, shapes: Shapes | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields rows (sorted by length, for little padding), tokens and mask; the last batch repeats texts to be full.

    Without `shapes`, those of JAX's default device.
    """
    shapes = shapes or (ON_CPU if jax.default_backend() == "cpu" else ON_ACCELERATOR)
    lengths_N = np.diff(table.offsets)
    order = np.argsort(lengths_N, kind="stable")
    most = min(shapes.texts, max(ON_CPU.texts, 2 ** (len(order) - 1).bit_length()))  # few texts, small batches
    start = 0
    while start < len(order):
        rows = order[start : start + most]
        length = min(padded_length(lengths_N[rows[-1]], shapes.lengths), max_positions)
        size = min(most, max(1, shapes.tokens // length))
        rows = rows[:size]
        yield rows, *table.padded(np.resize(rows, size), length)
        start += len(rows)


def padded_length(length: int, lengths: tuple[int, ...]) -> int:
    """`length` rounded up to one of `lengths`, or beyond them to the last one times a power of two."""
    longest = lengths[-1]
    while longest < length:
        longest *= 2
    return next((padded for padded in lengths if padded >= length), longest)


@functools.partial(jax.jit, static_argnames=("graphdef", "pooling"))
def _encode(params: Any, tokens_BL: jax.Array, mask_BL: jax.Array, *, graphdef: Any, pooling: Pooling) -> jax.Array:
    return pool(nnx.merge(graphdef, params)(tokens_BL, mask_BL), mask_BL, pooling).astype(jnp.float32)


@functools.partial(jax.jit, static_argnames="graphdef")
def _hidden(params: Any, tokens_BL: jax.Array, mask_BL: jax.Array, *, graphdef: Any) -> jax.Array:
    encoder = nnx.merge(graphdef, params)
    return encoder.stack(encoder.embed(tokens_BL, mask_BL), mask_BL)
