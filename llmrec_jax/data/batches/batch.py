"""One global batch, a pure function of (plan, step). `pipeline` makes the plan.

A batch is small: it has item numbers only, and the texts stay on the devices. So every process computes the whole
global batch, independent of the number of processes and threads, and `parallel.py` shards it over the devices.

A step of a history predicts the next item. With a mask rate (BERT4Rec) the history holds all events of the window, some
of them masked, and a masked step predicts its own item.

B users of the global batch   M users of one domain in it   W events of a window, history + 1   S steps of a row
R rows of histories, padded   U distinct items of a bucket, padded   P predictions of a domain, padded
I items of the joint catalogue   N events of the batch   E events of a domain
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from llmrec_jax.data.batches import negatives, streams, triples
from llmrec_jax.data.batches.augment import augmented
from llmrec_jax.data.batches.capacity import Capacity, distinct_items, padded
from llmrec_jax.data.batches.mixture import interleave, users_of_step
from llmrec_jax.data.batches.packing import pack
from llmrec_jax.data.batches.targets import Table, of_histories, padded_to
from llmrec_jax.data.domains.split import Split
from llmrec_jax.predictor import elapsed
from llmrec_jax.types import Batch, Impressions, Items, Predictions, Ratings

# Version of the sampling rule. Increment it when a change gives a step other users, windows or unlabelled items (not
# other padding): otherwise a resumed run would silently continue with different batches.
BATCH_RULE = 3
TARGETS = {"ratings": Ratings, "impressions": Impressions}  # fields of a batch that tasks predict


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
    mask_rate: float  # probability of masking an event of a history; 0: predict the next items
    reads_times: bool  # the model reads the times of events
    seed: int
    lengths: tuple[int, ...]  # padded text length of each bucket; (0,) if the step encodes no text
    bucket_I: np.ndarray  # int: the bucket of each item
    multiple: int  # padded sizes are multiples of this
    capacities: tuple[Capacity, ...]  # a batch is padded to the first that it fits; it always fits the last
    augment: str = "none"  # how histories are changed, see `augment`
    augment_rate: float = 0.0
    graph: triples.Graph | None = None  # to train on; None: no task learns it
    # What tasks predict besides the next item: "ratings", "impressions"; one table per domain.
    targets: Mapping[str, tuple[Table | None, ...]] = dataclasses.field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """Users of the global batch, B."""
        return sum(self.rows)

    @property
    def steps(self) -> int:
        """Steps of a row of histories, S."""
        return self.max_history + (self.mask_rate > 0)

    @functools.cached_property
    def domain_B(self) -> np.ndarray:
        """int32: the domain of each user, the same in every batch."""
        return interleave(self.rows)

    @property
    def has_times(self) -> bool:
        """Whether a batch has times: the model reads them and at least one domain has them."""
        return self.reads_times and any(split.times_E is not None for split in self.splits)

    @functools.cached_property
    def has_weights(self) -> bool:
        """Whether the events of a domain in the batches have weights."""
        return any(split.weights_E is not None for split, rows in zip(self.splits, self.rows, strict=True) if rows)


def make_batch(plan: BatchPlan, step: int) -> Batch:
    """The batch of a step. The items of a bucket are in ascending order."""
    rng = np.random.default_rng([plan.seed, streams.STEP, step, 0])
    items_BW, event_mask_BW, weight_BW, time_BW, event_BW = _rows(plan, step, rng)
    event_N = np.flatnonzero(event_mask_BW)
    items_N = items_BW.reshape(-1)[event_N].astype(np.int64)
    first_item, num_items = int(plan.starts[-2]), int(plan.starts[-1])
    unlabelled = first_item + rng.choice(num_items - first_item, plan.unlabelled_items, replace=False)
    sampled = negatives.sample(plan.seed, step, plan.starts, plan.rows, plan.num_negatives)
    in_history_BW, masked_BW, predicted_BW = _event_masks(plan, step, event_mask_BW)
    steps, lengths_B = plan.steps, in_history_BW.sum(axis=1)
    start_B = pack(lengths_B, steps)
    place_BW = start_B[:, None] + np.arange(event_mask_BW.shape[1])  # index into the flattened rows of histories
    step_event_BW = np.where(in_history_BW, event_BW, -1)
    targets = {
        name: of_histories(tables, plan.domain_B, step_event_BW, place_BW) for name, tables in plan.targets.items()
    }
    head_N, facts = np.zeros(0, np.int64), None
    if plan.graph is not None:
        head_N, facts = triples.sample(plan.graph, plan.seed, step, plan.multiple)
    more = [found.items_N[found.items_N >= 0] for found in targets.values()]
    place_I = np.empty(num_items, np.int32)  # uninitialized: only the entries of the batch's items are written and read
    distinct = distinct_items(np.concatenate([items_N, unlabelled, *sampled, *more, head_N]), place_I)
    bucket = plan.bucket_I[distinct]
    buckets = [distinct[bucket == number] for number in range(len(plan.lengths))]
    step_BW = place_BW - (0 if plan.mask_rate else 1)  # the step that predicts an event
    made_BW = predicted_BW & (weight_BW > 0)
    made = [made_BW & (plan.domain_B == domain)[:, None] for domain in range(len(plan.rows))]
    need = Capacity(
        rows=int(start_B.max()) // steps + 1,
        items=tuple(map(len, buckets)),
        predictions=tuple(int(made_BW.sum()) for made_BW in made),
        targets=tuple(len(found.step_N) for found in targets.values()),
    )
    capacity = next(capacity for capacity in plan.capacities if capacity.holds(need))

    for start, items in zip(np.cumsum((0, *capacity.items)), buckets, strict=False):
        place_I[items] = start + np.arange(len(items))
    events_BW = np.zeros(items_BW.shape, np.int32)
    events_BW.reshape(-1)[event_N] = place_I[items_N]
    history_RS, segment_RS = np.zeros((2, capacity.rows, steps), np.int32)
    shown_BW = in_history_BW & ~masked_BW
    history_RS.reshape(-1)[place_BW[shown_BW]] = events_BW[shown_BW]
    segment_RS.reshape(-1)[place_BW[in_history_BW]] = 1 + np.repeat(np.arange(plan.batch_size), lengths_B)
    time_RS = None
    if plan.has_times:
        time_RS = np.full(history_RS.shape, -1, np.int32)
        time_RS.reshape(-1)[place_BW[in_history_BW]] = time_BW[in_history_BW]
    masked_RS = None
    if plan.mask_rate:
        masked_RS = np.zeros(history_RS.shape, bool)
        masked_RS.reshape(-1)[place_BW[masked_BW]] = True
    return Batch(
        items=tuple(Items(*padded(items, size)) for items, size in zip(buckets, capacity.items, strict=True)),
        history_RS=history_RS,
        segment_RS=segment_RS,
        last_B=(start_B + lengths_B - 1).astype(np.int32),
        domain_B=plan.domain_B,
        predictions=tuple(
            Predictions(
                padded(step_BW[made_BW], size)[0],
                *padded(events_BW[made_BW], size),
                padded(weight_BW[made_BW], size, np.float32)[0] if plan.has_weights else None,
            )
            for made_BW, size in zip(made, capacity.predictions, strict=True)
        ),
        negatives=negatives.padded_to(plan.multiple, [place_I[items] for items in sampled], np.diff(plan.starts)),
        masked_RS=masked_RS,
        time_RS=time_RS,
        triples=None if facts is None else facts._replace(head_N=place_I[head_N]),
        **{
            name: TARGETS[name](*padded_to(size, found, place_I))
            for (name, found), size in zip(targets.items(), capacity.targets, strict=True)
        },
    )


def _event_masks(plan: BatchPlan, step: int, event_mask_BW: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which events are in the history, which of those are masked, and which are predicted, bool [B, W] each."""
    is_last_BW = event_mask_BW & ~np.pad(event_mask_BW[:, 1:], ((0, 0), (0, 1)))
    if not plan.mask_rate:
        is_first_BW = np.arange(event_mask_BW.shape[1])[None] == 0
        return event_mask_BW & ~is_last_BW, np.zeros_like(event_mask_BW), event_mask_BW & ~is_first_BW
    rng = np.random.default_rng([plan.seed, streams.MASKS, step])
    # The last event always, because recommending is to predict what follows a whole history.
    masked_BW = event_mask_BW & (rng.random(event_mask_BW.shape) < plan.mask_rate) | is_last_BW
    return event_mask_BW, masked_BW, masked_BW


