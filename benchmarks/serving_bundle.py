"""A bundle of any number of items, for measuring a server: what `my_shop` exports, with random vectors and events.

Texts and events follow a Zipf distribution. The vectors have the width of MiniLM's and are drawn at random: the time of
an answer depends on their number and width, not on their values. Texts are encoded by a small random encoder.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx, traverse_util

from llmrec_jax.baselines.parts import counting_channels, text_channels
from llmrec_jax.data.domains.records import Item
from llmrec_jax.data.texts.tokenizer import train_tokenizer
from llmrec_jax.inference import writing
from llmrec_jax.inference.bundle import BundleItem
from llmrec_jax.inference.parts import Parts
from llmrec_jax.models.architectures import ENCODERS, new_encoder
from llmrec_jax.models.rec_model import Dimensions, RecModel
from llmrec_jax.recipes import my_shop

FEATURES = 384  # as MiniLM
WORDS, BRANDS, CATEGORIES = 20_000, 2_000, 50
EVENTS_PER_USER, USERS_PER_ITEM = 8, 1
WEIGHTS = {"text": 1.0, "structure": 1.0, "graph": 0.0, "co_purchase": 1.0, "popularity": 1.0, "model": 0.5}


def write_bundle(folder: Path, num_items: int, seed: int = 0) -> None:
    """Write the bundle. Takes about a minute for 100,000 items."""
    rng = np.random.default_rng(seed)
    items = _items(num_items, rng)
    features_IF = rng.standard_normal((num_items, FEATURES), np.float32)
    users_E = np.repeat(np.arange(num_items * USERS_PER_ITEM), EVENTS_PER_USER)
    items_E = rng.permutation(num_items)[_zipf(len(users_E), num_items, rng)]
    channels = text_channels(items, features_IF) | counting_channels(items_E, users_E, num_items)
    config = my_shop.config()
    model = dataclasses.replace(config.model, compute_dtype="float32")
    dims = Dimensions(num_items, FEATURES, config.data.max_history)
    arrays, item_vectors_ID = _model(model, dims, features_IF)
    tokenizer = train_tokenizer([item.title for item in items[:5000]], "bert", 4000)
    sizes: dict[str, Any] = {
        "vocab_size": tokenizer.get_vocab_size(),
        "width": FEATURES,
        "num_layers": 2,
        "num_heads": 6,
    }
    encoder = new_encoder(ENCODERS["bert"].config(max_positions=128, dropout=0.0, **sizes), nnx.Rngs(seed))
    weights = {name: weight for name, weight in WEIGHTS.items() if name in {*channels, "model"}}
    popularity_I = np.bincount(items_E, minlength=num_items).astype(np.float32)
    writing.write(
        folder,
        facts={"target": "shop", "regime": "full", "config": dataclasses.asdict(config),
               "dims": dataclasses.asdict(dims)},
        arrays=arrays | {"item_vectors": item_vectors_ID, "popularity": popularity_I},
        items=[BundleItem(item.item_id, item.title, "shop") for item in items],
        tokenizer=tokenizer,
        encoder=encoder,
        answer=Parts(weights, channels),
        text_encoder=None,
    )  # fmt: skip
    np.save(folder.parent / "vectors.npy", features_IF / np.linalg.norm(features_IF, axis=1, keepdims=True))


def _items(num_items: int, rng: np.random.Generator) -> list[Item]:
    words_IW = _zipf((num_items, 6), WORDS, rng)
    brand_I, category_I = _zipf(num_items, BRANDS, rng), rng.integers(CATEGORIES, size=num_items)
    return [
        Item(f"item-{n}", " ".join(map(_word, words_IW[n])), f"category {category_I[n]}", _word(brand_I[n]))
        for n in range(num_items)
    ]


def _word(number: int) -> str:
    """A pronounceable word for a number."""
    text = ""
    number = int(number) + 25
    while number:
        number, part = divmod(number, 85)
        text += "bdfgklmnprstvwxyz"[part // 5] + "aeiou"[part % 5]
    return text


def _zipf(size: Any, most: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers below `most`, the n-th with a probability proportional to 1 / (n + 10)."""
    weight = 1 / (np.arange(most) + 10)
    return np.searchsorted(np.cumsum(weight / weight.sum()), rng.random(size)).clip(max=most - 1)


def _model(config: Any, dims: Dimensions, features_IF: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    graphdef, state = nnx.split(RecModel(config, dims, None, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)  # some parameters start at zero; those of a trained model do not
    params = jax.tree.map(lambda x: np.asarray(x + 0.1 * rng.standard_normal(x.shape), np.float32),
                          nnx.to_pure_dict(state))  # fmt: skip
    encode = jax.jit(lambda features_NF: nnx.merge(graphdef, params).encode_new_items(features_NF))
    vectors = [np.asarray(encode(features_IF[start : start + 10_000])) for start in range(0, len(features_IF), 10_000)]
    arrays = {path: np.asarray(array) for path, array in traverse_util.flatten_dict(params, sep=".").items()}
    return arrays, np.concatenate(vectors)
