"""A predictor: a table of item vectors and a function from histories to user vectors; a score is their dot product."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

DECAY, DECAYED_ITEMS = 0.65, 5  # of `text_knn_decayed`


class Predictor(NamedTuple):
    """A named scoring function over the items of one domain (numbered within the domain)."""

    name: str
    items_ID: Any  # a float32 array, or a `SparsePlusDense`
    users: Callable[[Sequence[np.ndarray]], Any]  # histories (item numbers, oldest first) -> the same kind, [N, D]
