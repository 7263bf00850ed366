"""The input pipeline: chooses the users and the padded sizes of the batches (see `batch`), and prefetches them.

All devices do the same work in a step: rows of histories, items of each bucket and predictions of each domain are
padded to multiples of the number of devices and sharded evenly. To keep the work of different steps similar too, each
batch samples users evenly over history lengths (`mixture.py`). Batches then need nearly the same sizes, which keeps
padding small and overflows rare.

I items of the joint catalogue
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.batch import TARGETS, BatchPlan, make_batch
from llmrec_jax.data.batches.buckets import bucket_lengths
from llmrec_jax.data.batches.capacity import Capacity
from llmrec_jax.data.batches.iterator import Iterator, iterate
from llmrec_jax.data.batches.mixture import rows_per_domain
from llmrec_jax.data.batches.targets import Table
from llmrec_jax.data.batches.triples import Graph, num_triples
from llmrec_jax.data.domains.split import Split, keep_fraction
from llmrec_jax.errors import UserError
from llmrec_jax.types import Batch

MULTIPLE = 8  # of padded sizes, so that they can be sharded over 2, 4 or 8 devices even if num_shards is 1
PROBED_STEPS = 100  # batches computed to find the sizes that are usually needed
# Capacities, as multiples of the largest sizes among the probed batches. About 1 in 100 batches overflows the first.
SLACK = (1.02, 1.25)


def plan_batches(
    splits: Sequence[Split],
    starts: np.ndarray,
    data: DataConfig,
    batch_size: int,
    seed: int,
    *,
    num_shards: int = 1,
    left_out: int | None = None,
    num_negatives: int = 0,
    mask_rate: float = 0.0,
    reads_times: bool = False,
    graph: Graph | None = None,
) -> BatchPlan:
    """Choose the users to train on, the rows per domain and the padded sizes.

    Users need a training event to predict (`Split.trainable`). Of the target's users only `data.target_fraction` are
    used, of the source `left_out` none. If there are no target users (zero-shot), all rows come from the sources.

    Popular items repeat and most histories are short, so the first capacity is little more than what the first batches
    need. The rare larger batch takes the next capacity; the last one is the upper bound. Each capacity in use compiles
    the step once.

    Args:
      splits: one per domain, sources first, target last.
      starts: `JointCatalog.starts`.
      data: uses `target_share`, `source_temperature`, `target_fraction`, `split_seed`, `max_history`,
        `unlabelled_items`, `augment` and `augment_rate`.
      batch_size: users of the global batch.
      seed: non-negative; seeds the order of users, the windows and the unlabelled items.
      num_shards: number of shards of a batch; padded sizes are multiples of it.
      left_out: index of a source that is not trained on, see `Protocol`.
      num_negatives: negatives sampled per domain and step; 0 if the loss samples none.
      mask_rate: probability of masking an event of a history, for BERT4Rec; 0: the next items are predicted.
      reads_times: whether the model reads the times of events, which are in the batch if a domain has them.
      graph: the triples that a task learns.
    """
    lengths = [np.minimum(split.train_end - split.offsets[:-1], data.max_history + 1) for split in splits]
    longest_first = [np.argsort(-lengths_d, kind="stable") for lengths_d in lengths]
    users = [users_d[split.trainable()[users_d]] for users_d, split in zip(longest_first, splits, strict=True)]
    users[-1] = users[-1][keep_fraction(splits[-1], data.target_fraction, data.split_seed)[users[-1]]]
    if left_out is not None:
        users[left_out] = users[left_out][:0]
    sizes = [len(users_d) for users_d in users]
    rows = rows_per_domain(batch_size, sizes[:-1], data.target_share, sizes[-1] > 0, data.source_temperature)
    num_items, target_items = int(starts[-1]), int(starts[-1] - starts[-2])
    if data.unlabelled_items > target_items:
        raise UserError(f"unlabelled_items={data.unlabelled_items}, but the target has {target_items} items")
    plan = BatchPlan(
        splits=tuple(splits),
        users=tuple(users),
        starts=starts,
        rows=tuple(rows),
        max_history=data.max_history,
        unlabelled_items=data.unlabelled_items,
        num_negatives=num_negatives,
        mask_rate=mask_rate,
        reads_times=reads_times,
        seed=seed,
        lengths=(0,),
        bucket_I=np.zeros(num_items, np.int64),
        multiple=math.lcm(MULTIPLE, num_shards),
        capacities=(),
        augment=data.augment,
        augment_rate=data.augment_rate,
        graph=graph,
    )
    return _with_capacities(plan)


def by_length(plan: BatchPlan, tokens_I: np.ndarray) -> BatchPlan:
    """The plan with items bucketed by number of tokens (int [I]); each bucket is padded to its own length."""
    lengths = bucket_lengths(tokens_I)
    return _with_capacities(dataclasses.replace(plan, lengths=lengths, bucket_I=np.searchsorted(lengths, tokens_I)))


def with_targets(plan: BatchPlan, targets: Mapping[str, Sequence[Table | None]]) -> BatchPlan:
    """The plan with what tasks predict besides the next item, see `BatchPlan.targets`."""
    in_order = {name: tuple(targets[name]) for name in TARGETS if name in targets}
    return _with_capacities(dataclasses.replace(plan, targets=in_order))


def _with_capacities(plan: BatchPlan) -> BatchPlan:
    """The plan with capacities: the sizes of the first batches times each of `SLACK`, then the upper bound."""

    def rounded(sizes: Any) -> Any:
        multiples = np.ceil(np.asarray(sizes) / plan.multiple).astype(int) * plan.multiple
        return tuple(multiples.tolist()) if multiples.ndim else int(multiples)

    targets, shown = [], 0
    for tables in plan.targets.values():
        targets.append(sum(rows * table.most(plan.max_history) for rows, table in zip(plan.rows, tables, strict=True)
                           if table))  # fmt: skip
        shown += targets[-1] * max(table.items_A[:1].size for table in tables if table)
    at_most = plan.batch_size * (plan.max_history + 1) + plan.unlabelled_items + plan.num_negatives * len(plan.rows)
    at_most += shown + (0 if plan.graph is None else num_triples(plan.multiple))
    bound = Capacity(
        rows=rounded(plan.batch_size),
        items=rounded(np.minimum(at_most, np.bincount(plan.bucket_I, minlength=len(plan.lengths)))),
        predictions=rounded(np.array(plan.rows) * plan.steps),
        targets=rounded(targets),
    )
    plan = dataclasses.replace(plan, capacities=(bound,))
    needs = [Capacity.of(make_batch(plan, step)) for step in range(PROBED_STEPS)]
    most = [(np.max(sizes, axis=0), np.array(limit)) for *sizes, limit in zip(*needs, bound, strict=True)]
    usual = [Capacity(*(rounded(np.minimum(slack * largest, limit)) for largest, limit in most)) for slack in SLACK]
    return dataclasses.replace(plan, capacities=tuple(dict.fromkeys((*usual, bound))))


def batches(plan: BatchPlan, num_steps: int) -> Iterator:
    """The batches of steps `0` to `num_steps - 1`, see `iterate`."""
    return iterate(functools.partial(_batch_of, plan=plan), num_steps)


def _batch_of(step: int, plan: BatchPlan) -> Batch:
    return make_batch(plan, int(step))


def only_source(plan: BatchPlan, source: int, data: DataConfig) -> BatchPlan:
    """The plan without the users of the other sources, whose rows the users of `source` fill."""
    last = len(plan.users) - 1
    users = tuple(users_d if domain in (source, last) else users_d[:0] for domain, users_d in enumerate(plan.users))
    sizes = [len(users_d) for users_d in users]
    rows = rows_per_domain(plan.batch_size, sizes[:-1], data.target_share, sizes[-1] > 0, data.source_temperature)
    return _with_capacities(dataclasses.replace(plan, users=users, rows=tuple(rows)))
