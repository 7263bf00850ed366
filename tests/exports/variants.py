"""Bundles with other user towers, encoders and channels than the one that a run exported, all random."""

import dataclasses
import shutil

import numpy as np
from flax import nnx, traverse_util

from llmrec_jax.data.texts.tokenizer import train_tokenizer
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.models import save_pretrained
from llmrec_jax.models.architectures import ENCODERS, new_encoder
from llmrec_jax.models.rec_model import Dimensions, RecModel

HISTORIES = (
    ["book-0001"],
    ["film-0001", "film-0002"],  # of a source only
    ["film-0003", *(f"book-{n:04}" for n in range(20, 45)), "film-0004"],  # longer than any part reads
    [],
)


def with_model(bundle, **changes):
    """The bundle with another model."""
    model = dataclasses.replace(bundle.model, **changes)
    dims = bundle.dims | {"has_times": model.user_tower == "hstu"}
    built = RecModel(model, Dimensions(**dims), None, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    flat = traverse_util.flatten_dict(nnx.to_pure_dict(nnx.state(built)), sep=".")
    arrays = {name: np.asarray(x + 0.3 * rng.standard_normal(x.shape), np.float32) for name, x in flat.items()}
    vectors_ID = rng.standard_normal((len(bundle.items), model.width)).astype(np.float32)
    vectors_ID[-3:] = 0  # items that the model does not know
    if model.score == "cosine":
        vectors_ID /= np.maximum(np.linalg.norm(vectors_ID, axis=1, keepdims=True), 1e-6)
    if model.item_bias:
        vectors_ID = np.concatenate([vectors_ID, rng.standard_normal((len(vectors_ID), 1)).astype(np.float32)], axis=1)
    extras = bundle.extras | {"item_vectors": vectors_ID}
    return dataclasses.replace(bundle, model=model, dims=dims, arrays=arrays, extras=extras)


def with_encoder(bundle, folder, kind, *, is_whitened=False, pooling="mean", **changes):
    """A bundle in a new folder with a random encoder of width 32 and its tokenizer; `changes` of the model."""
    shutil.copytree(bundle.folder, folder)
    tokenizer = train_tokenizer([item.title for item in bundle.items], kind, 300)
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "width": 32, "num_layers": 2, "num_heads": 4}
    encoder = new_encoder(ENCODERS[kind].config(max_positions=64, dropout=0.0, **sizes), nnx.Rngs(3))
    graphdef, state = nnx.split(encoder)
    rng = np.random.default_rng(1)
    flat = traverse_util.flatten_dict(nnx.to_pure_dict(state))
    shaken = {path: np.asarray(x + 0.2 * rng.standard_normal(x.shape), np.float32) for path, x in flat.items()}
    save_pretrained(nnx.merge(graphdef, traverse_util.unflatten_dict(shaken)), folder / "encoder", tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))
    bundle = dataclasses.replace(bundle, dims=bundle.dims | {"feature_width": 32, "pooling": pooling})
    bundle = with_model(bundle, **changes)
    extras = dict(bundle.extras)
    if is_whitened:
        extras |= {
            "whitening_mean": rng.standard_normal(32).astype(np.float32),
            "whitening_transform": rng.standard_normal((32, 32)).astype(np.float32),
        }
    return dataclasses.replace(bundle, folder=folder, extras=extras, files=bundle_lib._identity(folder))
