"""The block of HSTU: pointwise attention without softmax and a gated output, without a feed-forward layer.

Relative positions have a learned bias, and where times are known, so has the time between two events, by the logarithm
of its seconds, in the buckets of the authors' code. There, a query has the time of the event that it predicts; here,
that of the event before, because inference does not know the time of the next event.

Source: Zhai et al., "Actions speak louder than words: trillion-parameter sequential transducers for generative
recommendations", ICML 2024, arXiv:2402.17152.

Shape letters: those of `types`, D being the width of the block.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.models.attention import pointwise_attention
from llmrec_jax.models.layers import LayerNorm, StackConfig, dropout, layer_norm, linear

BUCKET_WIDTH = 0.301  # of the natural logarithm of the seconds between two events
TIME_BUCKETS = int(math.log(2**31) / BUCKET_WIDTH) + 1
ATTENTION_EPS = 1e-6  # the output of the attention is small, because its weights do not sum to 1


class HstuBlock(nnx.Module):
    """Causal block: `x + out(norm(attention(q, k, v)) * u)` with q, k, v, u = silu of projections of `norm(x)`."""

    def __init__(self, config: StackConfig, *, max_history: int, has_times: bool = False, rngs: nnx.Rngs):
        """`max_history`: the longest L. `has_times`: whether there is a bias for times."""
        self.dropout, self.num_heads = config.dropout, config.num_heads
        self.norm = layer_norm(config)
        self.query = linear(config.width, config.width, config, rngs)
        self.key = linear(config.width, config.width, config, rngs)
        self.value = linear(config.width, config.width, config, rngs)
        self.up = linear(config.width, config.width, config, rngs)
        self.age_bias = nnx.Param(jnp.zeros(max_history))  # of a token that many tokens ago
        self.time_bias = nnx.Param(jnp.zeros(TIME_BUCKETS)) if has_times else None
        self.attention_norm = LayerNorm(config.width, ATTENTION_EPS)
        self.out = linear(config.width, config.width, config, rngs)

    def __call__(
        self, x_BLD: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None, time_BL: jax.Array | None = None
    ) -> jax.Array:
        """One block; applies dropout to the gated output of the attention if `key` is given.

        `time_BL` is in seconds since any moment, the same for a history; -1 if unknown. Without known times, the bias
        for times is 0.
        """
        B, L, D = x_BLD.shape
        heads = (B, L, self.num_heads, D // self.num_heads)
        inputs_BLD = self.norm(x_BLD)
        query_BLHW, key_BLHW, value_BLHW = (
            jax.nn.silu(project(inputs_BLD)).reshape(heads) for project in (self.query, self.key, self.value)
        )
        age_LL = jnp.maximum(jnp.arange(L)[:, None] - jnp.arange(L)[None], 0)
        age_bias = self.age_bias[...]
        bias_BLL = age_bias[age_LL][None]
        if self.time_bias is not None and time_BL is not None:
            bias_BLL = bias_BLL + _bias_of_times(self.time_bias[...], time_BL)
        mixed_BLHW = pointwise_attention(query_BLHW, key_BLHW, value_BLHW, mask_BL, bias_BLL) / len(age_bias)
        gated_BLD = self.attention_norm(mixed_BLHW.reshape(B, L, D)) * jax.nn.silu(self.up(inputs_BLD))
        return x_BLD + self.out(dropout(gated_BLD, self.dropout, key))


def _bias_of_times(bias_N: jax.Array, time_BL: jax.Array) -> jax.Array:
    """The bias between two tokens, [B, L, L]: that of the bucket of their distance in time, 0 if it is unknown."""
    apart_BLL = jnp.maximum(jnp.abs(time_BL[:, :, None] - time_BL[:, None, :]), 1)
    bucket_BLL = (jnp.log(apart_BLL.astype(jnp.float32)) / BUCKET_WIDTH).astype(jnp.int32)
    is_known_BL = time_BL >= 0
    return jnp.where(is_known_BL[:, :, None] & is_known_BL[:, None, :], bias_N[bucket_BLL], 0)
