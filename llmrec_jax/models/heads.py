"""Heads: small modules on item or user vectors that the terms of the objective train and read."""

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.models.knowledge_graph import TripleEmbeddings


class Discriminator(nnx.Module):
    """Vectors [N, D] -> logits [N] of being from the target domain."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        """Two layers, as in DANN (Ganin et al. 2016)."""
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, 1, rngs=rngs)

    def __call__(self, x_ND: jax.Array) -> jax.Array:
        """Logits [N]."""
        return self.down(jax.nn.relu(self.up(x_ND)))[:, 0]


class Rating(nnx.Module):
    """User vectors [N, D] and item vectors [N, D] -> ratings [N]."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        """Two layers, on both vectors and their product."""
        self.up = nnx.Linear(3 * width, width, rngs=rngs)
        self.down = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, user_ND: jax.Array, item_ND: jax.Array) -> jax.Array:
        """Ratings [N]."""
        return self.down(jax.nn.relu(self.up(jnp.concatenate([user_ND, item_ND, user_ND * item_ND], axis=1))))[:, 0]


# By the `kind` of a `types.Head`.
HEADS = {"discriminator": Discriminator, "rating": Rating, "triples": TripleEmbeddings}
