"""What a frozen encoder makes of a catalogue's texts, cached on disk under a hash of weights and tokens.

Vectors of texts serve frozen encoders (they are the item features of a run) and the k-NN baselines; hidden states of
tokens, encoders whose lower layers are frozen.

Shape letters: those of `types`.
"""

import dataclasses
import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.encode import Pooling, encode_texts, hidden_states
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.train.encoding_progress import encoding_progress


def cached_features(encoder: Bert | Gpt2, table: TokenTable, pooling: Pooling, cache: Path) -> np.ndarray:
    """`encode_texts`, made once."""

    def make() -> np.ndarray:
        with encoding_progress(len(table)) as on_batch:
            return encode_texts(encoder, table, pooling, on_batch)

    return _cached(make, pooling, encoder, table, cache)


def cached_hidden_states(encoder: Bert | Gpt2, table: TokenTable, cache: Path) -> np.ndarray:
    """`hidden_states`, made once."""

    def make() -> np.ndarray:
        with encoding_progress(len(table)) as on_batch:
            return hidden_states(encoder, table, on_batch)

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
