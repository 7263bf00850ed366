"""Encodes whole catalogues in batches of similar length; cached on disk under a hash of weights and tokens.

Vectors of texts serve frozen encoders (they are the item features of a run), the k-NN baselines, and items added later.
Hidden states of tokens: for encoders whose lower layers are frozen.

Shape letters: those of `types`.
"""

import dataclasses
import functools
import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.layers import pool
from llmrec_jax.train import encoding_progress

BATCH = 64  # texts encoded at a time
LENGTHS = (*range(8, 65, 4), 80, 96, 128, 192, 256, 384, 512, 768, 1024)  # padded lengths: one compilation each

Pooling = Literal["mean", "cls", "last"]


def encode_texts(encoder: Bert | Gpt2, table: TokenTable, pooling: Pooling) -> np.ndarray:
    """One vector a text, float32 [N, F]."""
    graphdef, params = nnx.split(encoder)
    vectors_NF = np.zeros((len(table), encoder.config.width), np.float32)
    for rows, tokens_BL, mask_BL in batches(table, encoder.config.max_positions):
        vectors_BF = _encode(params, tokens_BL, mask_BL, graphdef=graphdef, pooling=pooling)
        vectors_NF[rows] = np.asarray(vectors_BF)[: len(rows)]
    return vectors_NF


def hidden_states(encoder: Bert | Gpt2, table: TokenTable) -> np.ndarray:
    """One vector a token, texts end to end [T, F], as the last layer of `encoder` leaves it: no final norm."""
    graphdef, params = nnx.split(encoder)
    hidden_TF = np.zeros((len(table.ids), encoder.config.width), encoder.config.dtype)
    for rows, tokens_BL, mask_BL in batches(table, encoder.config.max_positions):
        hidden_BLF = np.asarray(_hidden(params, tokens_BL, mask_BL, graphdef=graphdef))
        real_BL = mask_BL[: len(rows)]
        places_BL = table.offsets[rows][:, None] + np.arange(mask_BL.shape[1])
        hidden_TF[places_BL[real_BL]] = hidden_BLF[: len(rows)][real_BL]
    return hidden_TF


def batches(table: TokenTable, max_positions: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of the table with their tokens and mask, padded to `BATCH` rows. Sorted by length: little is padding."""
    lengths_N = np.diff(table.offsets)
    order = np.argsort(lengths_N, kind="stable")
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        length = next(length for length in LENGTHS if length >= lengths_N[rows[-1]])
        yield rows, *table.padded(np.resize(rows, BATCH), min(length, max_positions))


@functools.partial(jax.jit, static_argnames=("graphdef", "pooling"))
def _encode(params: Any, tokens_BL: jax.Array, mask_BL: jax.Array, *, graphdef: Any, pooling: Pooling) -> jax.Array:
    return pool(nnx.merge(graphdef, params)(tokens_BL, mask_BL), mask_BL, pooling).astype(jnp.float32)


@functools.partial(jax.jit, static_argnames="graphdef")
def _hidden(params: Any, tokens_BL: jax.Array, mask_BL: jax.Array, *, graphdef: Any) -> jax.Array:
    encoder = nnx.merge(graphdef, params)
    return encoder.stack(encoder.embed(tokens_BL, mask_BL), mask_BL)


def cached_features(encoder: Bert | Gpt2, table: TokenTable, pooling: Pooling, cache: Path) -> np.ndarray:
    """`encode_texts`, made once."""

    def make() -> np.ndarray:
        with encoding_progress.shown(table) as shown:
            return encode_texts(encoder, shown, pooling)

    return _cached(make, pooling, encoder, table, cache)


def cached_hidden_states(encoder: Bert | Gpt2, table: TokenTable, cache: Path) -> np.ndarray:
    """`hidden_states`, made once."""

    def make() -> np.ndarray:
        with encoding_progress.shown(table) as shown:
            return hidden_states(encoder, shown)

    # NumPy reads a dtype that is not its own (bfloat16) as bytes.
    hidden_TF = _cached(make, "hidden", encoder, table, cache)
    return hidden_TF.view(encoder.config.dtype)


def _cached(make: Callable[[], np.ndarray], what: str, encoder: Bert | Gpt2, table: TokenTable, cache: Path) -> Any:
    """What `make` returns, from disk where it is there: a file's name is a hash of `what`, weights and tokens."""
    # How the encoder runs (remat, dropout, a dtype by another name) does not change what it says.
    config = dataclasses.replace(encoder.config, dtype=jnp.dtype(encoder.config.dtype), remat="none", dropout=0.0)
    digest = hashlib.sha256(f"{what} {config}".encode())
    for leaf in jax.tree.leaves(nnx.state(encoder)):
        digest.update(np.asarray(leaf).tobytes())
    for array in (table.ids, table.offsets):
        digest.update(np.ascontiguousarray(array).tobytes())
    path = cache / f"{digest.hexdigest()[:32]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.npy")  # hosts that share a cache may share process ids
        try:
            np.save(draft, make())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return np.load(path)
