"""The input pipeline: one element is one global batch, a pure function of (seed, step).

A batch is small: it has item numbers only, and the texts stay on the devices. So every process computes the whole
global batch, independent of the number of processes and threads, and `parallel.py` shards it over the devices.

All devices do the same work in a step: rows of histories, items of each bucket and predictions of each domain are
padded to multiples of the number of devices and sharded evenly. To keep the work of different steps similar too, each
batch samples users evenly over history lengths (`mixture.py`). Batches then need nearly the same sizes, which keeps
padding small and overflows rare.

B users of the global batch   M users of one domain in it   W events of a window, history + 1   S steps of a row
R rows of histories, padded   U distinct items of a bucket, padded   P predictions of a domain, padded
I items of the joint catalogue   N events of the batch   E events of a domain
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches import negatives
from llmrec_jax.data.batches.buckets import bucket_lengths
from llmrec_jax.data.batches.capacity import Capacity, distinct_items, padded
from llmrec_jax.data.batches.iterator import Iterator, iterate
from llmrec_jax.data.batches.mixture import interleave, rows_per_domain, users_of_step
from llmrec_jax.data.batches.packing import pack
from llmrec_jax.data.domains.split import Split, keep_fraction
from llmrec_jax.errors import UserError
from llmrec_jax.types import Batch, Items, Predictions

# Version of the sampling rule. Increment it when a change gives a step other users, windows or unlabelled items (not
# other padding): otherwise a resumed run would silently continue with different batches.
BATCH_RULE = 2
MULTIPLE = 8  # of padded sizes, so that they can be sharded over 2, 4 or 8 devices even if num_shards is 1
PROBED_STEPS = 100  # batches computed to find the sizes that are usually needed
# Capacities, as multiples of the largest sizes among the probed batches. About 1 in 100 batches overflows the first.
SLACK = (1.02, 1.25)
_ORDER, _STEP = range(2)  # independent random streams from one seed


@dataclasses.dataclass(frozen=True, eq=False)
class BatchPlan:
    """All inputs of `make_batch` except the step. Sequences per domain: sources first, target last."""

    splits: tuple[Split, ...]
    users: tuple[np.ndarray, ...]  # int64: users to train on, longest history first
    starts: np.ndarray  # int64 [domains + 1]: first item of each domain in the joint catalogue
    rows: tuple[int, ...]  # users per batch
    max_history: int
    unlabelled_items: int
    num_negatives: int  # sampled per domain
    seed: int
    lengths: tuple[int, ...]  # padded text length of each bucket; (0,) if the step encodes no text
    bucket_I: np.ndarray  # int: the bucket of each item
    multiple: int  # padded sizes are multiples of this
    capacities: tuple[Capacity, ...]  # a batch is padded to the first that it fits; it always fits the last

    @property
    def batch_size(self) -> int:
        """Users of the global batch, B."""
        return sum(self.rows)

    @functools.cached_property
    def domain_B(self) -> np.ndarray:
        """int32: the domain of each user, the same in every batch."""
        return interleave(self.rows)

    @functools.cached_property
    def has_weights(self) -> bool:
        """Whether the events of a domain in the batches have weights."""
        return any(split.weights_E is not None for split, rows in zip(self.splits, self.rows, strict=True) if rows)


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
      data: uses `target_share`, `target_fraction`, `split_seed`, `max_history` and `unlabelled_items`.
      batch_size: users of the global batch.
      seed: non-negative; seeds the order of users, the windows and the unlabelled items.
      num_shards: number of shards of a batch; padded sizes are multiples of it.
      left_out: index of a source that is not trained on, see `Protocol`.
      num_negatives: negatives sampled per domain and step; 0 if the loss samples none.
    """
    lengths = [np.minimum(split.train_end - split.offsets[:-1], data.max_history + 1) for split in splits]
    longest_first = [np.argsort(-lengths_d, kind="stable") for lengths_d in lengths]
    users = [users_d[split.trainable()[users_d]] for users_d, split in zip(longest_first, splits, strict=True)]
    users[-1] = users[-1][keep_fraction(splits[-1], data.target_fraction, data.split_seed)[users[-1]]]
    if left_out is not None:
        users[left_out] = users[left_out][:0]
    sizes = [len(users_d) for users_d in users]
    rows = rows_per_domain(batch_size, sizes[:-1], data.target_share, has_target_rows=sizes[-1] > 0)
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
        seed=seed,
        lengths=(0,),
        bucket_I=np.zeros(num_items, np.int64),
        multiple=math.lcm(MULTIPLE, num_shards),
        capacities=(),
    )
    return _with_rooms(plan)


def by_length(plan: BatchPlan, tokens_I: np.ndarray) -> BatchPlan:
    """The plan with items bucketed by number of tokens (int [I]); each bucket is padded to its own length."""
    lengths = bucket_lengths(tokens_I)
    return _with_rooms(dataclasses.replace(plan, lengths=lengths, bucket_I=np.searchsorted(lengths, tokens_I)))


