"""The tasks beside the ranking loss, by name: each makes the term of one task from the configuration and the data.

A task of your own is an entry of `TASKS`, made before the configuration is read. Its term is left out where the
function returns None. Shape letters: those of `types`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from llmrec_jax.config import TasksConfig
from llmrec_jax.losses.term import Term
from llmrec_jax.types import Head, Mean, Outputs


class TaskFacts(NamedTuple):
    """What the tasks must know of the data to size their heads."""

    num_items: int = 0  # of the joint catalogue
    rating_levels: tuple[float, ...] = ()  # the distinct ratings, ascending; empty if there are none


def _rating(config: TasksConfig, facts: TaskFacts) -> Term | None:
    if config.rating == "none":
        return None

    def term(outputs: Outputs, progress: jax.Array) -> dict[str, Mean]:
        ratings = outputs.batch.ratings
        assert ratings is not None, "the batch holds no ratings"
        assert outputs.states_ND is not None
        predicted_N = outputs.heads["rating"](outputs.states_ND[ratings.step_N], outputs.items_UD[ratings.item_N])
        mask_N = ratings.mask_N.astype(jnp.float32)
        return {"events": Mean(jnp.sum((predicted_N - ratings.value_N) ** 2 * mask_N), jnp.sum(mask_N))}

    return Term(term, config.rating_weight, {"rating": Head("rating")}, ("ratings",))


TASKS: dict[str, Callable[[TasksConfig, TaskFacts], Term | None]] = {
    "rating": _rating,
}


def terms(config: TasksConfig, facts: TaskFacts) -> dict[str, Term]:
    """The terms of the tasks of a run, by name."""
    made = {name: make(config, facts) for name, make in TASKS.items()}
    return {name: term for name, term in made.items() if term is not None}
