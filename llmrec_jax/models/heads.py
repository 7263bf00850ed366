"""Heads: small modules on item or user vectors that only the adaptation losses of the training read."""

from collections.abc import Callable

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


class Adversary(nnx.Module):
    """Vectors [N, D] -> vectors [N, D]: a second user tower on top of the first, as the adversary of MDD."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        """Two layers."""
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, x_ND: jax.Array) -> jax.Array:
        """Vectors [N, D]."""
        return self.down(jax.nn.relu(self.up(x_ND)))


# By the `head` of an adaptation method (`losses.methods`): (width of the vectors, rngs=...) -> module.
HEADS: dict[str, Callable[..., nnx.Module]] = {
    "discriminator": Discriminator,
    # Reads the projected products of CDAN, which are 4 times as wide as the vectors.
    "conditional_discriminator": lambda width, *, rngs: Discriminator(4 * width, rngs=rngs),
    "adversary": Adversary,
}
