"""The whole model: text encoder, item tower, user tower, domain discriminators; and its forward pass over a batch.

The forward pass is written for one device's shard of a batch. Distinct items are encoded where they lie and then
gathered (`collectives`), so that every device sees all item vectors of the batch. Where a loss ranks among the
whole catalogue, each device encodes its shard of that instead, and keeps it.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
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
from llmrec_jax.types import SINGLE_DEVICE, Batch, Candidates, Catalog, Collectives, Outputs


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """What a recommender's shapes depend on beside `ModelConfig`; saved with it."""

    num_items: int  # of the joint catalogue
    feature_width: int  # of the encoder's vectors
    max_history: int
    pooling: Literal["mean", "cls", "last"] = "mean"


class RecModel(nnx.Module):
    """Items [U] -> vectors [U, D]; histories of item vectors -> user vectors. A score is their dot product."""

    def __init__(
        self,
        config: ModelConfig,
        dims: Dimensions,
        encoder: Bert | Gpt2 | None,
        *,
        discriminators: Sequence[str] = (),
        rngs: nnx.Rngs,
    ):
        """Random parameters.

        Args:
          config: sizes and switches of the towers.
          dims: what the data decides.
          encoder: None where the catalogue holds a frozen encoder's vectors, or the items have no text.
          discriminators: the levels ("item", "user") that get a domain discriminator; only training needs them.
          rngs: stream "params".
        """
        self.pooling = dims.pooling
        self.encoder = encoder
        self.item_tower = ItemTower(config, num_items=dims.num_items, feature_width=dims.feature_width, rngs=rngs)
        self.user_tower = UserTower(config, max_history=dims.max_history, rngs=rngs)
        modules = {level: Discriminator(config.width, rngs=rngs) for level in discriminators}
        self.discriminators = nnx.Dict(modules) if modules else None

    def encode_texts(
        self, items_U: jax.Array, catalog: Catalog, key: jax.Array | None = None, *, length: int | None = None
    ) -> jax.Array:
        """Text features of catalogue items, float32 [U, F]: from their tokens, or from the frozen layers' states."""
        assert self.encoder is not None
        assert catalog.token_mask_IL is not None
        mask_UL = catalog.token_mask_IL[:, :length][items_U]
        if catalog.tokens_IL is not None:
            tokens_UL = catalog.tokens_IL[:, :length][items_U]
            hidden_ULF = self.encoder(tokens_UL, mask_UL, rngs=None if key is None else nnx.Rngs(dropout=key))
        else:
            assert catalog.hidden_TF is not None
            assert catalog.hidden_start_I is not None
            rows_UL = catalog.hidden_start_I[items_U][:, None] + jnp.arange(mask_UL.shape[1])[None]
            # Beyond a text stands the next one, and at the end nothing: padding reads row 0, which is finite.
            hidden_ULF = self.encoder.upper(catalog.hidden_TF[jnp.where(mask_UL, rows_UL, 0)], mask_UL, key)
        return pool(hidden_ULF, mask_UL, self.pooling)

    def encode_items(
        self,
        items_U: jax.Array,
        catalog: Catalog,
        key: jax.Array | None = None,
        *,
        length: int | None = None,
        chunk_size: int = 0,
    ) -> jax.Array:
        """Vectors of catalogue items, float32 [U, D].

        Args:
          items_U: their numbers.
          catalog: the joint catalogue.
          key: for dropout; None is deterministic.
          length: tokens of the longest of their texts, if known.
          chunk_size: texts encoded at a time (see `_in_chunks`); 0: all of them.
        """
        features_UF = None
        if catalog.features_IF is not None:
            features_UF = catalog.features_IF[items_U]
        elif self.encoder is not None:
            features_UF = _in_chunks(
                lambda items_U, key: self.encode_texts(items_U, catalog, key, length=length), items_U, key, chunk_size
            )
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
class ForwardSpec:
    """What the forward pass must know beside the batch: how items lie in it and whom they are ranked among."""

    lengths: tuple[int, ...]  # tokens of each bucket of items
    starts: tuple[int, ...]  # domain d owns items starts[d] to starts[d + 1] of the catalogue
    whole_catalogue: bool  # compute every item's vector, for a loss that ranks among all items
    chunk_size: int = 0  # texts encoded at a time; 0: all of a bucket


