"""Item tower: item vectors from text features, id embeddings, or their sum. `scoring` normalizes them."""

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.layers import INIT


class ItemTower(nnx.Module):
    """Text feature [U, F] and item number [U] -> vectors [U, D].

    Text features go through a linear map plus a small MLP whose output is initialized to zero, so training starts from
    the geometry of the features. With text, id embeddings are initialized to zero and used only for items that occur in
    training events: the others would be trained as negatives only.
    """

    def __init__(self, config: ModelConfig, *, num_items: int, feature_width: int, rngs: nnx.Rngs):
        """`num_items` of the joint catalogue; `feature_width` F of the encoder's vectors."""
        self.has_text, self.has_id = "text" in config.item_features, "id" in config.item_features
        width = config.width
        if self.has_text:
            self.norm = nnx.LayerNorm(feature_width, rngs=rngs)
            self.project = nnx.Linear(feature_width, width, use_bias=False, rngs=rngs)
            self.up = nnx.Linear(feature_width, 2 * width, rngs=rngs)
            self.down = nnx.Linear(2 * width, width, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)
        if self.has_id:
            init = nnx.initializers.zeros_init() if self.has_text else INIT
            self.ids = nnx.Embed(num_items, width, embedding_init=init, rngs=rngs)

    def __call__(
        self, features_UF: jax.Array | None, items_U: jax.Array | None = None, trained_U: jax.Array | None = None
    ) -> jax.Array:
        """Vectors [U, D], float32.

        Args:
          features_UF: text features; None if items have ids only.
          items_U: numbers in the joint catalogue; None for items added after training, which have no id embedding.
          trained_U: bool, whether the item occurs in a training event; required with both text and ids.
        """
        vectors_UD = jnp.zeros(())
        if self.has_text:
            features_UF = self.norm(features_UF)
            vectors_UD = self.project(features_UF) + self.down(jax.nn.gelu(self.up(features_UF)))
        if self.has_id and items_U is not None:
            ids_UD = self.ids(items_U)
            if self.has_text:
                assert trained_U is not None
                ids_UD = jnp.where(trained_U[:, None], ids_UD, 0)
            vectors_UD = vectors_UD + ids_UD
        return vectors_UD