def _rows(plan: BatchPlan, step: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Each row of the global batch, right-padded: joint-catalogue items; mask (False on padding); weights; times;
    indices of the events in their domain.

    Times are `elapsed` seconds, -1 if the domain has none.
    """
    length = plan.max_history + 1
    items_BW = np.zeros((plan.batch_size, length), np.int32)
    event_mask_BW = np.zeros((plan.batch_size, length), bool)
    weight_BW = np.ones((plan.batch_size, length), np.float32)
    time_BW = np.full((plan.batch_size, length), -1, np.int32)
    event_BW = np.zeros((plan.batch_size, length), np.int64)
    for domain, split in enumerate(plan.splits):
        users_M = users_of_step(plan.users[domain], plan.rows[domain], step, (plan.seed, streams.ORDER, domain))
        if not users_M.size:
            continue
        begin_M, end_M = split.offsets[users_M], split.train_end[users_M]
        spare_M = np.maximum(end_M - begin_M - length, 0)
        begin_M = begin_M + rng.integers(spare_M, endpoint=True)
        # Padding reads past the user's events, possibly past the array: clipped, and masked below.
        place_MW, length_M = np.arange(length)[None], np.minimum(end_M - begin_M, length)
        time_place_MW = place_MW
        if plan.augment != "none":
            stream = np.random.default_rng([plan.seed, streams.AUGMENT, step, domain])
            place_MW, length_M = augmented(plan.augment, plan.augment_rate, length_M, length, stream)
            if plan.augment != "reorder":  # reordered items keep the times of the places that they move to
                time_place_MW = place_MW
        event_MW = begin_M[:, None] + place_MW
        items_MW = split.items_E.take(event_MW, mode="clip")
        mine_B = plan.domain_B == domain
        items_BW[mine_B] = items_MW + np.int32(plan.starts[domain])
        event_mask_BW[mine_B] = np.arange(length) < length_M[:, None]
        if split.weights_E is not None:
            weight_BW[mine_B] = split.weights_E.take(event_MW, mode="clip")
        event_BW[mine_B] = event_MW
        if plan.has_times and split.times_E is not None:
            time_BW[mine_B] = elapsed(split.times_E.take(begin_M[:, None] + time_place_MW, mode="clip"))
    return items_BW, event_mask_BW, weight_BW, time_BW, event_BW
