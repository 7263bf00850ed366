"""Text vectors of whole catalogues: encoded in batches of similar length, cached on disk by what decides them.

For frozen encoders (their vectors are the item features of a run), for the k-NN arms, and for items that come later.

Shape letters: those of `types`.
"""

import dataclasses
import functools
import hashlib
import os
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llmrec_jax.data.tokenizer import TokenTable
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.layers import pool

BATCH = 64  # texts encoded at a time
LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # padded lengths: one compilation each

Pooling = Literal["mean", "cls", "last"]


def encode_texts(encoder: Bert | Gpt2, table: TokenTable, pooling: Pooling) -> np.ndarray:
    """One vector a text, float32 [N, F]. Texts are sorted by length, so little padding is computed."""
    lengths_N = np.diff(table.offsets)
    order = np.argsort(lengths_N, kind="stable")
    graphdef, params = nnx.split(encoder)
    vectors_NF = np.zeros((len(table), encoder.config.width), np.float32)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        length = next(length for length in LENGTHS if length >= lengths_N[rows[-1]])
        tokens_BL, mask_BL = table.padded(np.resize(rows, BATCH), min(length, encoder.config.max_positions))
        vectors_NF[rows] = np.asarray(_encode(params, tokens_BL, mask_BL, graphdef=graphdef, pooling=pooling))[
            : len(rows)
        ]
    return vectors_NF


@functools.partial(jax.jit, static_argnames=("graphdef", "pooling"))
def _encode(params: Any, tokens_BL: jax.Array, mask_BL: jax.Array, *, graphdef: Any, pooling: Pooling) -> jax.Array:
    return pool(nnx.merge(graphdef, params)(tokens_BL, mask_BL), mask_BL, pooling).astype(jnp.float32)


def cached_features(encoder: Bert | Gpt2, table: TokenTable, pooling: Pooling, cache: Path) -> np.ndarray:
    """`encode_texts`, made once: the file's name is a hash of the weights, the tokens and the pooling."""
    # How the encoder runs (remat, dropout, a dtype by another name) does not change what it says.
    config = dataclasses.replace(encoder.config, dtype=jnp.dtype(encoder.config.dtype), remat=False, dropout=0.0)
    digest = hashlib.sha256(f"{pooling} {config}".encode())
    for leaf in jax.tree.leaves(nnx.state(encoder)):
        digest.update(np.asarray(leaf).tobytes())
    for array in (table.ids, table.offsets):
        digest.update(np.ascontiguousarray(array).tobytes())
    path = cache / f"{digest.hexdigest()[:32]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.stem}.{os.getpid()}.npy")
        np.save(temporary, encode_texts(encoder, table, pooling))
        os.replace(temporary, path)
    return np.load(path)
