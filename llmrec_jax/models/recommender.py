"""The whole model: text encoder, item tower, user tower, domain discriminator; and its forward pass over a batch.

The forward pass is written for one device's share of a batch. `shards` says how shares meet: distinct items are encoded
where they lie and then gathered, so that every device sees all item vectors of the batch.
"""

import dataclasses
from collections.abc import Iterable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.item_tower import ItemTower
from llmrec_jax.models.layers import pool, split_key
from llmrec_jax.models.user_tower import UserTower
from llmrec_jax.types import ALONE, Batch, Catalog, Outputs, Shards


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a recommender's shapes depend on beside `ModelConfig`; saved with it."""

    num_items: int  # of the joint catalogue
    feature_width: int  # of the encoder's vectors
    max_history: int
    pooling: Literal["mean", "cls", "last"] = "mean"


class Recommender(nnx.Module):
    """Items [U] -> vectors [U, D]; histories of item vectors -> user vectors. A score is their dot product."""

    def __init__(
        self, config: ModelConfig, sizes: Sizes, encoder: Bert | Gpt2 | None, *, discriminator: bool, rngs: nnx.Rngs
    ):
        """`encoder=None`: the catalogue holds a frozen encoder's vectors, or the items have no text."""
        self.pooling = sizes.pooling
        self.encoder = encoder
        self.item_tower = ItemTower(config, num_items=sizes.num_items, feature_width=sizes.feature_width, rngs=rngs)
        self.user_tower = UserTower(config, max_history=sizes.max_history, rngs=rngs)
        self.discriminator = Discriminator(config.width, rngs=rngs) if discriminator else None

    def encode_text(self, tokens_UL: jax.Array, mask_UL: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Text feature of every text, float32 [U, F]."""
        assert self.encoder is not None
        hidden_ULF = self.encoder(tokens_UL, mask_UL, rngs=None if key is None else nnx.Rngs(dropout=key))
        return pool(hidden_ULF, mask_UL, self.pooling)

    def encode_items(
        self, items_U: jax.Array, catalog: Catalog, key: jax.Array | None = None, *, length: int | None = None
    ) -> jax.Array:
        """Vectors of catalogue items, float32 [U, D]; `length`: tokens of the longest of their texts, if known."""
        features_UF = None
        if catalog.features_IF is not None:
            features_UF = catalog.features_IF[items_U]
        elif catalog.tokens_IL is not None and catalog.token_mask_IL is not None:
            tokens_UL, mask_UL = (table[:, :length][items_U] for table in (catalog.tokens_IL, catalog.token_mask_IL))
            features_UF = self.encode_text(tokens_UL, mask_UL, key)
        return self.item_tower(features_UF, items_U)


class Discriminator(nnx.Module):
    """Vectors [N, D] -> logits [N] of coming from the target domain."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        """Two layers, as in DANN (Ganin et al. 2016)."""
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, 1, rngs=rngs)

    def __call__(self, x_ND: jax.Array) -> jax.Array:
        """Logits [N]."""
        return self.down(jax.nn.relu(self.up(x_ND)))[:, 0]


@dataclasses.dataclass(frozen=True)
class Task:
    """What the forward pass must know beside the batch: how items lie in it and whom they are ranked among."""

    lengths: tuple[int, ...]  # tokens of each bucket of items
    starts: tuple[int, ...]  # domain d owns items starts[d] to starts[d + 1] of the catalogue
    whole_catalogue: bool  # compute every item's vector, for a loss that ranks among all items


def forward(
    model: Recommender, batch: Batch, catalog: Catalog, key: jax.Array | None, shards: Shards = ALONE, *, task: Task
) -> Outputs:
    """Everything the losses need to know about a batch.

    Args:
      model: the recommender.
      batch: one device's share of the batch, or all of it.
      catalog: the joint catalogue, the same on every device.
      key: for dropout; None is deterministic.
      shards: how the shares of several devices meet.
      task: see `Task`.
    """
    user_key, catalogue_key, *bucket_keys = split_key(key, 2 + len(batch.items))
    items_U, item_mask_U = (_end_to_end(part, shards) for part in zip(*batch.items, strict=True))
    catalogue_ID = None
    if task.whole_catalogue:
        catalogue_ID = model.encode_items(jnp.arange(len(catalog.domain_I)), catalog, catalogue_key)
        items_UD = catalogue_ID[items_U]
    else:
        buckets = zip(batch.items, task.lengths, bucket_keys, strict=True)
        vectors = [
            model.encode_items(items.ids_U, catalog, key, length=length or None) for items, length, key in buckets
        ]
        items_UD = _end_to_end(vectors, shards)

    user_BSD = model.user_tower(items_UD[batch.history_BS], batch.history_mask_BS, user_key)
    last_B = jnp.maximum(batch.history_mask_BS.sum(axis=1) - 1, 0)
    last_user_BD = jnp.take_along_axis(user_BSD, last_B[:, None, None], axis=1)[:, 0]
    user_ND = shards.gather(user_BSD).reshape(-1, user_BSD.shape[-1])
    return Outputs(
        predictions=batch.predictions,
        user_PD=tuple(user_ND[predictions.step_P] for predictions in batch.predictions),
        items_UD=items_UD,
        item_ids_U=items_U,
        item_mask_U=item_mask_U,
        item_domain_U=catalog.domain_I[items_U],
        log_q_U=catalog.log_q_I[items_U],
        catalogue_ID=catalogue_ID,
        catalogue_starts=task.starts,
        users_ND=shards.gather(last_user_BD),
        user_domain_N=shards.gather(batch.domain_B),
        discriminate=model.discriminator,
    )


def _end_to_end(parts: Iterable[jax.Array], shards: Shards) -> jax.Array:
    """The buckets of the global batch, one after the other."""
    return jnp.concatenate([shards.gather(part) for part in parts])
