"""User tower: a history of item vectors -> a user vector after every step.

The base is what a k-NN would do, the mean of the items weighted by recency; a causal transformer adds to it. The added
part starts at zero, so training starts from the k-NN and moves away only as far as the data pulls it.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.gpt2 import Gpt2Block
from llmrec_jax.models.item_tower import unit
from llmrec_jax.models.layers import Stack, StackConfig, dropout, embedding, layer_norm, split_key


class UserTower(nnx.Module):
    """Item vectors [B, S, D], right-padded, and their mask -> unit user vectors [B, S, D]; step s sees steps 0..s."""

    def __init__(self, config: ModelConfig, *, max_history: int, rngs: nnx.Rngs):
        """`max_history`: the longest S."""
        self.dropout, self.dtype = config.dropout, jnp.dtype(config.compute_dtype)
        self.decay = nnx.Param(jnp.float32(0.65))  # weight of an item relative to the one after it
        if config.user_tower == "mean":
            self.stack = None
        else:
            sizes = StackConfig(
                width=config.width,
                num_layers=config.num_layers,
                num_heads=config.num_heads,
                dropout=config.dropout,
                dtype=self.dtype,
            )
            self.positions = embedding(max_history, config.width, rngs)
            self.stack = Stack(Gpt2Block, sizes, rngs=rngs)
            self.norm = layer_norm(sizes)
            self.out = nnx.Linear(config.width, config.width, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, items_BSD: jax.Array, mask_BS: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """User vectors, float32; zero where the history holds nothing. With a key, with dropout."""
        users_BSD = unit(recency_mean(items_BSD, mask_BS, self.decay[...]))
        if self.stack is not None:
            embed_key, stack_key = split_key(key, 2)
            scale = items_BSD.shape[-1] ** 0.5  # unit vectors -> entries of size one
            x_BSD = scale * items_BSD + self.positions(jnp.arange(items_BSD.shape[1]))[None]
            x_BSD = dropout(x_BSD, self.dropout, embed_key).astype(self.dtype)
            users_BSD = unit(users_BSD + self.out(self.norm(self.stack(x_BSD, mask_BS, stack_key))))
        return jnp.where(mask_BS[..., None], users_BSD, 0)


def recency_mean(items_BSD: jax.Array, mask_BS: jax.Array, decay: jax.Array) -> jax.Array:
    """Sum of the items up to each step, weighted by `decay` to the power of their age in steps."""
    step_S = jnp.arange(items_BSD.shape[1])
    age_SS = step_S[:, None] - step_S[None, :]
    weight_SS = jnp.where(age_SS >= 0, jnp.clip(decay, 0.01, 1.0) ** jnp.maximum(age_SS, 0), 0.0)
    return jnp.einsum("st,btd->bsd", weight_SS, jnp.where(mask_BS[..., None], items_BSD, 0))
