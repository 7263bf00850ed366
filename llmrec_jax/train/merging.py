"""Methods that act on weights: interpolation with the start, averages of checkpoints, sums of task vectors.

Pure functions of trees of parameters with the same structure.

Shape letters besides those of `types`: S task vectors, N users and candidates of a batch of items, T batches.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from llmrec_jax.train.state import Params

# Of MergeRec: the first weight of each task vector, and what scores are divided by.
FIRST_WEIGHT, TEMPERATURE = 0.2, 0.05
RATE = 0.05  # of Adam over the weights; it falls to 0


def interpolate(start: Params, trained: Params, share: float) -> Params:
    """WiSE-FT: `(1 - share) start + share trained` (arXiv:2109.01903, where `share` is alpha).

    >>> interpolate({"w": jnp.array([0.0, 2.0])}, {"w": jnp.array([4.0, 2.0])}, 0.25)
    {'w': Array([1., 2.], dtype=float32)}
    """
    return jax.tree.map(lambda a, b: (1 - share) * a + share * b, start, trained)


def average(trees: Sequence[Params]) -> Params:
    """The mean of each parameter: of checkpoints of one run (arXiv:1803.05407), or of several runs from one start
    (uniform model soup, arXiv:2203.05482).

    >>> average([{"w": jnp.array([0.0, 2.0])}, {"w": jnp.array([4.0, 2.0])}])
    {'w': Array([2., 2.], dtype=float32)}
    """
    return jax.tree.map(lambda *arrays: sum(arrays) / len(arrays), *trees)


def add_task_vectors(start: Params, trained: Sequence[Params], weights_S: jax.Array) -> Params:
    """Task arithmetic: `start + sum_s weight_s (trained_s - start)` (arXiv:2212.04089); S runs from the same start.

    >>> add_task_vectors({"w": jnp.ones(1)}, [{"w": jnp.full(1, 3.0)}, {"w": jnp.zeros(1)}], jnp.array([0.5, 2.0]))
    {'w': Array([0.], dtype=float32)}
    """

    def merged(start: jax.Array, *trained: jax.Array) -> jax.Array:
        return start + sum(weights_S[s] * (array - start) for s, array in enumerate(trained))

    return jax.tree.map(merged, start, *trained)


def distillation(scores_NN: jax.Array, teachers: Sequence[jax.Array], temperature: float = TEMPERATURE) -> jax.Array:
    """MergeRec's distillation loss: `T^2 mean_s mean_n KL(p_sn | q_n)` with softmax predictions at temperature T.

    Each item is the history of a user, and the other items of the batch are the candidates: the item itself, which is
    not recommended, is left out.

    Args:
      scores_NN: of the merged model: users x items, the same items.
      teachers: the same of each model that is merged.
      temperature: T.

    >>> scores_NN = jnp.array([[1.0, 0.2, 0.1], [0.2, 1.0, 0.3], [0.1, 0.3, 1.0]])
    >>> round(float(distillation(scores_NN, [scores_NN])), 6)
    0.0
    """
    is_other_NN = ~jnp.eye(len(scores_NN), dtype=bool)

    def log_predictions(scores_NN: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(jnp.where(is_other_NN, scores_NN / temperature, -1e9), axis=1)

    log_q_NN, divergences = log_predictions(scores_NN), []
    for teacher_NN in teachers:
        log_p_NN = log_predictions(teacher_NN)
        terms_NN = jnp.where(is_other_NN, jnp.exp(log_p_NN) * (log_p_NN - log_q_NN), 0)
        divergences.append(jnp.mean(jnp.sum(terms_NN, axis=1)))
    return temperature**2 * jnp.mean(jnp.stack(divergences))


def learn_weights(
    scores: Callable[[Params, Any, jax.Array], jax.Array],
    start: Params,
    trained: Sequence[Params],
    constants: Any,
    items_TN: np.ndarray,
) -> np.ndarray:
    """The weights of the task vectors with which the merged model predicts as the trained models do, float32 [S].

    MergeRec (arXiv:2601.01753) with one weight for each domain and its distillation loss: Adam over the weights on
    users whose history is one item, so that no event is needed. Unlike there, the items are those of the target, and
    there is no second loss that takes the predictions for labels.

    Args:
      scores: (parameters, `constants`, items [N]) -> scores of these items [N, N] for users with one of them each.
      start: the parameters before the training.
      trained: those of each model; from the same start.
      constants: arrays that `scores` reads.
      items_TN: the items of each batch.
    """
    tx = optax.adam(optax.linear_schedule(RATE, 0.0, len(items_TN)))

    @jax.jit
    def step(weights_S: jax.Array, state: Any, models: Any, constants: Any, items_N: jax.Array) -> tuple[Any, Any]:
        start, trained = models
        teachers = [scores(params, constants, items_N) for params in trained]

        def loss(weights_S: jax.Array) -> jax.Array:
            return distillation(scores(add_task_vectors(start, trained, weights_S), constants, items_N), teachers)

        updates, state = tx.update(jax.grad(loss)(weights_S), state)
        return optax.apply_updates(weights_S, updates), state

    weights_S: Any = np.full(len(trained), FIRST_WEIGHT, np.float32)
    state = jax.device_get(tx.init(weights_S))  # arrays of one device do not mix with those of several hosts
    for items_N in items_TN:
        weights_S, state = step(weights_S, state, (start, tuple(trained)), constants, items_N)
    return np.asarray(weights_S)
