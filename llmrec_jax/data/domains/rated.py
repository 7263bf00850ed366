"""All ratings of a domain in the order of its histories, also those below `data.min_rating`.

Shape letters: E events of the domain, users end to end; A ratings, users end to end.
"""

from typing import NamedTuple

import numpy as np

from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.split import Split


class Rated(NamedTuple):
    """The ratings of a domain, users end to end, each oldest first."""

    users_A: np.ndarray  # int64, ascending
    items_A: np.ndarray  # int32
    ratings_A: np.ndarray  # float32
    # int64: the history before the rating ends before this event of `Split.items_E`, which is the rated one unless
    # the rating is low
    at_A: np.ndarray
    is_low_A: np.ndarray  # bool: below `data.min_rating`, so that no history holds the item
    offsets: np.ndarray  # int64 [users + 1]

    def training(self, split: Split, users: np.ndarray) -> np.ndarray:
        """A mask [A] of the ratings of `users` (a mask [users]) that may be trained on.

        They are those of the training events, and low ratings that a training event follows.
        """
        return (self.at_A < split.train_end[self.users_A]) & users[self.users_A]

    def held_out(self, split: Split, name: str) -> np.ndarray:
        """Numbers of the ratings to evaluate on "valid" or "test".

        Those of the held-out events (`Split.held_out_range`) that have a history, and low ratings between them.
        """
        begin_A, end_A = (bound[self.users_A] for bound in split.held_out_range(name))
        may_precede_cut_A = self.is_low_A & (self.at_A == begin_A)
        has_history_A = self.at_A > split.offsets[self.users_A]
        return np.flatnonzero(has_history_A & (self.at_A >= begin_A) & (self.at_A < end_A) & ~may_precede_cut_A)


def rated(domain: Domain, split: Split) -> Rated:
    """The ratings of a domain. In a shuffled history a low rating keeps its place, so that it may follow any events."""
    num_users = len(domain.user_ids)
    ratings_E = split.in_order(domain.ratings_E)
    at = np.flatnonzero(~np.isnan(ratings_E))
    user_E = np.repeat(np.arange(num_users), np.diff(split.offsets))
    parts = [(user_E[at], split.items_E[at], ratings_E[at], at, np.zeros(len(at), bool))]
    if domain.low_items_A is not None:
        assert domain.low_ratings_A is not None
        assert domain.low_place_A is not None
        assert domain.low_offsets is not None
        user = np.repeat(np.arange(num_users), np.diff(domain.low_offsets))
        at = split.offsets[user] + domain.low_place_A
        parts.append((user, domain.low_items_A, domain.low_ratings_A, at, np.ones(len(at), bool)))
    users_A, items_A, ratings_A, at_A, is_low_A = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((~is_low_A, at_A, users_A))  # low ratings stand before the event that follows them
    return Rated(
        users_A=users_A[order].astype(np.int64),
        items_A=items_A[order].astype(np.int32),
        ratings_A=ratings_A[order].astype(np.float32),
        at_A=at_A[order].astype(np.int64),
        is_low_A=is_low_A[order],
        offsets=np.searchsorted(users_A[order], np.arange(num_users + 1)),
    )
