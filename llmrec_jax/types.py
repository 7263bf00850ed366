"""What travels between the capacities: the batch, the catalogue on the devices, the outputs of a forward pass.

Plain tuples of arrays (JAX pytrees, NumPy or JAX arrays alike); no behaviour, no imports from other capacities.

Shape letters, used as suffixes of array names everywhere (`history_RS` is a batch of histories):
  B  users of a batch                R  rows of histories           S  steps of a row
  P  predictions: steps that have a next item
  I  items of the joint catalogue    U  distinct items of a batch   L  tokens of a text
  D  width of item and user vectors  F  width of a text feature     V  vocabulary
  N  heads, or "any number of rows"  H  width of a head             E  events of a domain, users end to end
  T  tokens of all texts, end to end
  C  shares of the catalogue that a program sees: this device's, or all  K  items of a share
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray


class Items(NamedTuple):
    """Distinct items of a batch whose texts have at most the bucket's number of tokens."""

    ids_U: Array  # int32: numbers of the joint catalogue; padding repeats item 0
    mask_U: Array  # bool: False on padding


class Predictions(NamedTuple):
    """Steps of one domain's histories that have a next item."""

    step_P: Array  # int32: where the prediction is made, as an index into the flattened histories [R * S]
    target_P: Array  # int32: the next item, as an index into the batch's items
    mask_P: Array  # bool: False on padding


class Batch(NamedTuple):
    """One training batch: `B` histories of one user each, the distinct items they name, and what is to be predicted.

    Items are numbered over the joint catalogue (sources first, target last). They lie in buckets by the length of their
    texts, so that little padding is encoded; `history_RS` and `target_P` point into the buckets end to end. Most
    histories are short, so several lie in a row, none of them cut. Every step of a history that has a next item is a
    prediction; they are listed by domain.
    """

    items: tuple[Items, ...]  # one a bucket, in the order of their lengths
    history_RS: Array  # int32: index into the items; 0 on padding, which is on the right
    segment_RS: Array  # int32: whose history: the user's number in the batch plus 1; 0 on padding
    last_B: Array  # int32: where the user's history ends, as an index into the flattened histories [R * S]
    domain_B: Array  # int32: index of the user's domain
    predictions: tuple[Predictions, ...]  # one a domain; empty arrays where a domain has no rows


class Catalog(NamedTuple):
    """The joint catalogue as it lies on the devices: read by every step, changed by none.

    At most one of `tokens_IL` (the encoder runs inside the step), `hidden_TF` (its upper layers do, the lower ones are
    frozen) and `features_IF` (all are, these are its vectors) is set. With `data.field_dropout` they have 2 I rows:
    the items' texts, then their titles alone in the same order.
    """

    tokens_IL: Array | None  # int32, padded on the right
    token_mask_IL: Array | None  # bool; set with `tokens_IL` and with `hidden_TF`
    features_IF: Array | None  # float32
    domain_I: Array  # int32
    log_q_I: Array  # float32: log probability that a batch holds the item (in-batch correction)
    trained_I: Array  # bool: a training event names the item; the others are known by text alone, where there is text
    hidden_TF: Array | None = None  # what the frozen layers make of each token of the catalogue, texts end to end
    hidden_start_I: Array | None = None  # int32: where an item's text begins in it


class Candidates(NamedTuple):
    """Items of one domain among which its predictions are ranked: the shares in sight (`local_shards`), end to end."""

    vectors_ND: Array
    mask_N: Array  # bool: False on what is no candidate


class Outputs(NamedTuple):
    """What the model says about a batch; what every loss term may look at.

    Item and user arrays always cover the global batch. Predictions (`P`) may be one device's share. Where candidates
    are set, these are the share and the predictions global: then every device has the whole of the mean.
    """

    predictions: tuple[Predictions, ...]  # one a domain
    user_PD: tuple[Array, ...]  # one a domain: user vectors where the predictions are made
    items_UD: Array  # vectors of the batch's distinct items
    item_ids_U: Array  # int32
    item_mask_U: Array  # bool
    item_domain_U: Array  # int32
    log_q_U: Array  # float32
    candidates: tuple[Candidates, ...] | None  # one a domain, where the ranking loss asks for the whole catalogue
    users_ND: Array  # one vector per user of the global batch: the state after the last event
    user_domain_N: Array  # int32
    discriminate: Mapping[str, Callable[[jax.Array], jax.Array]]  # by level: features [N, D] -> domain logits [N]
    collectives: "Collectives"  # how shares of the candidates meet


class Mean(NamedTuple):
    """A mean still to be taken: devices add both parts, then divide once."""

    total: jax.Array
    size: jax.Array


class Collectives(NamedTuple):
    """Communication between devices inside a step; on a single device each is the identity."""

    all_gather: Callable[[Any], Any]  # leading axis sharded over the devices -> all of it on every device
    psum: Callable[[Any], Any]  # add a tree of arrays over the devices
    pmax: Callable[[Any], Any]  # the largest over the devices; has no gradient
    axis_index: Callable[[], Array]  # the index of this shard
    num_shards: int
    local_shards: Callable[[Any], Any]  # [num_shards, ...] on every device -> [C, ...]: the shards this program sees
    # fn(shard, replicated) -> its results [C, ...] for C shards, given the shards' arrays end to end and what is the
    # same on every device; each device computes one
    map_shards: Callable[[Callable[..., Any]], Callable[..., Any]]
    gather_params: Callable[[Any], Any] = lambda tree: tree  # parameters sharded over fsdp -> whole on every device


def on_one_shard(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`Collectives.map_shards` where the program sees one shard: a leading axis of one, nothing else."""
    return lambda share, whole: jax.tree.map(lambda x: x[None], fn(share, whole))


SINGLE_DEVICE = Collectives(
    all_gather=lambda x: x,
    psum=lambda tree: tree,
    pmax=lambda x: x,
    axis_index=lambda: np.int32(0),
    num_shards=1,
    local_shards=lambda x: x,
    map_shards=on_one_shard,
)