def forward(
    model: RecModel,
    batch: Batch,
    catalog: Catalog,
    key: jax.Array | None,
    collectives: Collectives = SINGLE_DEVICE,
    *,
    task: ForwardSpec,
) -> Outputs:
    """Everything the losses need to know about a batch.

    Args:
      model: the recommender.
      batch: one device's share of the batch, or all of it.
      catalog: the joint catalogue, the same on every device.
      key: for dropout; None is deterministic.
      collectives: how the shares of several devices meet.
      task: see `ForwardSpec`.
    """
    user_key, catalogue_key, *bucket_keys = split_key(key, 2 + len(batch.items))
    items_U, item_mask_U = (_end_to_end(part, collectives) for part in zip(*batch.items, strict=True))
    predictions, candidates = batch.predictions, None
    if task.whole_catalogue:
        predictions = collectives.all_gather(predictions)
        candidates, items_UD = _shares_of_catalogue(model, items_U, catalog, catalogue_key, collectives, task)
    else:
        buckets = zip(batch.items, task.lengths, bucket_keys, strict=True)
        vectors = [
            model.encode_items(items.ids_U, catalog, key, length=length or None, chunk_size=task.chunk_size)
            for items, length, key in buckets
        ]
        items_UD = _end_to_end(vectors, collectives)

    user_RSD = model.user_tower(items_UD[batch.history_RS], batch.segment_RS, user_key)
    user_ND = collectives.all_gather(user_RSD).reshape(-1, user_RSD.shape[-1])
    return Outputs(
        predictions=predictions,
        user_PD=tuple(user_ND[part.step_P] for part in predictions),
        items_UD=items_UD,
        item_ids_U=items_U,
        item_mask_U=item_mask_U,
        item_domain_U=catalog.domain_I[items_U],
        log_q_U=catalog.log_q_I[items_U],
        candidates=candidates,
        users_ND=user_ND[collectives.all_gather(batch.last_B)],
        user_domain_N=collectives.all_gather(batch.domain_B),
        discriminate=dict(model.discriminators or {}),
        collectives=collectives,
    )


def _shares_of_catalogue(
    model: RecModel,
    items_U: jax.Array,
    catalog: Catalog,
    key: jax.Array | None,
    collectives: Collectives,
    task: ForwardSpec,
) -> tuple[tuple[Candidates, ...], jax.Array]:
    """Vectors of this program's shares of the catalogue, by domain, and of some items [U, D], wherever they are.

    Item i is in share i modulo the number of shares. So a domain, whose numbers follow one another, is the same rows of
    every share, and every device has as much of it to score. What has no item repeats the last.
    """
    num_items, num_shares = len(catalog.domain_I), collectives.num_shards
    num_rows = -(-num_items // num_shares)
    ids_CK = collectives.local_shards(jnp.arange(num_rows * num_shares).reshape(num_rows, num_shares).T)
    padded_CK = jnp.minimum(ids_CK, num_items - 1)
    vectors_ND = model.encode_items(padded_CK.reshape(-1), catalog, key, chunk_size=task.chunk_size)
    vectors_CKD = vectors_ND.reshape(*ids_CK.shape, -1)

    def candidates(start: int, end: int) -> Candidates:
        rows = slice(start // num_shares, -(-end // num_shares))
        is_own_CK = (ids_CK[:, rows] >= start) & (ids_CK[:, rows] < end)
        return Candidates(vectors_CKD[:, rows].reshape(-1, vectors_CKD.shape[-1]), is_own_CK.reshape(-1))

    rows_U = items_U // num_shares
    is_here_CU = ids_CK[:, rows_U] == items_U[None]
    vectors_CUD = jnp.where(is_here_CU[..., None], vectors_CKD[:, rows_U], 0)
    return tuple(map(candidates, task.starts, task.starts[1:])), collectives.psum(vectors_CUD.sum(axis=0))


def _end_to_end(parts: Iterable[jax.Array], collectives: Collectives) -> jax.Array:
    """The buckets of the global batch, one after the other."""
    return jnp.concatenate([collectives.all_gather(part) for part in parts])


def _in_chunks(
    encode: Callable[[jax.Array, jax.Array | None], jax.Array], items_U: jax.Array, key: jax.Array | None, size: int
) -> jax.Array:
    """`encode(items_U, key)` [U, F], at most `size` items at a time; 0 is all of them.

    Of a chunk only the vectors are kept, and the backward pass encodes it again: the activations held at any time are
    those of one chunk (GradCache, Gao et al. 2021, arXiv:2101.06983). The rows of a batch lie on the devices in blocks,
    so a chunk takes columns of the items laid out as a rectangle, some of every device's, never one device's rows.
    """
    num_items = len(items_U)
    if not 0 < size < num_items:
        return encode(items_U, key)
    rows = math.gcd(num_items, size)  # every number of devices that divides both divides it
    columns, num_chunks = num_items // rows, -(-num_items // size)
    width = -(-columns // num_chunks)  # columns of a chunk
    padded = jnp.pad(items_U.reshape(rows, columns), ((0, 0), (0, num_chunks * width - columns)))
    chunks = jnp.moveaxis(padded.reshape(rows, num_chunks, width), 1, 0).reshape(num_chunks, rows * width)
    keys = None if key is None else jax.random.split(key, num_chunks)
    checkpointed = jax.checkpoint(encode, prevent_cse=False)
    _, features = jax.lax.scan(lambda _, chunk: (None, checkpointed(*chunk)), None, (chunks, keys))
    features = jnp.moveaxis(features.reshape(num_chunks, rows, width, -1), 0, 1)
    return features.reshape(rows, num_chunks * width, -1)[:, :columns].reshape(num_items, -1)
