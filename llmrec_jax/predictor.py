"""Predictors: methods that rank items, by vectors that are scored on the devices, or by scores from the host."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, overload

import numpy as np


class Histories(Sequence[np.ndarray]):
    """Histories (item numbers, oldest first) with the times of their events; to most predictors a list of arrays."""

    def __init__(self, items: Sequence[np.ndarray], times: Sequence[np.ndarray] | None):
        """`times`: int64 seconds, one array per history; None: unknown."""
        self.items, self.times = items, times

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, rows: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, rows: slice) -> "Histories": ...
    def __getitem__(self, rows: int | slice) -> "np.ndarray | Histories":
        if not isinstance(rows, slice):
            return self.items[rows]
        return Histories(self.items[rows], None if self.times is None else self.times[rows])


def take(histories: Sequence[np.ndarray], rows: np.ndarray) -> Sequence[np.ndarray]:
    """Some of the histories, with their times if they have any."""
    if not isinstance(histories, Histories):
        return [histories[row] for row in rows]
    times = None if histories.times is None else [histories.times[row] for row in rows]
    return Histories([histories.items[row] for row in rows], times)


def elapsed(times: np.ndarray) -> np.ndarray:
    """Seconds since the first event of each history, the last axis of `times`: int32, at most 68 years.

    All models read times in this form, where -1 stands for an unknown time.
    """
    return np.clip(times - times[..., :1], 0, np.iinfo(np.int32).max).astype(np.int32)


class VectorPredictor(NamedTuple):
    """A table of item vectors and a function from histories to user vectors; a score is their dot product."""

    name: str
    items_ID: np.ndarray  # float32, of the items of one domain
    users: Callable[[Sequence[np.ndarray]], np.ndarray]  # histories (item numbers, oldest first) -> float32 [N, D]


class ScorePredictor(NamedTuple):
    """A function from histories to the scores of all items of one domain, called with a block of users at a time."""

    name: str
    num_items: int
    scores: Callable[[Sequence[np.ndarray]], np.ndarray]  # histories (item numbers, oldest first) -> [N, I]


class MatrixPredictor(NamedTuple):
    """Given scores of all items of one domain for each of its users."""

    name: str
    scores_NI: np.ndarray  # a row per user of the domain, also for those that are not ranked


Predictor: TypeAlias = VectorPredictor | ScorePredictor | MatrixPredictor
