"""The lists of shown items of a prepared domain, and which of them are trained and evaluated on.

Shape letters: Q lists; A items of the lists, end to end.
"""

from typing import NamedTuple

import numpy as np

from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.impression_rows import NAMES
from llmrec_jax.data.domains.split import Split


class Impressions(NamedTuple):
    """The lists of a domain, users end to end, each in order."""

    users_Q: np.ndarray  # int32
    place_Q: np.ndarray  # int64: how many of the user's events precede the list
    offsets: np.ndarray  # int64 [Q + 1]: list q is items_A[offsets[q]:offsets[q + 1]]
    items_A: np.ndarray  # int32
    clicked_A: np.ndarray  # bool

    def at(self, split: Split) -> np.ndarray:
        """int64 [Q]: the history of a list ends before this event of the domain."""
        return split.offsets[self.users_Q] + self.place_Q

    def judged(self) -> np.ndarray:
        """A mask [Q] of the lists with a click and an item that was not clicked; the others say nothing."""
        clicks_Q = np.add.reduceat(self.clicked_A.astype(np.int64), self.offsets[:-1]) if len(self.users_Q) else 0
        return (clicks_Q > 0) & (clicks_Q < np.diff(self.offsets)) & (self.place_Q > 0)

    def training(self, split: Split, users: np.ndarray) -> np.ndarray:
        """Numbers of the lists to train on: of `users` (a mask [users]), with a history and a training event after."""
        return np.flatnonzero(self.judged() & (self.at(split) < split.train_end[self.users_Q]) & users[self.users_Q])

    def held_out(self, split: Split, name: str) -> np.ndarray:
        """Numbers of the lists to evaluate on "valid" or "test": those that a held-out event follows next."""
        at_Q, (begin, end) = self.at(split), split.held_out_range(name)
        return np.flatnonzero(self.judged() & (at_Q >= begin[self.users_Q]) & (at_Q < end[self.users_Q]))


def of_domain(domain: Domain) -> Impressions | None:
    """The lists of a prepared domain; None if it has none."""
    if domain.shown_users_Q is None:
        return None
    return Impressions(*(getattr(domain, name) for name in NAMES))
