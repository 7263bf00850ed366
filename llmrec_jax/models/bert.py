"""BERT (Devlin et al. 2019, arXiv:1810.04805): an encoder with bidirectional attention.

The body only: no language-model head, one segment (token type 0). A checkpoint's pooler is loaded and saved unchanged,
but not used.

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
    linear,
    split_key,
    token_positions,
)
from llmrec_jax.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig(StackConfig):
    """Dimensions of a BERT; the defaults are those of bert-base-uncased."""

    vocab_size: int = 30522
    max_positions: int = 512
    num_token_types: int = 2
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    activation: str = "gelu"
    norm_eps: float = 1e-12
    pooler: bool = False
    embeds: bool = True  # False: upper layers only, applied to precomputed hidden states


class BertBlock(nnx.Module):
    """Post-LN block: attention and MLP, each with a residual connection followed by a layer norm."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs):
        self.dropout = config.dropout
        self.attention = SelfAttention(config, causal=False, rngs=rngs)
        self.attention_norm = layer_norm(config)
        self.mlp = Mlp(config, rngs=rngs)
        self.mlp_norm = layer_norm(config)

    def __call__(self, x_BLD: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Attention, then the MLP; applies dropout to both outputs if `key` is given."""
        attention_key, mlp_key = split_key(key, 2)
        dtype = x_BLD.dtype
        attended_BLD = dropout(self.attention(x_BLD, mask_BL), self.dropout, attention_key)
        x_BLD = self.attention_norm(x_BLD + attended_BLD).astype(dtype)
        return self.mlp_norm(x_BLD + dropout(self.mlp(x_BLD), self.dropout, mlp_key)).astype(dtype)


class Bert(nnx.Module):
    """Token ids and their mask -> one vector per token."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        self.config = config
        if config.embeds:
            self.tokens = embedding(config.vocab_size, config.width, rngs)
            self.positions = embedding(config.max_positions, config.width, rngs)
            self.token_types = embedding(config.num_token_types, config.width, rngs)
            self.norm = layer_norm(config)
        self.stack = Stack(BertBlock, config, rngs=rngs)
        self.pooler = linear(config.width, config.width, config, rngs) if config.pooler else None

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
        type_11D = self.token_types.embedding[0][None, None, :]
        x_BLD = self.norm(self.tokens(token_ids_BL) + self.positions(positions_BL) + type_11D)
        return dropout(x_BLD.astype(self.config.dtype), self.config.dropout, key)

    def upper(self, hidden_BLD: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Apply the layers to hidden states [B, L, D], with dropout if `key` is given."""
        return self.stack(hidden_BLD, mask_BL, key)
