"""Predictors: what can be ranked. By vectors, scored on the devices, or by scores, computed on the host or given."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np


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
