"""The input pipeline: one element is one batch, a pure function of (seed, step).

A batch holds numbers only (which user's events, which distinct items; the texts lie on the devices), a few bytes a
token. So every process makes the whole global batch, which then depends on neither processes nor threads, and
`parallel.py` puts on each device the rows that are its own.

B rows of the global batch   T events of a row, history + 1   S steps of a history   R rows of one domain
U distinct items of a batch, padded   P predictions, padded   I items of the joint catalogue   E events of a domain
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import grain
import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.mixture import interleave, rows_per_domain
from llmrec_jax.data.split import Split, keep_fraction
from llmrec_jax.types import Batch

ROOM_MULTIPLE = 64  # so that padded axes divide over the devices of a mesh
PROBED_STEPS = 100  # batches looked at to see how much room one usually needs
_ORDER, _STEP = range(2)  # streams of random numbers drawn from one seed


class Room(NamedTuple):
    """The padded sizes of a batch."""

    items: int  # U
    predictions: int  # P

    def holds(self, other: "Room") -> bool:
        """Whether a batch of the sizes `other` fits."""
        return self.items >= other.items and self.predictions >= other.predictions


@dataclasses.dataclass(frozen=True, eq=False)
class BatchPlan:
    """All that decides the batches of a run. Lists run over the domains: sources first, target last."""

    splits: tuple[Split, ...]
    users: tuple[np.ndarray, ...]  # int64: the users trained on, those with a next item to predict
    starts: np.ndarray  # int64 [domains + 1]: first item of each domain in the joint catalogue
    rows: tuple[int, ...]  # rows of a batch
    max_history: int
    unlabelled_items: int
    seed: int
    rooms: tuple[Room, ...]  # a batch is padded to the first that holds it; the last always does

    @property
    def batch_size(self) -> int:
        """Rows of the global batch, B."""
        return sum(self.rows)

    @functools.cached_property
    def domain_B(self) -> np.ndarray:
        """int32: the domain of each row, the same in every batch."""
        return interleave(self.rows)


def plan_batches(
    splits: Sequence[Split], starts: np.ndarray, data: DataConfig, batch_size: int, seed: int
) -> BatchPlan:
    """Decides shares and sizes.

    Trained on are users with at least two training events, of the target only `data.target_fraction` of them. Without
    any (zero-shot) all rows come from the sources. Popular items repeat and most histories are short, so a batch is
    usually padded to what the first batches need and a tenth more; the rare batch beyond is padded to what always
    suffices (a second compilation of the step, no loss).

    Args:
      splits: of the domains, sources first, target last.
      starts: `JointCatalog.starts`.
      data: `target_share`, `target_fraction`, `max_history` and `unlabelled_items` are read.
      batch_size: rows of the global batch.
      seed: of the order of users, the windows and the unlabelled items; not negative.
    """
    users = [np.flatnonzero(split.train_end - split.offsets[:-1] >= 2) for split in splits]
    users[-1] = users[-1][keep_fraction(splits[-1], data.target_fraction, seed)[users[-1]]]
    sizes = [len(users_d) for users_d in users]
    rows = rows_per_domain(batch_size, sizes[:-1], data.target_share, has_target_rows=sizes[-1] > 0)
    num_items, target_items = int(starts[-1]), int(starts[-1] - starts[-2])
    if data.unlabelled_items > target_items:
        raise ValueError(f"unlabelled_items={data.unlabelled_items}, but the target has {target_items} items")
    bound = Room(
        items=_rounded(min(batch_size * (data.max_history + 1) + data.unlabelled_items, num_items)),
        predictions=_rounded(batch_size * data.max_history),
    )
    plan = BatchPlan(
        splits=tuple(splits),
        users=tuple(users),
        starts=starts,
        rows=tuple(rows),
        max_history=data.max_history,
        unlabelled_items=data.unlabelled_items,
        seed=seed,
        rooms=(bound,),
    )
    probes = [make_batch(plan, step) for step in range(PROBED_STEPS)]
    usual = Room(
        items=min(bound.items, _rounded(1.1 * max(batch.item_mask_U.sum() for batch in probes))),
        predictions=min(bound.predictions, _rounded(1.1 * max(batch.prediction_mask_P.sum() for batch in probes))),
    )
    return plan if usual == bound else dataclasses.replace(plan, rooms=(usual, bound))


def _rounded(size: float) -> int:
    return -(-int(size) // ROOM_MULTIPLE) * ROOM_MULTIPLE


def make_batch(plan: BatchPlan, step: int) -> Batch:
    """The batch of a step. Its distinct items are in ascending order, its predictions by domain."""
    rng = np.random.default_rng([plan.seed, _STEP, step, 0])
    items_BT, event_mask_BT = _rows(plan, step, rng)
    first_item, num_items = int(plan.starts[-2]), int(plan.starts[-1])
    present_I = np.zeros(num_items, bool)
    present_I[items_BT[event_mask_BT]] = True
    present_I[first_item + rng.choice(num_items - first_item, plan.unlabelled_items, replace=False)] = True
    distinct = np.flatnonzero(present_I)
    place_I = np.cumsum(present_I, dtype=np.int32) - 1
    events_BT = np.where(event_mask_BT, place_I[items_BT], 0)

    place_P, target = np.flatnonzero(event_mask_BT[:, 1:]), events_BT[:, 1:][event_mask_BT[:, 1:]]
    domain = plan.domain_B[place_P // plan.max_history]
    by_domain = np.argsort(domain, kind="stable")
    room = next(room for room in plan.rooms if room.holds(Room(len(distinct), len(place_P))))
    return Batch(
        items_U=_padded(distinct, room.items),
        item_mask_U=np.arange(room.items) < len(distinct),
        history_BS=events_BT[:, :-1],
        history_mask_BS=event_mask_BT[:, :-1],
        domain_B=plan.domain_B,
        step_P=_padded(place_P[by_domain], room.predictions),
        target_P=_padded(target[by_domain], room.predictions),
        domain_P=_padded(domain[by_domain], room.predictions, len(plan.rows) - 1),
        prediction_mask_P=np.arange(room.predictions) < len(place_P),
    )


def _padded(values: np.ndarray, size: int, fill: int = 0) -> np.ndarray:
    padded = np.full(size, fill, np.int32)
    padded[: len(values)] = values
    return padded


def batches(plan: BatchPlan, num_steps: int) -> grain.DatasetIterator:
    """The batches of steps `0` to `num_steps - 1`, made ahead in threads.

    The state of the iterator (`get_state`, `set_state`) is the step it stands at: a checkpoint that holds it resumes
    with the very next batch.
    """
    make = functools.partial(_batch_of, plan=plan)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    return iter(grain.MapDataset.range(num_steps).map(make).to_iter_dataset(options))


def log_q(plan: BatchPlan) -> np.ndarray:
    """Log probability that a batch holds an item, float32 [I]: the correction of an in-batch softmax.

    With `f` the item's share of its domain's training events and `n` the events of that domain in an average batch,
    `log(1 - (1 - f)^n)`. All are finite: an item without a training event counts as one with one, a domain without rows
    as one with a single draw, and where it has no training events either, from items of equal chance. The unlabelled
    items come on top, each target item with the same chance.

    Sources: Yi et al., Sampling-Bias-Corrected Neural Modeling, RecSys 2019; the expected count of TensorFlow's
    candidate samplers.
    """
    length = plan.max_history + 1
    log_q_I = np.zeros(int(plan.starts[-1]), np.float64)
    for split, users, rows, start, end in zip(
        plan.splits, plan.users, plan.rows, plan.starts[:-1], plan.starts[1:], strict=True
    ):
        trained_E = np.zeros(len(split.items_E) + 1, np.int32)
        trained_E[split.offsets[users]] += 1
        trained_E[split.train_end[users]] -= 1
        events = split.items_E[np.cumsum(trained_E[:-1]) > 0]
        lengths = split.train_end[users] - split.offsets[users]
        draws = rows * np.minimum(lengths, length).mean() if rows else 1.0
        share = np.maximum(np.bincount(events, minlength=end - start), 1) / (len(events) or end - start)
        with np.errstate(divide="ignore"):  # an item that is all of its domain: log1p(-1) is -inf, and log_q 0
            log_q_I[start:end] = np.log(-np.expm1(draws * np.log1p(-share)))
    target_q = np.exp(log_q_I[plan.starts[-2] :])
    target_q += (1 - target_q) * plan.unlabelled_items / len(target_q)
    log_q_I[plan.starts[-2] :] = np.log(target_q)
    return log_q_I.astype(np.float32)


def _batch_of(step: int, plan: BatchPlan) -> Batch:
    return make_batch(plan, int(step))


def _rows(plan: BatchPlan, step: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Items of the joint catalogue in each row of the global batch, padded on the right, and the mask."""
    length = plan.max_history + 1
    items_BT = np.zeros((plan.batch_size, length), np.int32)
    event_mask_BT = np.zeros((plan.batch_size, length), bool)
    for domain, split in enumerate(plan.splits):
        users_R = _users(plan, domain, step)
        if not users_R.size:
            continue
        begin_R, end_R = split.offsets[users_R], split.train_end[users_R]
        spare_R = np.maximum(end_R - begin_R - length, 0)
        begin_R = begin_R + rng.integers(spare_R, endpoint=True)
        mask_RT = np.arange(length) < np.minimum(end_R - begin_R, length)[:, None]
        # Padding reads past the row, at the end past the array: clipped, then overwritten.
        items_RT = split.items_E.take(begin_R[:, None] + np.arange(length), mode="clip") + np.int32(plan.starts[domain])
        mine_B = plan.domain_B == domain
        items_BT[mine_B] = np.where(mask_RT, items_RT, 0)
        event_mask_BT[mine_B] = mask_RT
    return items_BT, event_mask_BT


def _users(plan: BatchPlan, domain: int, step: int) -> np.ndarray:
    """The users of a domain's rows in a step: each user once an epoch, in an order of its own for each epoch."""
    users, rows = plan.users[domain], plan.rows[domain]
    if not rows:
        return users[:0]
    epoch_R, place_R = np.divmod(step * rows + np.arange(rows), len(users))
    picked = [
        _permutation(plan.seed, domain, epoch, len(users))[place_R[epoch_R == epoch]]
        for epoch in range(epoch_R[0], epoch_R[-1] + 1)
    ]
    return users[np.concatenate(picked)]


@functools.lru_cache(maxsize=32)
def _permutation(seed: int, domain: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, domain, epoch]).permutation(size)
