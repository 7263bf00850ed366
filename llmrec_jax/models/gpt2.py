"""GPT-2 (Radford et al. 2019) as an encoder with causal attention.

The body only, with the final layer norm and without a language-model head. The user tower also uses its block.

Shape letters: those of `types`.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.models.layers import (
    Mlp,
    SelfAttention,
    Stack,
    StackConfig,
    dropout,
    embedding,
    layer_norm,
    split_key,
    token_positions,
)
from llmrec_jax.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpt2Config(StackConfig):
    """Dimensions of a GPT-2; the defaults are those of gpt2 (small)."""

    vocab_size: int = 50257
    max_positions: int = 1024
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    embeds: bool = True  # False: upper layers only, applied to precomputed hidden states


class Gpt2Block(nnx.Module):
    """Causal pre-LN block: attention and MLP, each after a layer norm and with a residual connection."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs):
        self.dropout = config.dropout
        self.attention_norm = layer_norm(config)
        self.attention = SelfAttention(config, causal=True, rngs=rngs)
        self.mlp_norm = layer_norm(config)
        self.mlp = Mlp(config, rngs=rngs)

    def __call__(self, x_BLD: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Attention, then the MLP; applies dropout to both outputs if `key` is given."""
        attention_key, mlp_key = split_key(key, 2)
        attended_BLD = self.attention(self.attention_norm(x_BLD), mask_BL)
        x_BLD = x_BLD + dropout(attended_BLD, self.dropout, attention_key)
        return x_BLD + dropout(self.mlp(self.mlp_norm(x_BLD)), self.dropout, mlp_key)


class Gpt2(nnx.Module):
    """Token ids and their mask -> one vector per token."""

    def __init__(self, config: Gpt2Config, *, rngs: nnx.Rngs):
        self.config = config
        if config.embeds:
            self.tokens = embedding(config.vocab_size, config.width, rngs)
            self.positions = embedding(config.max_positions, config.width, rngs)
        self.stack = Stack(Gpt2Block, config, rngs=rngs)
        self.norm = layer_norm(config)

    def __call__(self, token_ids_BL: Array, attention_mask_BL: Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Hidden states [B, L, D] in the compute dtype; applies dropout if `rngs` (stream "dropout") is given.

        Positions count the unmasked tokens, so padding on either side does not change the outputs at unmasked tokens.
        Raises ValueError if a row is longer than the position table.
        """
        token_ids_BL, mask_BL = jnp.asarray(token_ids_BL), jnp.asarray(attention_mask_BL, bool)
        embed_key, stack_key = split_key(None if rngs is None else rngs.dropout(), 2)
        return self.upper(self.embed(token_ids_BL, mask_BL, embed_key), mask_BL, stack_key)

    def embed(self, token_ids_BL: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """The input of the first layer [B, L, D]; applies dropout if `key` is given."""
        positions_BL = token_positions(mask_BL, self.config.max_positions)
        x_BLD = (self.tokens(token_ids_BL) + self.positions(positions_BL)).astype(self.config.dtype)
        return dropout(x_BLD, self.config.dropout, key)

    def upper(self, hidden_BLD: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Apply the layers to hidden states [B, L, D], with dropout if `key` is given."""
        return self.norm(self.stack(hidden_BLD, mask_BL, key)).astype(self.config.dtype)
