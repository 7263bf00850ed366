"""The block of eSASRec: a pre-norm transformer block with gated residual connections and SwiGLU.

Sources: LiGR, "From features to transformers: redefining ranking for scalable impact", arXiv:2502.03417; its use in
eSASRec, "Enhancing transformer-based recommendations in a modular fashion", arXiv:2508.06450; SwiGLU, arXiv:2002.05202.

Shape letters: those of `types`, D being the width of the block.
"""

import jax
from flax import nnx

from llmrec_jax.models.layers import SelfAttention, StackConfig, dropout, layer_norm, linear, split_key


class Swiglu(nnx.Module):
    """Feed-forward layer `down(silu(gate(x)) * up(x))`, [B, L, D] -> [B, L, D]."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs):
        mlp_width = config.mlp_width or 4 * config.width
        self.gate = linear(config.width, mlp_width, config, rngs)
        self.up = linear(config.width, mlp_width, config, rngs)
        self.down = linear(mlp_width, config.width, config, rngs)

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Apply to each token."""
        return self.down(jax.nn.silu(self.gate(x_BLD)) * self.up(x_BLD))


class LigrBlock(nnx.Module):
    """Causal block: `x + sigmoid(gate(x)) * layer(norm(x))`, with attention, then with SwiGLU as the layer."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs):
        self.dropout = config.dropout
        self.attention_norm = layer_norm(config)
        self.attention = SelfAttention(config, causal=True, rngs=rngs)
        self.attention_gate = linear(config.width, config.width, config, rngs)
        self.mlp_norm = layer_norm(config)
        self.mlp = Swiglu(config, rngs=rngs)
        self.mlp_gate = linear(config.width, config.width, config, rngs)

    def __call__(self, x_BLD: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Attention, then SwiGLU; applies dropout to both outputs if `key` is given."""
        attention_key, mlp_key = split_key(key, 2)
        attended_BLD = self.attention(self.attention_norm(x_BLD), mask_BL)
        x_BLD = x_BLD + jax.nn.sigmoid(self.attention_gate(x_BLD)) * dropout(attended_BLD, self.dropout, attention_key)
        fed_BLD = self.mlp(self.mlp_norm(x_BLD))
        return x_BLD + jax.nn.sigmoid(self.mlp_gate(x_BLD)) * dropout(fed_BLD, self.dropout, mlp_key)
