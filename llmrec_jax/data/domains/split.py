"""Which events are for training, which are targets, and what one domain could give away about another.

Pure functions of a domain and a seed. Nothing here is stored: a split is cheap to make again.

Shape letters: E events of the domain, users end to end.
"""

from typing import Literal, NamedTuple

import numpy as np

from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.errors import UserError

VALID_FROM, TEST_FROM = 0.8, 0.9  # temporal split: shares of all events that precede the two cuts


class Split(NamedTuple):
    """A user's events are `items_E[offsets[u]:offsets[u + 1]]`; the history of a target at index e is `[offsets[u]:e]`.

    Every target has at least one event before it.
    """

    items_E: np.ndarray  # int32: the domain's, or reordered within each user where the hold-out is random
    offsets: np.ndarray  # int64 [users + 1]
    train_end: np.ndarray  # int64 [users]: training events are items_E[offsets[u]:train_end[u]]
    valid: np.ndarray  # int64 [users]: absolute index of the validation target, -1 = none
    test: np.ndarray  # int64 [users]: the same for the test target
    method: str  # what was really done


def split(domain: Domain, method: Literal["leave_one_out", "temporal", "random"], seed: int) -> Split:
    """Split a domain's events.

    leave_one_out: a user's last event is the test target, the one before it the validation target; users with fewer
    than three events are for training only.
    temporal: one cut for all users at the 80 % and one at the 90 % quantile of the timestamps; a user's first event
    from a cut on (and before the next) is the target. `ValueError` without timestamps.
    random: leave-one-out on a seeded shuffle of each user's events. A domain without order always gets this one.
    """
    if domain.order == "none" or method == "random":
        why = " (the domain has no order)" if domain.order == "none" else ""
        users_E = np.repeat(np.arange(len(domain.user_ids)), np.diff(domain.offsets))
        shuffled_E = np.lexsort((np.random.default_rng(seed).random(len(users_E)), users_E))
        return _leave_one_out(domain.items_E[shuffled_E], domain.offsets, f"random hold-out{why}")
    if method == "temporal":
        return _temporal(domain)
    return _leave_one_out(domain.items_E, domain.offsets, "leave-one-out")


def temporal_cuts(domain: Domain) -> tuple[int, int]:
    """The times (seconds) from which events are for validation and for test; `ValueError` without timestamps."""
    if domain.order != "timestamp":
        raise UserError(f"no temporal split of {domain.name!r}: its order is {domain.order!r}, not by timestamp")
    valid_from, test_from = np.quantile(domain.timestamps_E, [VALID_FROM, TEST_FROM], method="higher")
    return int(valid_from), int(test_from)


def train_counts(split: Split, num_items: int) -> np.ndarray:
    """How often each item occurs in the training events (int64 [items])."""
    positions_E = np.arange(len(split.items_E))
    train_E = positions_E < np.repeat(split.train_end, np.diff(split.offsets))
    return np.bincount(split.items_E[train_E], minlength=num_items).astype(np.int64)


def keep_fraction(split: Split, fraction: float, seed: int) -> np.ndarray:
    """A mask [users] of a share of the users with training events; a smaller share is a subset of a larger one."""
    if not 0 <= fraction <= 1:
        raise UserError(f"the share of the training users is between 0 and 1, not {fraction}")
    trained = np.flatnonzero(split.train_end > split.offsets[:-1])
    order = np.random.default_rng(seed).permutation(trained)
    kept = np.zeros(len(split.train_end), bool)
    kept[order[: round(fraction * len(trained))]] = True
    return kept


def leaks(source: Domain, target: Domain) -> dict[str, int | None]:
    """Count what the two domains share, and the source's events from the target's future.

    Equal ids mean the same user or item only where the domains draw them from one id space.
    `source_events_after_target_test_cut` is None where either domain has no timestamps.
    """
    source_texts = set(source.texts)
    future = None
    if source.order == target.order == "timestamp":
        future = int((source.timestamps_E >= temporal_cuts(target)[1]).sum())
    return {
        "target_users_in_source": len(set(target.user_ids) & set(source.user_ids)),
        "target_items_with_id_in_source": len(set(target.item_ids) & set(source.item_ids)),
        "target_items_with_text_in_source": sum(text in source_texts for text in target.texts),
        "source_events_after_target_test_cut": future,
    }


def _leave_one_out(items_E: np.ndarray, offsets: np.ndarray, method: str) -> Split:
    ends = offsets[1:]
    held_out = np.diff(offsets) >= 3
    return Split(
        items_E=items_E,
        offsets=offsets,
        train_end=np.where(held_out, ends - 2, ends),
        valid=np.where(held_out, ends - 2, -1),
        test=np.where(held_out, ends - 1, -1),
        method=method,
    )


def _temporal(domain: Domain) -> Split:
    starts, ends = domain.offsets[:-1], domain.offsets[1:]
    valid_from, test_from = temporal_cuts(domain)
    before_valid = starts + _counts(domain, domain.timestamps_E < valid_from)
    before_test = starts + _counts(domain, domain.timestamps_E < test_from)
    has_valid, has_test = before_valid < before_test, before_test < ends
    cold = int((has_valid & (before_valid == starts)).sum() + (has_test & (before_test == starts)).sum())
    return Split(
        items_E=domain.items_E,
        offsets=domain.offsets,
        train_end=before_valid,
        valid=np.where(has_valid & (before_valid > starts), before_valid, -1),
        test=np.where(has_test & (before_test > starts), before_test, -1),
        method=f"temporal (valid from {valid_from}, test from {test_from}, {cold} targets without history left out)",
    )


def _counts(domain: Domain, chosen_E: np.ndarray) -> np.ndarray:
    """How many of each user's events are chosen (int64 [users])."""
    total = np.concatenate([[0], np.cumsum(chosen_E)])
    return total[domain.offsets[1:]] - total[domain.offsets[:-1]]
