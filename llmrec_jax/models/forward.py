"""The forward pass over a batch: computes everything that the losses read.

Written for one device's shard of a batch. Each device encodes its shard of the distinct items; an all_gather then gives
every device all item vectors of the batch. If a loss ranks the whole catalogue, each device instead encodes its shard
of the catalogue, which is not gathered.

Shape letters besides those of `types`: C shards of the catalogue that a program sees, K items of a shard.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from llmrec_jax.models.language_model import sample_texts, token_outputs
from llmrec_jax.models.layers import split_key
from llmrec_jax.models.rec_model import RecModel
from llmrec_jax.types import SINGLE_DEVICE, Batch, Candidates, Catalog, Collectives, Outputs, TokenOutputs

# Folded into the step's key for the objective and for the language model: no device has these numbers. The step uses
# 2^31 - 2.
TERMS, TOKENS = 2**31 - 1, 2**31 - 3


@dataclasses.dataclass(frozen=True)
class ForwardSpec:
    """Constants of the forward pass."""

    lengths: tuple[int, ...]  # padded length of each bucket's texts, in tokens
    starts: tuple[int, ...]  # domain d is the items starts[d]:starts[d + 1] of the catalogue
    whole_catalogue: bool  # encode every item of the catalogue, for a loss that ranks all of them
    chunk_size: int = 0  # texts encoded at a time; 0: all of a bucket
    field_dropout: float = 0.0  # probability of encoding only an item's title
    token_texts: int = 0  # texts whose tokens are predicted; 0: no term reads predicted tokens

    @property
    def how(self) -> dict[str, Any]:
        """Keyword arguments of `RecModel.raw_items`."""
        return {"chunk_size": self.chunk_size, "field_dropout": self.field_dropout}


def forward(
    model: RecModel,
    batch: Batch,
    catalog: Catalog,
    key: jax.Array | None,
    collectives: Collectives = SINGLE_DEVICE,
    *,
    task: ForwardSpec,
) -> Outputs:
    """The outputs of a batch.

    Args:
      model: the recommender.
      batch: one device's shard of the batch, or the whole batch.
      catalog: the joint catalogue, replicated.
      key: for dropout, the same on every device; None is deterministic.
      collectives: communication between devices.
      task: see `ForwardSpec`.
    """
    seen_PS: tuple[jax.Array, ...] = ()
    term_key, tokens = None if key is None else jax.random.fold_in(key, TERMS), None
    if key is not None:
        if task.token_texts:
            tokens = _predicted_tokens(model, batch, catalog, jax.random.fold_in(key, TOKENS), collectives, task)
        key = jax.random.fold_in(key, collectives.axis_index())
    user_key, catalogue_key, *bucket_keys = split_key(key, 2 + len(batch.items))
    items_U, item_mask_U = (_end_to_end(part, collectives) for part in zip(*batch.items, strict=True))
    predictions, candidates = batch.predictions, None
    if task.whole_catalogue:
        predictions = collectives.all_gather(predictions)
        candidates, raw_UD = _encode_catalogue(model, items_U, catalog, catalogue_key, collectives, task)
        history_RS, segment_RS = (
            collectives.all_gather(items_U[batch.history_RS]),
            collectives.all_gather(batch.segment_RS),
        )
        seen_PS = tuple(seen_items(history_RS, segment_RS, part.step_P) for part in predictions)
    else:
        buckets = zip(batch.items, task.lengths, bucket_keys, strict=True)
        vectors = [
            model.raw_items(items.ids_U, catalog, key, length=length or None, **task.how)
            for items, length, key in buckets
        ]
        raw_UD = _end_to_end(vectors, collectives)

    items_UD = model.scored_items(raw_UD, items_U, catalog)
    raw_RSD = model.raw_users(items_UD[batch.history_RS], batch.segment_RS, user_key, batch.masked_RS, batch.time_RS)
    raw_ND = collectives.all_gather(raw_RSD).reshape(-1, raw_RSD.shape[-1])
    user_ND, last_N = model.scoring.users(raw_ND), collectives.all_gather(batch.last_B)
    return Outputs(
        predictions=predictions,
        user_PD=tuple(user_ND[part.step_P] for part in predictions),
        items_UD=items_UD,
        item_ids_U=items_U,
        item_mask_U=item_mask_U,
        item_domain_U=catalog.domain_I[items_U],
        log_q_U=catalog.log_q_I[items_U],
        candidates=candidates,
        users_ND=model.scoring.without_bias(user_ND)[last_N],
        user_domain_N=collectives.all_gather(batch.domain_B),
        heads=dict(model.heads or {}),
        collectives=collectives,
        negatives=collectives.all_gather(batch.negatives),
        key=term_key,
        seen_PS=seen_PS,
        log_prior_I=catalog.log_prior_I,
        weight_I=catalog.weight_I,
        raw_items_UD=raw_UD,
        raw_users_ND=raw_ND[last_N],
        batch=batch,
        states_ND=user_ND,
        tokens=tokens,
    )


def _predicted_tokens(
    model: RecModel,
    batch: Batch,
    catalog: Catalog,
    key: jax.Array,
    collectives: Collectives,
    task: ForwardSpec,
) -> TokenOutputs:
    """The predicted tokens of some of the batch's texts, which are encoded once more for this."""
    assert model.encoder is not None
    assert model.heads is not None
    choice_key, key = jax.random.split(key)
    groups = sample_texts(batch.items, catalog, choice_key, collectives, task.token_texts)
    head = model.heads["language_model"]
    return token_outputs(model.encoder, head, groups, catalog, key, collectives, lengths=task.lengths)


