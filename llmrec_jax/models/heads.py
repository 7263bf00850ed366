"""Heads: small modules on item or user vectors that only the adaptation losses of the training read."""

import jax
from flax import nnx


class Discriminator(nnx.Module):
    """Vectors [N, D] -> logits [N] of being from the target domain."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        """Two layers, as in DANN (Ganin et al. 2016)."""
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, 1, rngs=rngs)

    def __call__(self, x_ND: jax.Array) -> jax.Array:
        """Logits [N]."""
        return self.down(jax.nn.relu(self.up(x_ND)))[:, 0]


# By the `head` of an adaptation method (`losses.methods`).
HEADS = {"discriminator": Discriminator}
