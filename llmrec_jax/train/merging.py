"""Methods that act on weights: interpolation with the start, averages of checkpoints, sums of task vectors.

Pure functions of trees of parameters with the same structure. Nothing is trained here.
"""

from collections.abc import Sequence

import jax

from llmrec_jax.train.state import Params


def interpolate(start: Params, trained: Params, share: float) -> Params:
    """WiSE-FT: `(1 - share) start + share trained` (arXiv:2109.01903, where `share` is alpha).

    >>> import jax.numpy as jnp
    >>> interpolate({"w": jnp.array([0.0, 2.0])}, {"w": jnp.array([4.0, 2.0])}, 0.25)
    {'w': Array([1., 2.], dtype=float32)}
    """
    return jax.tree.map(lambda a, b: (1 - share) * a + share * b, start, trained)


def average(trees: Sequence[Params]) -> Params:
    """The mean of each parameter: of checkpoints of one run (arXiv:1803.05407), or of several runs from one start
    (uniform model soup, arXiv:2203.05482).

    >>> import jax.numpy as jnp
    >>> average([{"w": jnp.array([0.0, 2.0])}, {"w": jnp.array([4.0, 2.0])}])
    {'w': Array([2., 2.], dtype=float32)}
    """
    return jax.tree.map(lambda *arrays: sum(arrays) / len(arrays), *trees)


def add_task_vectors(start: Params, trained: Sequence[Params], weights_S: jax.Array) -> Params:
    """Task arithmetic: `start + sum_s weight_s (trained_s - start)` (arXiv:2212.04089); S runs from the same start.

    >>> import jax.numpy as jnp
    >>> add_task_vectors({"w": jnp.ones(1)}, [{"w": jnp.full(1, 3.0)}, {"w": jnp.zeros(1)}], jnp.array([0.5, 2.0]))
    {'w': Array([0.], dtype=float32)}
    """

    def merged(start: jax.Array, *trained: jax.Array) -> jax.Array:
        return start + sum(weights_S[s] * (array - start) for s, array in enumerate(trained))

    return jax.tree.map(merged, start, *trained)
