"""The whole model: text encoder, item tower, user tower, heads of the losses. See `forward` for a batch."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.heads import HEADS
from llmrec_jax.models.item_tower import ItemTower
from llmrec_jax.models.layers import pool
from llmrec_jax.models.scoring import Scoring
from llmrec_jax.models.user_tower import UserTower
from llmrec_jax.types import Catalog, Head


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """Sizes of a recommender that are not in `ModelConfig`; saved with it."""

    num_items: int  # of the joint catalogue
    feature_width: int  # of the encoder's vectors
    max_history: int
    pooling: Literal["mean", "cls", "last"] = "mean"
    has_times: bool = False  # the batches have times, so that HSTU learns a bias for them


class RecModel(nnx.Module):
    """Items [U] -> vectors [U, D]; histories of item vectors -> user vectors. A score is their dot product."""

    def __init__(
        self,
        config: ModelConfig,
        dims: Dimensions,
        encoder: Bert | Gpt2 | None,
        *,
        heads: Mapping[str, Head] | None = None,
        rngs: nnx.Rngs,
    ):
        """Initialize the parameters randomly.

        Args:
          config: of the towers.
          dims: see `Dimensions`.
          encoder: None if the catalogue holds vectors of a frozen encoder, or the items have no text.
          heads: what the terms of the objective train on top of the vectors, by name (see `heads`).
          rngs: stream "params".
        """
        self.pooling = dims.pooling
        self.encoder = encoder
        self.item_tower = ItemTower(config, num_items=dims.num_items, feature_width=dims.feature_width, rngs=rngs)
        self.user_tower = UserTower(config, max_history=dims.max_history, has_times=dims.has_times, rngs=rngs)
        self.scoring = Scoring(config, num_items=dims.num_items)
        modules = {
            name: HEADS[head.kind](config.width, **head.options, rngs=rngs) for name, head in (heads or {}).items()
        }
        self.heads = nnx.Dict(modules) if modules else None

    def encode_texts(
        self, rows_U: jax.Array, catalog: Catalog, key: jax.Array | None = None, *, length: int | None = None
    ) -> jax.Array:
        """Features of the catalogue's texts `rows_U`, float32 [U, F], from tokens or from hidden states."""
        assert self.encoder is not None
        assert catalog.token_mask_IL is not None
        mask_UL = catalog.token_mask_IL[:, :length][rows_U]
        if catalog.tokens_IL is not None:
            tokens_UL = catalog.tokens_IL[:, :length][rows_U]
            hidden_ULF = self.encoder(tokens_UL, mask_UL, rngs=None if key is None else nnx.Rngs(dropout=key))
        else:
            assert catalog.hidden_TF is not None
            assert catalog.hidden_start_I is not None
            states_UL = catalog.hidden_start_I[rows_U][:, None] + jnp.arange(mask_UL.shape[1])[None]
            # Padding reads state 0: past the end of a text, the states of the next text begin or the array ends.
            hidden_ULF = self.encoder.upper(catalog.hidden_TF[jnp.where(mask_UL, states_UL, 0)], mask_UL, key)
        return pool(hidden_ULF, mask_UL, self.pooling)

    def encode_items(self, items_U: jax.Array, catalog: Catalog) -> jax.Array:
        """Vectors of catalogue items as they are scored (see `scoring`), float32 [U, D]."""
        return self.scored_items(self.raw_items(items_U, catalog), items_U, catalog)

    def scored_items(self, raw_UD: jax.Array, items_U: jax.Array, catalog: Catalog) -> jax.Array:
        """Vectors as they are scored, from those of `raw_items`."""
        return self.scoring.items(raw_UD, items_U, catalog.trained_I[items_U])

    def raw_items(
        self,
        items_U: jax.Array,
        catalog: Catalog,
        key: jax.Array | None = None,
        *,
        length: int | None = None,
        chunk_size: int = 0,
        field_dropout: float = 0.0,
    ) -> jax.Array:
        """Vectors of catalogue items as they leave the item tower: before L2-normalization, without a bias [U, D].

        Args:
          items_U: item numbers.
          catalog: the joint catalogue.
          key: for dropout; None is deterministic.
          length: padded length of the texts, in tokens; None: that of the catalogue.
          chunk_size: texts encoded at a time (see `_in_chunks`); 0: all.
          field_dropout: probability of encoding only an item's title; unused without a key.
        """
        rows_U, features_UF = items_U, None
        if key is not None and field_dropout:
            title_key, key = jax.random.split(key)
            is_title_U = jax.random.bernoulli(title_key, field_dropout, items_U.shape)
            rows_U = jnp.where(is_title_U, items_U + len(catalog.domain_I), items_U)
        if catalog.features_IF is not None:
            features_UF = catalog.features_IF[rows_U]
        elif self.encoder is not None:
            features_UF = _in_chunks(
                lambda rows_U, key: self.encode_texts(rows_U, catalog, key, length=length), rows_U, key, chunk_size
            )
        return self.item_tower(features_UF, items_U, catalog.trained_I[items_U])

    def encode_new_items(self, features_NF: jax.Array) -> jax.Array:
        """Vectors of items added after training, as they are scored, from their text features."""
        return self.scoring.items(self.item_tower(features_NF))

    def encode_histories(
        self,
        items_RSD: jax.Array,
        segment_RS: jax.Array,
        key: jax.Array | None = None,
        masked_RS: jax.Array | None = None,
        time_RS: jax.Array | None = None,
    ) -> jax.Array:
        """User vectors as they are scored, from item vectors as they are scored; zero on padding. See `UserTower`."""
        users_RSD = self.scoring.users(self.raw_users(items_RSD, segment_RS, key, masked_RS, time_RS))
        return jnp.where(segment_RS[..., None] > 0, users_RSD, 0)

    def raw_users(
        self,
        items_RSD: jax.Array,
        segment_RS: jax.Array,
        key: jax.Array | None = None,
        masked_RS: jax.Array | None = None,
        time_RS: jax.Array | None = None,
    ) -> jax.Array:
        """User vectors as they leave the user tower: before L2-normalization; zero on padding."""
        users_RSD = self.user_tower(self.scoring.without_bias(items_RSD), segment_RS, key, masked_RS, time_RS)
        return jnp.where(segment_RS[..., None] > 0, users_RSD, 0)


