"""The state of a training run that a step maps to its successor. Everything here is saved in a checkpoint."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Params = dict[str, Any]


class TrainState(NamedTuple):
    """A pure pytree: a step may donate it, Orbax may save it, a mesh may cut it."""

    step: jax.Array  # int32 scalar: steps taken
    params: Params
    opt_state: optax.OptState
    rng: jax.Array  # uint32 [2]: the root key, folded by step and never used itself


def new_state(init_params: Callable[[jax.Array], Params], tx: optax.GradientTransformation, seed: int) -> TrainState:
    """The state before the first step; a pure function of `seed`, so that it can be traced and run on a mesh."""
    init_key, train_key = jax.random.split(jax.random.key(seed))
    params = init_params(init_key)
    return TrainState(jnp.int32(0), params, tx.init(params), jax.random.key_data(train_key))
