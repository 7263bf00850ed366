"""Item tower: item vectors from text features, id embeddings, or their sum. `scoring` normalizes them."""

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.layers import INIT
from llmrec_jax.models.scoring import l2_normalize


class ItemTower(nnx.Module):
    """Text feature [U, F] and item number [U] -> vectors [U, D].

    Text features go through a linear map plus a small MLP whose output is initialized to zero, so training starts from
    the geometry of the features; or they are fixed (`model.text_map`). With text, id embeddings are initialized to zero
    and used only for items that occur in training events: the others would be trained as negatives only.

    Fixed unit text vectors plus id embeddings of bounded norm: "Let it go? Not quite: addressing item cold start in
    sequential recommendations with content-based initialization", arXiv:2507.19473.
    """

    def __init__(self, config: ModelConfig, *, num_items: int, feature_width: int, rngs: nnx.Rngs):
        """`num_items` of the joint catalogue; `feature_width` F of the encoder's vectors."""
        self.has_text, self.has_id = "text" in config.item_features, "id" in config.item_features
        width = config.width
        self.width, self.is_fixed, self.max_id_norm = width, config.text_map == "fixed", config.max_id_norm
        if self.has_text and not self.is_fixed:
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
            assert features_UF is not None
            vectors_UD = self._text(features_UF)
        if self.has_id and items_U is not None:
            ids_UD = self.ids(items_U)
            if self.max_id_norm:
                squared_U1 = jnp.sum(jnp.square(ids_UD), axis=1, keepdims=True)
                ids_UD *= self.max_id_norm * jax.lax.rsqrt(jnp.maximum(squared_U1, self.max_id_norm**2))
            if self.has_text:
                assert trained_U is not None
                ids_UD = jnp.where(trained_U[:, None], ids_UD, 0)
            vectors_UD = vectors_UD + ids_UD
        return vectors_UD

    def _text(self, features_UF: jax.Array) -> jax.Array:
        """The part of the vectors that comes from the text [U, D]; unit vectors if they or the ids are bounded."""
        if self.is_fixed:
            leading_UF = l2_normalize(features_UF[:, -self.width :])
            return jnp.pad(leading_UF, ((0, 0), (self.width - leading_UF.shape[1], 0)))
        features_UF = self.norm(features_UF)
        vectors_UD = self.project(features_UF) + self.down(jax.nn.gelu(self.up(features_UF)))
        return l2_normalize(vectors_UD) if self.max_id_norm else vectors_UD
