"""The training state, which a step updates and a checkpoint saves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from jax.sharding import Mesh

from llmrec_jax.parallel import state_shardings

Params = dict[str, Any]
Trains = Callable[[tuple[str, ...]], bool]  # path of a parameter -> whether it is trainable


class TrainState(NamedTuple):
    """A pytree of arrays, so that it can be donated, sharded and saved."""

    step: jax.Array  # int32 scalar: steps taken
    params: Params
    opt_state: optax.OptState
    rng: jax.Array  # uint32 [2]: the root key; each step folds in its step number
    log_weight_G: jax.Array | None = None  # float32: log weights of the domains, with `loss.domain_weights=group_dro`


def new_state(
    init_params: Callable[[jax.Array], Params],
    tx: optax.GradientTransformation,
    seed: int,
    trains: Trains = lambda _: True,
    num_groups: int = 0,
) -> TrainState:
    """The state before the first step; a pure function of `seed`, so it can be jitted. Only trainable parameters have
    optimizer state. With group DRO, all of its `num_groups` groups have the same weight.
    """
    init_key, train_key = jax.random.split(jax.random.key(seed))
    params = init_params(init_key)
    trainable, _ = partition(params, trains)
    log_weight_G = jax.nn.log_softmax(jnp.zeros(num_groups)) if num_groups else None
    return TrainState(jnp.int32(0), params, tx.init(trainable), jax.random.key_data(train_key), log_weight_G)


def shapes(init_state: Callable[[], TrainState], mesh: Mesh) -> TrainState:
    """Shapes, types and shardings of the global state, to restore a checkpoint without initializing a state."""
    state = jax.eval_shape(init_state)
    return jax.tree.map(lambda x, sharding: x.update(sharding=sharding), state, state_shardings(state, mesh))


def partition(params: Params, trains: Trains) -> tuple[Params, Params]:
    """The trainable parameters and the fixed ones, as two trees."""
    trainable: dict[tuple[str, ...], Any] = {}
    fixed: dict[tuple[str, ...], Any] = {}
    for path, array in traverse_util.flatten_dict(params).items():
        (trainable if trains(path) else fixed)[path] = array
    return traverse_util.unflatten_dict(trainable), traverse_util.unflatten_dict(fixed)


def join(trainable: Params, fixed: Params) -> Params:
    """The inverse of `partition`."""
    flat = traverse_util.flatten_dict(fixed) | traverse_util.flatten_dict(trainable)
    return traverse_util.unflatten_dict(flat)
