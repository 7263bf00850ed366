"""The block of HSTU: pointwise attention without softmax and a gated output, without a feed-forward layer.

Relative positions have a learned bias; the paper's bias for the time between events is absent, because a batch holds no
times.

Source: Zhai et al., "Actions speak louder than words: trillion-parameter sequential transducers for generative
recommendations", ICML 2024, arXiv:2402.17152.

Shape letters: those of `types`, D being the width of the block.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.models.attention import pointwise_attention
from llmrec_jax.models.layers import LayerNorm, StackConfig, dropout, layer_norm, linear

ATTENTION_EPS = 1e-6  # the output of the attention is small, because its weights do not sum to 1


class HstuBlock(nnx.Module):
    """Causal block: `x + out(norm(attention(q, k, v)) * u)` with q, k, v, u = silu of projections of `norm(x)`."""

    def __init__(self, config: StackConfig, *, max_history: int, rngs: nnx.Rngs):
        """`max_history`: the longest L."""
        self.dropout, self.num_heads = config.dropout, config.num_heads
        self.norm = layer_norm(config)
        self.query = linear(config.width, config.width, config, rngs)
        self.key = linear(config.width, config.width, config, rngs)
        self.value = linear(config.width, config.width, config, rngs)
        self.up = linear(config.width, config.width, config, rngs)
        self.age_bias = nnx.Param(jnp.zeros(max_history))  # of a token that many tokens ago
        self.attention_norm = LayerNorm(config.width, ATTENTION_EPS)
        self.out = linear(config.width, config.width, config, rngs)

    def __call__(self, x_BLD: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """One block; applies dropout to the gated output of the attention if `key` is given."""
        B, L, D = x_BLD.shape
        heads = (B, L, self.num_heads, D // self.num_heads)
        inputs_BLD = self.norm(x_BLD)
        query_BLHW, key_BLHW, value_BLHW = (
            jax.nn.silu(project(inputs_BLD)).reshape(heads) for project in (self.query, self.key, self.value)
        )
        age_LL = jnp.maximum(jnp.arange(L)[:, None] - jnp.arange(L)[None], 0)
        age_bias = self.age_bias[...]
        mixed_BLHW = pointwise_attention(query_BLHW, key_BLHW, value_BLHW, mask_BL, age_bias[age_LL]) / len(age_bias)
        gated_BLD = self.attention_norm(mixed_BLHW.reshape(B, L, D)) * jax.nn.silu(self.up(inputs_BLD))
        return x_BLD + self.out(dropout(gated_BLD, self.dropout, key))
