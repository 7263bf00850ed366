"""Counts of the interactions of a domain that add up over parts of its users, and the notes that are made of them.

Shape letters: E events, in any order.
"""

import dataclasses
import math

import numpy as np

from llmrec_jax.data.domains.events import Events

LEAST, MOST = ("lowest_rating", "lowest_weight"), ("highest_rating", "highest_weight")


@dataclasses.dataclass(frozen=True)
class Summary:
    """Counts of interactions. "Kept" are those without a low rating; repeats of an item are among all but the first."""

    interactions: int = 0  # in the histories
    repeats: int = 0
    rows: int = 0  # clicks, also with low ratings and repeats
    below: int = 0  # rated below data.min_rating
    tied: int = 0  # kept, with the time of another of the same user
    unrated: int = 0
    at_most_two: int = 0  # ratings of 2 or less
    uneven: int = 0  # ratings that are no multiple of 0.5
    lists: int = 0  # of shown items
    weightless: int = 0  # in the histories with weight 0
    lowest_rating: float = math.inf
    highest_rating: float = -math.inf
    lowest_weight: float = math.inf
    highest_weight: float = -math.inf

    @classmethod
    def of(cls, events: Events, kept: Events, arrays: dict[str, np.ndarray], repeats: int) -> "Summary":
        """The summary of the clicks, those that are kept, and the prepared arrays."""
        rated_E = events.ratings_E[~np.isnan(events.ratings_E)]
        weights_E = arrays.get("weights_E", np.zeros(0, np.float32))
        return cls(
            interactions=len(arrays["items_E"]),
            repeats=repeats,
            rows=events.num_rows,
            below=events.num_rows - kept.num_rows,
            tied=_tied(kept),
            unrated=events.num_rows - len(rated_E),
            at_most_two=int((rated_E <= 2).sum()),
            uneven=int((rated_E * 2 != np.round(rated_E * 2)).sum()),
            lists=len(arrays.get("shown_users_Q", ())),
            weightless=int((weights_E == 0).sum()),
            lowest_rating=float(rated_E.min(initial=np.inf)),
            highest_rating=float(rated_E.max(initial=-np.inf)),
            lowest_weight=float(weights_E.min(initial=np.inf)),
            highest_weight=float(weights_E.max(initial=-np.inf)),
        )

    def add(self, other: "Summary") -> "Summary":
        """The summary of both parts, which have no user in common."""
        values = {}
        for name, mine in dataclasses.asdict(self).items():
            pair = mine, getattr(other, name)
            values[name] = min(pair) if name in LEAST else max(pair) if name in MOST else sum(pair)
        return Summary(**values)

    @property
    def has_weights(self) -> bool:
        """Whether the interactions have weights."""
        return self.highest_weight >= 0

    def tie_notes(self) -> list[str]:
        """At most one line on interactions whose order the times do not tell."""
        if not self.tied:
            return []
        return [f"{self.tied:,} of {self.rows - self.below:,} interactions share their time with another of the same "
                "user: a hash, not the order of the rows, decides which comes first"]  # fmt: skip

    def rating_notes(self, min_rating: float | None) -> list[str]:
        """At most one line on how the ratings are used."""
        rated, low, high = self.rows - self.unrated, self.lowest_rating, self.highest_rating
        if not rated:
            none = (
                f"data.min_rating={min_rating:g} has no effect: there are no ratings" if min_rating is not None else ""
            )
            return [none] if none else []
        if min_rating is not None:
            rest = f"; {self.unrated:,} have no rating and are kept" if self.unrated else ""
            left_out = f"{self.below:,} interactions rated below data.min_rating={min_rating:g} left out"
            return [f"{left_out} (ratings from {low:g} to {high:g}){rest}"]
        if self.at_most_two and low >= 0.5 and high == 5 and not self.uneven:
            low_ones = f"{self.at_most_two:,} of {rated:,} are 2 or less of 5 and count like the others"
            return [f"ratings are not used: {low_ones}; data.min_rating=3 leaves them out"]
        if low == high:
            return [f"ratings are not used (all are {low:g})"]
        return [f"ratings are not used (lowest {low:g}, highest {high:g}); data.min_rating leaves out the lower ones"]

    def weight_notes(self) -> list[str]:
        """At most one line on the weights."""
        if not self.has_weights:
            return []
        count = f"{self.weightless:,} of {self.interactions:,}"
        rest = f"; training does not predict the {count} with weight 0" if self.weightless else ""
        return [f"interactions have weights from {self.lowest_weight:g} to {self.highest_weight:g}{rest}"]


def _tied(events: Events) -> int:
    sorted_E = np.lexsort((events.times_E, events.users_E))
    time_E, user_E = events.times_E[sorted_E], events.users_E[sorted_E]
    is_tie = (np.diff(time_E) == 0) & (np.diff(user_E) == 0)
    return int((np.append(is_tie, False) | np.append(False, is_tie)).sum())
