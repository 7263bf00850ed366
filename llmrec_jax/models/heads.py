"""Heads: small modules on item or user vectors that the terms of the objective train and read."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.models.knowledge_graph import TripleEmbeddings
from llmrec_jax.models.language_model import TokenHead
from llmrec_jax.models.rating_head import Rating


class Discriminator(nnx.Module):
    """Vectors [N, D] -> logits [N] of being from the target domain."""

    def __init__(self, width: int, *, factor: int = 1, rngs: nnx.Rngs):
        """Two layers, as in DANN (Ganin et al. 2016); the input is `factor` times as wide as the vectors."""
        self.up = nnx.Linear(factor * width, 2 * factor * width, rngs=rngs)
        self.down = nnx.Linear(2 * factor * width, 1, rngs=rngs)

    def __call__(self, x_ND: jax.Array) -> jax.Array:
        """Logits [N]."""
        return self.down(jax.nn.relu(self.up(x_ND)))[:, 0]


class Adversary(nnx.Module):
    """Vectors [N, D] -> vectors [N, D]: a second user tower on top of the first, as the adversary of MDD."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        """Two layers."""
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, x_ND: jax.Array) -> jax.Array:
        """Vectors [N, D]."""
        return self.down(jax.nn.relu(self.up(x_ND)))


class LogVariance(nnx.Module):
    """A number that starts at 0."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.value = nnx.Param(jnp.zeros(()))

    def __call__(self) -> jax.Array:
        """The log variance, a float32 scalar."""
        return self.value[...]


# By the `kind` of a `types.Head`: (width of the vectors, **options, rngs=...) -> module.
HEADS: dict[str, Callable[..., nnx.Module]] = {
    "discriminator": Discriminator,
    "adversary": Adversary,
    "log_variance": LogVariance,
    "rating": Rating,
    "triples": TripleEmbeddings,
    "tokens": TokenHead,
}
