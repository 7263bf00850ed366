"""What the methods of a `Recommender` return."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from llmrec_jax.blend.calibration import FEWEST_USERS

# Why a bundle has no probabilities.
NOT_CALIBRATED = ("this bundle is not calibrated: that needs validation events of at least "
                  f"{FEWEST_USERS} users of the target (zero-shot runs have none) and the fitted weights")  # fmt: skip


class Recommendation(NamedTuple):
    """One recommended item."""

    item_id: str
    score: float  # the sum of the answer's parts; in the popularity fallback, the item's share of the training events
    title: str


class Recommendations(list[Recommendation]):
    """A list of recommendations, best first."""

    def __init__(
        self,
        found: Sequence[Recommendation],
        *,
        unknown: Sequence[str] = (),
        fallback: bool = False,
        parts: Sequence[dict[str, float]] | None = None,
        probabilities: Sequence[float] | None = None,
    ):
        super().__init__(found)
        self.unknown = list(unknown)  # ids of the history and of `disliked` that are unknown and were ignored
        self.fallback = fallback  # True: no id of the history is known, so these are the most popular items
        # For each recommendation, the probability that it is the next event, estimated on validation events by isotonic
        # regression. None if the bundle has no such map, or the scores are not those that it was fitted to: with
        # `disliked`, in another shop, or for a history without items of the target.
        self.probabilities = probabilities
        self.parts = parts  # for each recommendation, what each part adds to its score; None unless asked for

    @property
    def ids(self) -> list[str]:
        """The ids of the items, best first."""
        return [item_id for item_id, _, _ in self]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why an item has its score. All shares are in the unit of the score; those of `parts` sum to it."""

    score: float
    parts: dict[str, float]  # what each part of the answer adds; they sum to the score
    history: list[tuple[str, float]]  # how much lower the score is without this item of the history; largest first
    words: list[tuple[str, float]]  # how much each word of the item's text adds; largest first
