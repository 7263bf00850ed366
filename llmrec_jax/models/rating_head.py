"""The head that predicts ratings: the residual of a biased matrix factorization, from the vectors of user and item.

Its output is initialized to zero, so training starts from the matrix factorization. Shape letters: those of `types`;
G thresholds between neighbouring ratings.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llmrec_jax.models.scoring import l2_normalize

LOGISTIC = 3**0.5 / np.pi  # scale of a logistic distribution with standard deviation 1
START_NOISE = 0.8  # standard deviation of a rating around its prediction, in units of that of all ratings


class Rating(nnx.Module):
    """(user vectors [N, D], item vectors [N, D], prior [N], scale [N], features [N, F]) -> ratings [N] or logits."""

    def __init__(self, width: int, *, num_features: int, levels: Sequence[float] = (), rngs: nnx.Rngs):
        """Two layers.

        Args:
          width: of the vectors, D.
          num_features: F.
          levels: the distinct ratings, ascending, to predict a distribution over them; empty: the rating itself.
          rngs: stream "params".
        """
        self.width = width
        self.levels = tuple(levels)
        self.up = nnx.Linear(3 * width + num_features, width, rngs=rngs)
        self.down = nnx.Linear(width, 1, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)
        if levels:
            middle_G = (np.asarray(levels[1:]) + np.asarray(levels[:-1])) / 2
            self.thresholds = nnx.Param(jnp.asarray(middle_G, jnp.float32))
            self.log_noise = nnx.Param(jnp.log(jnp.float32(START_NOISE)))

    def __call__(
        self, user_ND: jax.Array, item_ND: jax.Array, prior_N: jax.Array, scale_N: jax.Array, features_NF: jax.Array
    ) -> jax.Array:
        """The rating [N] in the units of the prior; with levels, before they are applied."""
        user_ND, item_ND = (
            l2_normalize(vectors_ND[:, : self.width]) * self.width**0.5 for vectors_ND in (user_ND, item_ND)
        )
        inputs = jnp.concatenate([user_ND, item_ND, user_ND * item_ND, features_NF], axis=1)
        return prior_N + scale_N * self.down(jax.nn.gelu(self.up(inputs)))[:, 0]

    def logits(self, rating_N: jax.Array, scale_N: jax.Array) -> jax.Array:
        """Logits [N, G] of a rating above each threshold, from the output of the head (cumulative link model).

        Source: McCullagh, "Regression models for ordinal data", 1980; trained with one binary cross entropy per
        threshold, as in CORAL, arXiv:1901.07884.
        """
        noise_N1 = scale_N[:, None] * LOGISTIC * jnp.exp(self.log_noise[...])
        return (rating_N[:, None] - self.thresholds[...][None]) / noise_N1

    def predict(
        self, user_ND: jax.Array, item_ND: jax.Array, prior_N: jax.Array, scale_N: jax.Array, features_NF: jax.Array
    ) -> jax.Array:
        """The expected rating [N]."""
        rating_N = self(user_ND, item_ND, prior_N, scale_N, features_NF)
        if not self.levels:
            return rating_N
        steps_G = jnp.diff(jnp.asarray(self.levels, jnp.float32))
        return self.levels[0] + jax.nn.sigmoid(self.logits(rating_N, scale_N)) @ steps_G