def _in_chunks(
    encode: Callable[[jax.Array, jax.Array | None], jax.Array], rows_U: jax.Array, key: jax.Array | None, size: int
) -> jax.Array:
    """`encode(rows_U, key)` [U, F], at most `size` rows at a time; 0: all at once.

    Only a chunk's vectors are saved, and the backward pass encodes it again, so memory holds the activations of one
    chunk (GradCache, Gao et al. 2021, arXiv:2101.06983). Each device has a contiguous block of rows, so the rows are
    reshaped to a matrix and a chunk is some of its columns: every chunk then has rows of every device.
    """
    num_items = len(rows_U)
    if not 0 < size < num_items:
        return encode(rows_U, key)
    rows = math.gcd(num_items, size)  # divisible by any number of devices that divides both
    columns, num_chunks = num_items // rows, -(-num_items // size)
    width = -(-columns // num_chunks)  # columns per chunk
    padded = jnp.pad(rows_U.reshape(rows, columns), ((0, 0), (0, num_chunks * width - columns)))
    chunks = jnp.moveaxis(padded.reshape(rows, num_chunks, width), 1, 0).reshape(num_chunks, rows * width)
    keys = None if key is None else jax.random.split(key, num_chunks)
    checkpointed = jax.checkpoint(encode, prevent_cse=False)
    _, features = jax.lax.scan(lambda _, chunk: (None, checkpointed(*chunk)), None, (chunks, keys))
    features = jnp.moveaxis(features.reshape(num_chunks, rows, width, -1), 0, 1)
    return features.reshape(rows, num_chunks * width, -1)[:, :columns].reshape(num_items, -1)
