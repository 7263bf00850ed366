"""The ratings that follow the steps of a batch's histories, for a task that predicts them.

A ratings of a domain that are trained on   E events of a domain   N ratings of the batch   F features
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.data.batches.capacity import padded
from llmrec_jax.types import Ratings


class RatingTable(NamedTuple):
    """The ratings of one domain to train on, in the order of `at_A`; each has a history."""

    at_A: np.ndarray  # int64, ascending: the history ends before this event of the domain
    items_A: np.ndarray  # int32: numbers of the joint catalogue
    ratings_A: np.ndarray  # float32
    prior_A: np.ndarray  # float32: the rating predicted without training
    features_AF: np.ndarray  # float32: what that prediction is made from, for the head
    scale: float  # standard deviation of the domain's ratings

    def most(self, steps: int) -> int:
        """The largest number of ratings after the steps of a history of `steps` consecutive events."""
        end_A = np.searchsorted(self.at_A, self.at_A + steps)
        return int((end_A - np.arange(len(end_A))).max(initial=0))


class Found(NamedTuple):
    """Ratings of a batch before padding, all domains end to end."""

    step_N: np.ndarray  # as in `types.Ratings`
    items_N: np.ndarray  # numbers of the joint catalogue
    columns: tuple[np.ndarray, ...]  # of `types.Ratings` after `item_N`, without the mask


def of_histories(
    tables: Sequence[RatingTable | None], domain_B: np.ndarray, event_BW: np.ndarray, step_BW: np.ndarray
) -> Found:
    """The ratings after each step of the histories.

    Args:
      tables: one per domain; None: without ratings.
      domain_B: the domain of each user.
      event_BW: index of each event in its domain; -1 where it is no step of the history.
      step_BW: the step of each event of the history.
    """
    parts = []
    for domain, table in enumerate(tables):
        if table is None:
            continue
        is_step_BW = (event_BW >= 0) & (domain_B == domain)[:, None]
        next_event = event_BW[is_step_BW] + 1
        first, end = (np.searchsorted(table.at_A, next_event, side) for side in ("left", "right"))
        number = end - first
        row_N = np.repeat(first - np.cumsum(number) + number, number) + np.arange(number.sum())
        scale_N = np.full(len(row_N), table.scale, np.float32)
        columns = table.ratings_A[row_N], table.prior_A[row_N], scale_N, table.features_AF[row_N]
        parts.append((np.repeat(step_BW[is_step_BW], number), table.items_A[row_N], *columns))
    step_N, items_N, *columns_N = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Found(step_N, items_N, tuple(columns_N))


def padded_to(size: int, found: Found, place_I: np.ndarray) -> Ratings:
    """The ratings of a batch, padded; `place_I` is where an item stands among the batch's items."""
    step_N, mask_N = padded(found.step_N, size)
    item_N, _ = padded(place_I[found.items_N], size)
    rating_N, prior_N, scale_N, features_NF = (
        np.concatenate([column, np.zeros((size - len(column), *column.shape[1:]), np.float32)])
        for column in found.columns
    )
    return Ratings(step_N, item_N, rating_N, prior_N, scale_N, features_NF, mask_N)