def seen_items(history_RS: jax.Array, segment_RS: jax.Array, step_P: jax.Array) -> jax.Array:
    """The items of a history up to each of the steps `step_P`, int32 [P, S]; -1 elsewhere in its row."""
    row_P, last_P = jnp.divmod(step_P, history_RS.shape[1])
    segment_PS = segment_RS[row_P]
    is_own_PS = segment_PS == jnp.take_along_axis(segment_PS, last_P[:, None], axis=1)
    is_before_PS = jnp.arange(history_RS.shape[1])[None] <= last_P[:, None]
    return jnp.where(is_own_PS & is_before_PS, history_RS[row_P], -1)


def _encode_catalogue(
    model: RecModel,
    items_U: jax.Array,
    catalog: Catalog,
    key: jax.Array | None,
    collectives: Collectives,
    task: ForwardSpec,
) -> tuple[tuple[Candidates, ...], jax.Array]:
    """Encode the visible shards of the catalogue: candidates by domain, and the raw vectors of `items_U` [U, D].

    Item i is in shard `i % num_shards`, so a domain (a range of items) is the same rows of every shard, and all
    devices score the same number of its items. Padding repeats the last item.
    """
    num_items, num_shards = len(catalog.domain_I), collectives.num_shards
    num_rows = -(-num_items // num_shards)
    ids_CK = collectives.local_shards(jnp.arange(num_rows * num_shards).reshape(num_rows, num_shards).T)
    padded_CK = jnp.minimum(ids_CK, num_items - 1)
    padded_N = padded_CK.reshape(-1)
    raw_ND = model.raw_items(padded_N, catalog, key, **task.how)
    vectors_CKD = model.scored_items(raw_ND, padded_N, catalog).reshape(*ids_CK.shape, -1)
    raw_CKD = raw_ND.reshape(*ids_CK.shape, -1)

    def candidates(start: int, end: int) -> Candidates:
        rows = slice(start // num_shards, -(-end // num_shards))
        is_own_CK = (ids_CK[:, rows] >= start) & (ids_CK[:, rows] < end)
        vectors_ND = vectors_CKD[:, rows].reshape(-1, vectors_CKD.shape[-1])
        return Candidates(vectors_ND, is_own_CK.reshape(-1), ids_CK[:, rows].reshape(-1))

    rows_U = items_U // num_shards
    is_here_CU = ids_CK[:, rows_U] == items_U[None]
    raw_CUD = jnp.where(is_here_CU[..., None], raw_CKD[:, rows_U], 0)
    return tuple(map(candidates, task.starts, task.starts[1:])), collectives.psum(raw_CUD.sum(axis=0))


def _end_to_end(parts: Iterable[jax.Array], collectives: Collectives) -> jax.Array:
    """All_gather the buckets and concatenate them."""
    return jnp.concatenate([collectives.all_gather(part) for part in parts])
