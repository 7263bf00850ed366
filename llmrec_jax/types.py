"""Types shared by the packages: the batch, the catalogue on the devices, the outputs of a forward pass.

Plain tuples of arrays (JAX pytrees of NumPy or JAX arrays), without behaviour; imports no other package.

Shape letters, used as suffixes of array names everywhere (`history_RS` is a batch of histories):
  B  the batch: users, or the texts given to an encoder
  R  rows of histories               S  steps of a row              P  predictions: steps that have a next item
  I  items of the joint catalogue    U  distinct items of a batch   E  events of a domain, users end to end
  L  tokens of a text                T  tokens of all texts, end to end
  D  width of item and user vectors, and within an encoder its width
  F  width of a text feature         V  vocabulary                  H  attention heads, W width of a head
  K  negatives of a domain           N  any number of rows
A file that needs further letters defines them at its top; within a package no letter has two meanings.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray


class Items(NamedTuple):
    """One bucket of a batch's distinct items: those whose texts fit the bucket's length in tokens."""

    ids_U: Array  # int32: item numbers of the joint catalogue; 0 on padding
    mask_U: Array  # bool: False on padding


class Predictions(NamedTuple):
    """The steps of one domain's histories that predict an item: the next one, or for masked steps their own."""

    step_P: Array  # int32: the step, as an index into the flattened histories [R * S]
    target_P: Array  # int32: the item to predict, as an index into the batch's items
    mask_P: Array  # bool: False on padding
    weight_P: Array | None = None  # float32: how much the loss counts, 0 on padding; None: 1 each


class Negatives(NamedTuple):
    """Items of one domain that a loss samples as negatives, the same for every prediction of the batch."""

    item_K: Array  # int32: index into the batch's items; 0 on padding
    mask_K: Array  # bool: False on padding
    log_q_K: Array  # float32: log probability that a step samples the item; 0 on padding


class Batch(NamedTuple):
    """One training batch: the histories of `B` users, their distinct items, and the predictions to make.

    Items are numbered over the joint catalogue (sources first, target last) and bucketed by the length of their texts,
    so that little padding is encoded; `history_RS` and `target_P` are indices into the concatenated buckets. Most
    histories are short, so several are packed into a row; none is split. Every step that has a next item with a
    weight above 0 is a prediction; predictions are grouped by domain.
    """

    items: tuple[Items, ...]  # one per bucket, shortest texts first
    history_RS: Array  # int32: index into the items; 0 on padding, which is on the right
    segment_RS: Array  # int32: the user's number in the batch plus 1; 0 on padding
    last_B: Array  # int32: the last step of the user's history, as an index into the flattened histories [R * S]
    domain_B: Array  # int32: index of the user's domain
    predictions: tuple[Predictions, ...]  # one per domain; empty arrays if a domain has no rows
    negatives: tuple[Negatives, ...] = ()  # one per domain, if the ranking loss samples negatives
    masked_RS: Array | None = None  # bool, BERT4Rec: steps whose item is masked; these are what is predicted
    # int32, HSTU: seconds since the first event of the history; -1: unknown. None: no domain has times.
    time_RS: Array | None = None
    ratings: "Ratings | None" = None  # if a task predicts them
    impressions: "Impressions | None" = None  # if a task predicts their clicks
    triples: "Triples | None" = None  # if a task learns a knowledge graph


class Ratings(NamedTuple):
    """Ratings of the batch to predict, of all domains: what a user gave to an item after a step of the history."""

    step_N: Array  # int32: the last step before the rating, as an index into the flattened histories [R * S]
    item_N: Array  # int32: the rated item, as an index into the batch's items
    rating_N: Array  # float32; 0 on padding, as in what follows
    prior_N: Array  # float32: the rating predicted without training
    scale_N: Array  # float32: standard deviation of the ratings of the domain
    features_NF: Array  # float32: what the prior is made from
    mask_N: Array  # bool: False on padding


class Impressions(NamedTuple):
    """Lists of items that were shown after a step of the histories, and the clicks. J items of a list, padded."""

    step_N: Array  # int32: the last step before the list, as an index into the flattened histories [R * S]
    item_NJ: Array  # int32: index into the batch's items; 0 on padding
    is_shown_NJ: Array  # bool: False on padding
    is_clicked_NJ: Array  # bool
    mask_N: Array  # bool: False on padding


class Triples(NamedTuple):
    """Triples (head, relation, tail) of a knowledge graph; each with K sampled tails of its relation."""

    head_N: Array  # int32: an item, as an index into the batch's items
    relation_N: Array  # int32
    tail_N: Array  # int32
    negative_NK: Array  # int32
    is_negative_NK: Array  # bool: False where a sampled tail is true
    log_q_N: Array  # float32: log of the expected number of times that each tail of the relation is sampled


class TextBatch(NamedTuple):
    """One batch of item texts, for a language model."""

    items: tuple[Items, ...]  # one per group of texts of similar length, shortest texts first


class Head(NamedTuple):
    """A module that one or more terms of the objective train on top of item or user vectors."""

    kind: str  # key of `models.heads.HEADS`
    options: Mapping[str, Any] = {}  # further keyword arguments of its class


