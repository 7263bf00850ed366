"""The fields of the tasks section; see `fields`."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TasksConfig:
    """Tasks that the model learns beside recommending the next item, each a loss with a weight. See docs/tasks.md."""

    rating: Literal["none", "mse", "ordinal"] = "none"
    """Predict the rating that a user gives to the next item.
    none: ratings are not predicted.
    mse: squared error.
    ordinal: a threshold between each two neighbouring ratings; for a scale with few steps."""
    rating_weight: float = 0.1
    """Weight of the loss of tasks.rating beside the ranking loss."""
