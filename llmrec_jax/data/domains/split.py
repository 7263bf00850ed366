"""Splits of events into training, validation and test, and checks for leaks between two domains.

Pure functions of a domain and a seed. A split is cheap, so each run recomputes it instead of storing it.

Shape letters: E events of the domain, users end to end.
"""

from typing import Literal, NamedTuple

import numpy as np

from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.errors import UserError

VALID_FROM, TEST_FROM = 0.8, 0.9  # temporal split: fractions of all events before the two cuts
_HOLD_OUT, _KEPT_USERS = range(2)  # independent random streams from data.split_seed

Method = Literal["leave_one_out", "temporal", "random"]
TrainOn = Literal["train", "train+valid"]


class Cuts(NamedTuple):
    """The times (seconds) at which validation and test events begin."""

    valid_from: int
    test_from: int


class Split(NamedTuple):
    """A user's events are `items_E[offsets[u]:offsets[u + 1]]`; the history of a held-out event e is `[offsets[u]:e]`.

    Every held-out event has at least one event before it.
    """

    items_E: np.ndarray  # int32: those of the domain, shuffled within each user if the hold-out is random
    offsets: np.ndarray  # int64 [users + 1]
    train_end: np.ndarray  # int64 [users]: training events are items_E[offsets[u]:train_end[u]]
    valid: np.ndarray  # int64 [users]: index of the validation event, -1 = none
    test: np.ndarray  # int64 [users]: index of the test event, -1 = none
    method: str  # description for the report
    order_E: np.ndarray | None = None  # int64: index of each event in the domain's arrays; None: the same
    weights_E: np.ndarray | None = None  # float32: how much each event counts as a target; None: 1
    times_E: np.ndarray | None = None  # int64 seconds; None: the events are not ordered by time
    # int64 [users] each, of a temporal split: the first of a user's events, if any, from the two cuts on
    cut_at: tuple[np.ndarray, np.ndarray] | None = None

    def training_events(self, users: np.ndarray) -> np.ndarray:
        """A mask [E] of the training events of `users` (a mask [users])."""
        ends = np.where(users, self.train_end, self.offsets[:-1])
        return np.arange(len(self.items_E)) < np.repeat(ends, np.diff(self.offsets))

    @property
    def is_ordered(self) -> bool:
        """Whether the order of a user's events means anything."""
        return self.order_E is None

    def held_out_range(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """int64 [users] each: where the events held out for "valid" or "test" begin and end, empty where there is none.

        They are the held-out event, or with a temporal split all events of the period, of all users.
        """
        ends = self.offsets[1:]
        if self.cut_at is not None:
            return (self.cut_at[0], self.cut_at[1]) if name == "valid" else (self.cut_at[1], ends)
        event = {"valid": self.valid, "test": self.test}[name]
        return np.where(event >= 0, event, ends), np.where(event >= 0, event + 1, ends)

    def test_begin(self) -> np.ndarray:
        """int64 [users]: the end of the events that precede the test event, or would precede it if there were one."""
        after_valid = np.where(self.valid >= 0, self.valid + 1, self.train_end)
        return np.where(self.test >= 0, self.test, after_valid)

    def trainable(self) -> np.ndarray:
        """A mask [users] of those with a target: a training event after their first one, with a weight above 0."""
        after_first = self.offsets[:-1] + 1
        if self.weights_E is None:
            return self.train_end > after_first
        targets = np.concatenate([[0], np.cumsum(self.weights_E > 0)])
        return targets[np.maximum(self.train_end, after_first)] > targets[after_first]

    def in_order(self, values_E: np.ndarray) -> np.ndarray:
        """An array of the domain's events, such as its timestamps, in the order of `items_E`."""
        return values_E if self.order_E is None else values_E[self.order_E]


def split(domain: Domain, method: Method, seed: int, cuts: Cuts | None = None, train_on: TrainOn = "train") -> Split:
    """Split a domain's events.

    leave_one_out: a user's last event is the test event, the one before it the validation event; users with fewer
    than three events are used for training only.
    temporal: a time cut for validation and one for test, the same for all users and domains (`cuts`, those of the
    target; None: those of this domain). A user's first event in [valid_from, test_from) is the validation event, the
    first at or after test_from the test event; other events from valid_from on are unused. Raises ValueError if the
    domain has no timestamps.
    random: leave-one-out on each user's shuffled events. Always used for a domain without order.

    `seed` affects only the shuffle. Weights do not affect what is held out. With a temporal split, an event has the
    weight of the first of its repeats, because a later one may lie after the cut.

    With `train_on="train+valid"`, all events before a user's test event are training events, and none is for
    validation; the test events are the same.
    """
    result = _split(domain, method, seed, cuts)
    if train_on == "train+valid":
        nobody_E = np.full_like(result.valid, -1)
        cut_at = result.cut_at and (result.cut_at[1], result.cut_at[1])
        result = result._replace(train_end=result.test_begin(), valid=nobody_E, cut_at=cut_at)
    if domain.order == "timestamp" and result.is_ordered:
        result = result._replace(times_E=domain.timestamps_E)
    weights_E = domain.first_weights_E if method == "temporal" else domain.weights_E
    return result if weights_E is None else result._replace(weights_E=result.in_order(weights_E))


def _split(domain: Domain, method: Method, seed: int, cuts: Cuts | None) -> Split:
    if method == "temporal":
        return _temporal(domain, cuts or temporal_cuts(domain))
    if domain.order == "none" or method == "random":
        why = " (the domain has no order)" if domain.order == "none" else ""
        users_E = np.repeat(np.arange(len(domain.user_ids)), np.diff(domain.offsets))
        order_E = np.lexsort((np.random.default_rng([seed, _HOLD_OUT]).random(len(users_E)), users_E))
        shuffled = _leave_one_out(domain.items_E[order_E], domain.offsets, f"random hold-out{why}")
        return shuffled._replace(order_E=order_E)
    return _leave_one_out(domain.items_E, domain.offsets, "leave-one-out")


def temporal_cuts(domain: Domain) -> Cuts:
    """The 80 % and 90 % quantiles of the timestamps. Raises ValueError if the domain has none."""
    _check_times(domain)
    valid_from, test_from = np.quantile(domain.timestamps_E, [VALID_FROM, TEST_FROM], method="higher")
    return Cuts(int(valid_from), int(test_from))


def keep_fraction(split: Split, fraction: float, seed: int) -> np.ndarray:
    """A mask [users] that keeps a fraction of the users with training events; smaller fractions keep subsets.

    Raises ValueError if the fraction is outside [0, 1], or is positive but rounds to zero users.
    """
    if not 0 <= fraction <= 1:
        raise UserError(f"data.target_fraction={fraction} is not between 0 and 1")
    trained = np.flatnonzero(split.train_end > split.offsets[:-1])
    number = round(fraction * len(trained))
    if fraction and len(trained) and not number:
        raise UserError(
            f"data.target_fraction={fraction} of {len(trained):,} training users rounds to 0 users: choose at least "
            f"{0.5 / len(trained):.2g}, or 0 (zero-shot)"
        )
    kept = np.zeros(len(split.train_end), bool)
    kept[np.random.default_rng([seed, _KEPT_USERS]).permutation(trained)[:number]] = True
    return kept


def leaks(source: Domain, target: Domain, held_out: Split, users: np.ndarray) -> dict[str, int | None]:
    """Count shared users, items and texts, and the source's training events after the target's test cut.

    Equal ids mean the same user or item only if both domains use the same id space.
    `source_events_after_target_test_cut` counts training events at or after the target's temporal test cut, for every
    split method; None if either domain has no timestamps.

    Args:
      source: a domain to train on.
      target: the domain to evaluate.
      held_out: the split of the source.
      users: mask of the source's users that are trained on.
    """
    source_texts = set(source.texts)
    future = None
    if source.order == target.order == "timestamp":
        is_late_E = held_out.in_order(source.timestamps_E) >= temporal_cuts(target).test_from
        future = int((held_out.training_events(users) & is_late_E).sum())
    return {
        "target_users_in_source": len(set(target.user_ids) & set(source.user_ids)),
        "target_items_with_id_in_source": len(set(target.item_ids) & set(source.item_ids)),
        "target_items_with_text_in_source": sum(text in source_texts for text in target.texts),
        "source_events_after_target_test_cut": future,
    }


def nobody(domain: Domain, split: Split, event: Literal["valid", "test"]) -> str:
    """Why a split holds out no event of a domain, for a message."""
    longest = int(np.diff(domain.offsets).max(initial=0))
    if split.method.startswith("temporal"):
        return f"no user has both an event that falls to {event} and one before it ({split.method})"
    return f"no user has three events (the longest history has {longest})"


def _check_times(domain: Domain) -> None:
    if domain.order != "timestamp":
        raise UserError(
            f"data.split=temporal needs timestamps in every domain, but the order of {domain.name!r} is "
            f"{domain.order!r}: add a timestamp to each of its events or choose another data.split"
        )


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


def _temporal(domain: Domain, cuts: Cuts) -> Split:
    _check_times(domain)
    starts, ends = domain.offsets[:-1], domain.offsets[1:]
    before_valid = starts + _counts(domain, domain.timestamps_E < cuts.valid_from)
    before_test = starts + _counts(domain, domain.timestamps_E < cuts.test_from)
    has_valid, has_test = before_valid < before_test, before_test < ends
    cold = int((has_valid & (before_valid == starts)).sum() + (has_test & (before_test == starts)).sum())
    return Split(
        items_E=domain.items_E,
        offsets=domain.offsets,
        train_end=before_valid,
        valid=np.where(has_valid & (before_valid > starts), before_valid, -1),
        test=np.where(has_test & (before_test > starts), before_test, -1),
        cut_at=(before_valid, before_test),
        method=f"temporal (valid from {cuts.valid_from}, test from {cuts.test_from}, {cold} held-out events without "
        "history left out)",
    )


def _counts(domain: Domain, chosen_E: np.ndarray) -> np.ndarray:
    """Number of chosen events per user, int64 [users]."""
    total = np.concatenate([[0], np.cumsum(chosen_E)])
    return total[domain.offsets[1:]] - total[domain.offsets[:-1]]
