"""The state of a training run that a step maps to its successor. Everything here is saved in a checkpoint."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

Params = dict[str, Any]
Trains = Callable[[tuple[str, ...]], bool]  # of a parameter's path: does it learn?


class TrainState(NamedTuple):
    """A pure pytree: a step may donate it, Orbax may save it, a mesh may cut it."""

    step: jax.Array  # int32 scalar: steps taken
    params: Params
    opt_state: optax.OptState
    rng: jax.Array  # uint32 [2]: the root key, folded by step and never used itself


def new_state(
    init_params: Callable[[jax.Array], Params],
    tx: optax.GradientTransformation,
    seed: int,
    trains: Trains = lambda _: True,
) -> TrainState:
    """The state before the first step; a pure function of `seed`, so that it can be traced and run on a mesh.

    The optimizer's state is that of the parameters that learn; the others have none.
    """
    init_key, train_key = jax.random.split(jax.random.key(seed))
    params = init_params(init_key)
    learning, _ = partition(params, trains)
    return TrainState(jnp.int32(0), params, tx.init(learning), jax.random.key_data(train_key))


def partition(params: Params, trains: Trains) -> tuple[Params, Params]:
    """The parameters that learn and those that do not, each a tree of its own."""
    learning: dict[tuple[str, ...], Any] = {}
    fixed: dict[tuple[str, ...], Any] = {}
    for path, array in traverse_util.flatten_dict(params).items():
        (learning if trains(path) else fixed)[path] = array
    return traverse_util.unflatten_dict(learning), traverse_util.unflatten_dict(fixed)


def join(learning: Params, fixed: Params) -> Params:
    """The inverse of `partition`."""
    flat = traverse_util.flatten_dict(fixed) | traverse_util.flatten_dict(learning)
    return traverse_util.unflatten_dict(flat)
