"""Batch plans on hand-written splits, and functions that recover the content of a batch.

In `tracer` splits every event has a different item, numbered by its position, so a batch shows which events it has.
"""

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.capacity import Capacity
from llmrec_jax.data.batches.pipeline import plan_batches
from llmrec_jax.data.domains.split import Split

HISTORY = 6


def split_of(items_E: np.ndarray, lengths: np.ndarray) -> Split:
    """Leave-one-out by hand: the last two events of a user are not for training."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    none = np.full(len(lengths), -1)
    train_end = np.maximum(offsets[1:] - 2, offsets[:-1])
    return Split(items_E.astype(np.int32), offsets, train_end, none, none, "leave_one_out")


def tracer(num_users: int, seed: int) -> Split:
    lengths = np.random.default_rng(seed).integers(1, 20, num_users)
    return split_of(np.arange(lengths.sum()), lengths)


SPLITS = (tracer(30, 0), tracer(50, 1), tracer(40, 2))
STARTS = np.cumsum([0, *(len(split.items_E) for split in SPLITS)])


def plan_of(batch_size=24, seed=3, **data):
    return plan_batches(SPLITS, STARTS, DataConfig(max_history=HISTORY, **data), batch_size, seed)


def ids_of(batch):
    """What `history_RS` and `target_P` point into: the buckets end to end."""
    return np.concatenate([items.ids_U for items in batch.items])


def distinct_of(batch):
    return np.concatenate([items.ids_U[items.mask_U] for items in batch.items])


def predictions_of(batch):
    """All real predictions: step, target, domain."""
    parts = [(p.step_P[p.mask_P], p.target_P[p.mask_P]) for p in batch.predictions]
    steps, targets = (np.concatenate(column) for column in zip(*parts, strict=True))
    return steps, targets, np.repeat(np.arange(len(parts)), [len(steps) for steps, _ in parts])


def histories_of(batch):
    """Per user: where the history lies in the rows end to end."""
    return [np.flatnonzero(batch.segment_RS.reshape(-1) == 1 + user) for user in range(len(batch.domain_B))]


def rows_of(batch):
    """Per user: its domain and its events, numbered within the domain: a full history's last target is one more."""
    steps, targets, _ = predictions_of(batch)
    target_of = dict(zip(steps.tolist(), targets, strict=True))
    for domain, steps, last_step in zip(batch.domain_B, histories_of(batch), batch.last_B, strict=True):
        events = list(batch.history_RS.reshape(-1)[steps])
        events += [target_of[last_step]] if last_step in target_of else []
        yield domain, ids_of(batch)[events] - STARTS[domain]


def user_of(domain, events):
    return int(np.searchsorted(SPLITS[domain].offsets, events[0], side="right") - 1)


def sizes_of(batch):
    return Capacity(
        int((batch.segment_RS > 0).any(axis=1).sum()),
        tuple(int(items.mask_U.sum()) for items in batch.items),
        tuple(int(predictions.mask_P.sum()) for predictions in batch.predictions),
    )