def _with_rooms(plan: BatchPlan) -> BatchPlan:
    """The plan with capacities: the sizes of the first batches times each of `SLACK`, then the upper bound."""

    def rounded(sizes: Any) -> Any:
        multiples = np.ceil(np.asarray(sizes) / plan.multiple).astype(int) * plan.multiple
        return tuple(multiples.tolist()) if multiples.ndim else int(multiples)

    at_most = plan.batch_size * (plan.max_history + 1) + plan.unlabelled_items + plan.num_negatives * len(plan.rows)
    bound = Capacity(
        rows=rounded(plan.batch_size),
        items=rounded(np.minimum(at_most, np.bincount(plan.bucket_I, minlength=len(plan.lengths)))),
        predictions=rounded(np.array(plan.rows) * plan.max_history),
    )
    plan = dataclasses.replace(plan, capacities=(bound,))
    needs = [Capacity.of(make_batch(plan, step)) for step in range(PROBED_STEPS)]
    most = [(np.max(sizes, axis=0), np.array(limit)) for *sizes, limit in zip(*needs, bound, strict=True)]
    usual = [Capacity(*(rounded(np.minimum(slack * largest, limit)) for largest, limit in most)) for slack in SLACK]
    return dataclasses.replace(plan, capacities=tuple(dict.fromkeys((*usual, bound))))


def make_batch(plan: BatchPlan, step: int) -> Batch:
    """The batch of a step. The items of a bucket are in ascending order."""
    rng = np.random.default_rng([plan.seed, _STEP, step, 0])
    items_BW, event_mask_BW, weight_BW = _rows(plan, step, rng)
    event_N = np.flatnonzero(event_mask_BW)
    items_N = items_BW.reshape(-1)[event_N].astype(np.int64)
    first_item, num_items = int(plan.starts[-2]), int(plan.starts[-1])
    unlabelled = first_item + rng.choice(num_items - first_item, plan.unlabelled_items, replace=False)
    sampled = negatives.sample(plan.seed, step, plan.starts, plan.rows, plan.num_negatives)
    place_I = np.empty(num_items, np.int32)  # uninitialized: only the entries of the batch's items are written and read
    distinct = distinct_items(np.concatenate([items_N, unlabelled, *sampled]), place_I)
    bucket = plan.bucket_I[distinct]
    buckets = [distinct[bucket == number] for number in range(len(plan.lengths))]
    steps, lengths_B = plan.max_history, event_mask_BW[:, :-1].sum(axis=1)
    start_B = pack(lengths_B, steps)
    place_BS = start_B[:, None] + np.arange(steps)  # index into the flattened rows of histories
    made_BS = event_mask_BW[:, 1:] & (weight_BW[:, 1:] > 0)
    made = [made_BS & (plan.domain_B == domain)[:, None] for domain in range(len(plan.rows))]
    need = Capacity(
        rows=int(start_B.max()) // steps + 1,
        items=tuple(map(len, buckets)),
        predictions=tuple(int(made_BS.sum()) for made_BS in made),
    )
    capacity = next(capacity for capacity in plan.capacities if capacity.holds(need))

    for start, items in zip(np.cumsum((0, *capacity.items)), buckets, strict=False):
        place_I[items] = start + np.arange(len(items))
    events_BW = np.zeros(items_BW.shape, np.int32)
    events_BW.reshape(-1)[event_N] = place_I[items_N]
    history_RS, segment_RS = np.zeros((2, capacity.rows, steps), np.int32)
    history_mask_BS = event_mask_BW[:, :-1]
    history_RS.reshape(-1)[place_BS[history_mask_BS]] = events_BW[:, :-1][history_mask_BS]
    segment_RS.reshape(-1)[place_BS[history_mask_BS]] = 1 + np.repeat(np.arange(plan.batch_size), lengths_B)
    return Batch(
        items=tuple(Items(*padded(items, size)) for items, size in zip(buckets, capacity.items, strict=True)),
        history_RS=history_RS,
        segment_RS=segment_RS,
        last_B=(start_B + lengths_B - 1).astype(np.int32),
        domain_B=plan.domain_B,
        predictions=tuple(
            Predictions(
                padded(place_BS[made_BS], size)[0],
                *padded(events_BW[:, 1:][made_BS], size),
                padded(weight_BW[:, 1:][made_BS], size, np.float32)[0] if plan.has_weights else None,
            )
            for made_BS, size in zip(made, capacity.predictions, strict=True)
        ),
        negatives=negatives.padded_to(plan.multiple, [place_I[items] for items in sampled], np.diff(plan.starts)),
    )


def batches(plan: BatchPlan, num_steps: int) -> Iterator:
    """The batches of steps `0` to `num_steps - 1`, see `iterate`."""
    return iterate(functools.partial(_batch_of, plan=plan), num_steps)


def _batch_of(step: int, plan: BatchPlan) -> Batch:
    return make_batch(plan, int(step))


def _rows(plan: BatchPlan, step: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joint-catalogue items of each row of the global batch, right-padded; the mask (False on padding); the weights."""
    length = plan.max_history + 1
    items_BW = np.zeros((plan.batch_size, length), np.int32)
    event_mask_BW = np.zeros((plan.batch_size, length), bool)
    weight_BW = np.ones((plan.batch_size, length), np.float32)
    for domain, split in enumerate(plan.splits):
        users_M = users_of_step(plan.users[domain], plan.rows[domain], step, (plan.seed, _ORDER, domain))
        if not users_M.size:
            continue
        begin_M, end_M = split.offsets[users_M], split.train_end[users_M]
        spare_M = np.maximum(end_M - begin_M - length, 0)
        begin_M = begin_M + rng.integers(spare_M, endpoint=True)
        # Padding reads past the user's events, possibly past the array: clipped, and masked below.
        event_MW = begin_M[:, None] + np.arange(length)
        items_MW = split.items_E.take(event_MW, mode="clip")
        mine_B = plan.domain_B == domain
        items_BW[mine_B] = items_MW + np.int32(plan.starts[domain])
        event_mask_BW[mine_B] = np.arange(length) < (end_M - begin_M)[:, None]
        if split.weights_E is not None:
            weight_BW[mine_B] = split.weights_E.take(event_MW, mode="clip")
    return items_BW, event_mask_BW, weight_BW
