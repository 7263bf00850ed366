"""Scoring: turns the raw vectors of the towers into the vectors whose dot product is the score.

With an item bias, an item's vector is followed by its bias and a user's vector by 1, so that a score is a dot product
in training, evaluation and bundles alike. The temperature belongs to the loss; it does not change a ranking.

Shape letters: those of `types`; `vectors` may have any number of leading dims. D is the width of the towers, and the
vectors that are scored have one component more with an item bias.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.config import ModelConfig


class Scoring(nnx.Module):
    """Cosine or dot product of a user and an item, plus the item's bias if it has one.

    Only items that occur in training events have a bias: the others would be trained as negatives only. They, and items
    added after training, have the bias 0, with which every item starts.
    """

    def __init__(self, config: ModelConfig, *, num_items: int):
        """`num_items` of the joint catalogue."""
        self.is_cosine = config.score == "cosine"
        self.bias = nnx.Param(jnp.zeros(num_items)) if config.item_bias else None

    def items(
        self, vectors_UD: jax.Array, items_U: jax.Array | None = None, trained_U: jax.Array | None = None
    ) -> jax.Array:
        """Item vectors to score, from those of the item tower.

        Args:
          vectors_UD: of the item tower.
          items_U: numbers in the joint catalogue; None for items added after training.
          trained_U: bool, whether the item occurs in a training event; set with `items_U`.
        """
        scored = self._scaled(vectors_UD)
        if self.bias is None:
            return scored
        bias_U = jnp.zeros(len(scored)) if items_U is None else jnp.where(trained_U, self.bias[...][items_U], 0)
        return jnp.concatenate([scored, bias_U[:, None]], axis=1)

    def users(self, vectors: jax.Array) -> jax.Array:
        """User vectors to score, from those of the user tower."""
        scored = self._scaled(vectors)
        return scored if self.bias is None else jnp.concatenate([scored, jnp.ones_like(scored[..., :1])], axis=-1)

    def without_bias(self, vectors: jax.Array) -> jax.Array:
        """The vectors of `items` or `users` without the component of the bias."""
        return vectors if self.bias is None else vectors[..., :-1]

    def _scaled(self, vectors: jax.Array) -> jax.Array:
        return l2_normalize(vectors) if self.is_cosine else vectors


def l2_normalize(x: jax.Array) -> jax.Array:
    """Scale the last axis to length one. A zero vector stays zero, with a finite gradient."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-12))
