"""Computes the outputs of frozen encoders on the texts of a catalogue, cached under a hash of weights and tokens.

Text vectors are the item features with a frozen encoder, and the features of the k-NN baselines. Hidden states of
tokens are the input of an encoder whose lower layers are frozen.

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
from llmrec_jax.progress import shown


def cached_features(encoder: Bert | Gpt2, table: TokenTable, pooling: Pooling, cache: Path) -> np.ndarray:
    """`encode_texts`, cached."""

    def make() -> np.ndarray:
        with shown("encoding texts", len(table)) as meter:
            return encode_texts(encoder, table, pooling, meter.advance)

    return _cached(make, pooling, encoder, table, cache)


def cached_hidden_states(encoder: Bert | Gpt2, table: TokenTable, cache: Path) -> np.ndarray:
    """`hidden_states`, cached."""

    def make() -> np.ndarray:
        with shown("encoding texts", len(table)) as meter:
            return hidden_states(encoder, table, meter.advance)

    # np.load returns dtypes that NumPy lacks (bfloat16) as raw bytes.
    hidden_TF = _cached(make, "hidden", encoder, table, cache)
    return hidden_TF.view(encoder.config.dtype)


def _cached(make: Callable[[], np.ndarray], what: str, encoder: Bert | Gpt2, table: TokenTable, cache: Path) -> Any:
    """The result of `make()`, cached in a file named by a hash of `what`, weights and tokens."""
    # Remat, dropout and the spelling of the dtype do not change the output.
    config = dataclasses.replace(encoder.config, dtype=jnp.dtype(encoder.config.dtype), remat="none", dropout=0.0)
    digest = hashlib.sha256(f"{what} {config}".encode())
    for leaf in jax.tree.leaves(nnx.state(encoder)):
        digest.update(np.asarray(leaf).tobytes())
    for array in (table.ids, table.offsets):
        digest.update(np.ascontiguousarray(array).tobytes())
    path = cache / f"{digest.hexdigest()[:32]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.npy")  # not the process id: hosts may share a cache
        try:
            np.save(draft, make())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return np.load(path)