class Catalog(NamedTuple):
    """The joint catalogue on the devices, constant during a run.

    At most one of these is set: `tokens_IL` (the step runs the whole encoder), `hidden_TF` (it runs only the upper
    layers; the lower ones are frozen), `features_IF` (vectors of a frozen encoder). With `data.field_dropout` they
    cover 2 I texts: the items' full texts, then their titles in the same order.
    """

    tokens_IL: Array | None  # int32, padded on the right
    token_mask_IL: Array | None  # bool; set with `tokens_IL` and `hidden_TF`
    features_IF: Array | None  # float32
    domain_I: Array  # int32
    log_q_I: Array  # float32: log probability that a batch contains the item (for the in-batch correction)
    trained_I: Array  # bool: the item occurs in a training event; with "text+id" only these use their ids
    hidden_TF: Array | None = None  # output of the frozen layers for each token of the catalogue
    hidden_start_I: Array | None = None  # int32: index of the first token of an item's text
    # float32: log share of the item in its domain's training events; set with `loss.logit_adjustment`.
    log_prior_I: Array | None = None
    weight_I: Array | None = None  # float32: how much a prediction of the item counts; set with `loss.propensity`
    is_held_out_I: Array | None = None  # bool: texts whose tokens are not predicted; set if a task predicts tokens


class Candidates(NamedTuple):
    """The items that one domain's predictions are scored against: the visible shards, concatenated."""

    vectors_ND: Array
    mask_N: Array  # bool: False on padding and on items of other domains
    ids_N: Array  # int32: item numbers of the joint catalogue, ascending within each shard


class Outputs(NamedTuple):
    """The outputs of a forward pass: everything that the loss terms read.

    Item and user arrays always cover the global batch. Without candidates, predictions (`P`) may be one device's shard.
    With candidates, predictions cover the global batch and the candidates are sharded instead.
    """

    predictions: tuple[Predictions, ...]  # one per domain
    user_PD: tuple[Array, ...]  # one per domain: the user vector at each prediction's step
    items_UD: Array  # vectors of the batch's distinct items
    item_ids_U: Array  # int32
    item_mask_U: Array  # bool
    item_domain_U: Array  # int32
    log_q_U: Array  # float32
    candidates: tuple[Candidates, ...] | None  # one per domain, if the ranking loss needs the whole catalogue
    users_ND: Array  # one per user of the global batch: the user vector after the last event, without the bias's 1
    user_domain_N: Array  # int32
    heads: Mapping[str, Any]  # by name; those of the adaptation by level: features [N, D] -> [N]
    collectives: "Collectives"  # to reduce over shards of the candidates
    negatives: tuple[Negatives, ...] = ()  # one per domain, whole, if the ranking loss samples negatives
    key: Array | None = None  # for terms that draw at random, the same on every device; None is deterministic
    # One per domain, with candidates: the item numbers of each prediction's history [P, S]; -1 on padding.
    seen_PS: tuple[Array, ...] = ()
    log_prior_I: Array | None = None  # of the catalogue
    weight_I: Array | None = None  # of the catalogue
    # Like `items_UD` (without a bias) and `users_ND`, before L2-normalization. None: not computed.
    raw_items_UD: Array | None = None
    raw_users_ND: Array | None = None
    # The batch, as the device sees it: whole, or under `pmap` one device's shard.
    batch: Any = None
    states_ND: Array | None = None  # the user vector after each step of the global batch's flattened histories
    tokens: "TokenOutputs | None" = None  # the predicted tokens of some of the batch's texts, if a term needs them


class TokenOutputs(NamedTuple):
    """The outputs of a language model that its loss reads: N predictions, on each device those of its own texts."""

    hidden_ND: Array  # float32: the vector that each prediction is made from
    target_N: Array  # int32: the token to predict
    is_predicted_N: Array  # bool: False on padding
    embedding_VD: Array  # the weights of the output
    bias_V: Array | None


class Mean(NamedTuple):
    """A mean before division: both parts are summed over the devices, then divided once."""

    total: jax.Array
    size: jax.Array


class Collectives(NamedTuple):
    """Communication between the devices in a step. On one device all are the identity.

    C is the number of shards that a program sees: all under `jit` (one program over the mesh), one under `pmap`.
    """

    all_gather: Callable[[Any], Any]  # array sharded over its leading axis -> the whole array, replicated
    psum: Callable[[Any], Any]  # sum a tree of arrays over the devices
    pmax: Callable[[Any], Any]  # maximum over the devices; not differentiable
    axis_index: Callable[[], Array]  # index of this program's shard
    num_shards: int
    local_shards: Callable[[Any], Any]  # replicated [num_shards, ...] -> the visible shards [C, ...]
    # map_shards(fn)(sharded, replicated) -> [C, ...]: fn(shard, replicated) for every visible shard, on its device;
    # `sharded` arrays are the concatenated visible shards
    map_shards: Callable[[Callable[..., Any]], Callable[..., Any]]
    gather_params: Callable[[Any], Any] = lambda tree: tree  # parameters sharded over fsdp -> replicated


def on_one_shard(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`Collectives.map_shards` for a program that sees one shard: adds the leading axis of length one."""
    return lambda shard, replicated: jax.tree.map(lambda x: x[None], fn(shard, replicated))


SINGLE_DEVICE = Collectives(
    all_gather=lambda x: x,
    psum=lambda tree: tree,
    pmax=lambda x: x,
    axis_index=lambda: np.int32(0),
    num_shards=1,
    local_shards=lambda x: x,
    map_shards=on_one_shard,
)
