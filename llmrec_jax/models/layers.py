"""Layers of the transformers: projections, attention, MLP, dropout, a scanned stack of blocks, pooling.

The blocks (post-LN, pre-LN) are in `bert` and `gpt2`. Parameters are float32; `dtype` is the compute dtype; layer norms
and softmax are always float32.

Shape letters: those of `types`, D being the width of the encoder, and E the outputs of a projection.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from llmrec_jax.errors import UserError
from llmrec_jax.models.attention import Kernel, attention
from llmrec_jax.models.matmul import PRODUCT, project
from llmrec_jax.types import Array


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
    """Exact (erf) GELU in float32. Without a gradient it takes half the time of `jax.nn.gelu` on a CPU."""
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)


@gelu.defjvp
def _gelu_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # In the backward pass, XLA fuses the float32 form into a transposed copy, which is slow.
    return jax.jvp(lambda x: jax.nn.gelu(x, approximate=False), primals, tangents)


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}
INIT = nnx.initializers.normal(0.02)  # of both BERT and GPT-2
DROPPED = "dropped"

Remat = Literal["none", "dots", "full"]
# The activations of a block that are saved for the backward pass; the others are recomputed. "dots" saves matrix
# products and dropout masks; everything between them is cheaper to recompute than to store.
POLICIES: dict[Remat, Any] = {
    "dots": jax.checkpoint_policies.save_only_these_names(PRODUCT, DROPPED),
    "full": jax.checkpoint_policies.nothing_saveable,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The sizes of a stack of transformer blocks, and how it runs."""

    width: int
    num_layers: int
    num_heads: int
    mlp_width: int | None = None  # None: four times the width
    activation: str = "gelu_new"
    norm_eps: float = 1e-5
    dropout: float = 0.1
    dtype: Any = jnp.float32  # compute dtype
    remat: Remat = "dots"  # recomputed in the backward pass: nothing, all but matrix products, everything
    attention: Kernel = "xla"  # "flash": the platform's flash attention (see `attention`); padding on the right

    def __post_init__(self) -> None:
        sizes = {"width": self.width, "num_layers": self.num_layers, "num_heads": self.num_heads}
        for name, size in sizes.items():
            if size < 1:
                raise UserError(f"{name} is {size}; it must be at least 1")
        if self.width % self.num_heads:
            raise UserError(f"width {self.width} is not divisible by num_heads {self.num_heads}")
        if self.activation not in ACTIVATIONS:
            raise UserError(f"activation is {self.activation!r}; known: {', '.join(ACTIVATIONS)}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}; it must be in [0, 1)")


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Dropout with `rate` rounded to the nearest 1/256; the identity without a key.

    Uses one random byte per entry, four from each 32-bit draw: on a CPU, most of dropout's cost is the random bits.
    """
    dropped = round(256 * rate)
    if key is None or dropped == 0:
        return x
    *rows, width = x.shape
    words = jax.random.bits(key, (*rows, -(-width // 4)), jnp.uint32)
    bytes_ = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(*rows, -1)[..., :width]
    kept = checkpoint_name(bytes_ >= dropped, DROPPED)
    return jnp.where(kept, x * (256 / (256 - dropped)), 0).astype(x.dtype)


def split_key(key: jax.Array | None, num: int) -> Any:
    """Split a key into `num` keys; None gives `num` times None."""
    return (None,) * num if key is None else jax.random.split(key, num)


class Linear(nnx.Module):
    """A projection with bias, [..., D] -> [..., E], computed in `dtype`."""

    def __init__(self, in_width: int, out_width: int, dtype: Any, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(INIT(rngs.params(), (in_width, out_width)))
        self.bias, self.dtype = nnx.Param(jnp.zeros(out_width)), dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Project each vector."""
        return project(x.astype(self.dtype), self.kernel[...], self.bias[...])


def linear(in_width: int, out_width: int, config: StackConfig, rngs: nnx.Rngs) -> Linear:
    """A projection computed in the config's dtype."""
    return Linear(in_width, out_width, config.dtype, rngs=rngs)


class LayerNorm(nnx.Module):
    """Layer norm over the last dim, in float32 and two passes: the one-pass variance is inexact at large means."""

    def __init__(self, width: int, eps: float):
        self.scale, self.bias, self.eps = nnx.Param(jnp.ones(width)), nnx.Param(jnp.zeros(width)), eps

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize each vector, then scale and shift."""
        centred = x.astype(jnp.float32)
        centred -= centred.mean(axis=-1, keepdims=True)
        variance = jnp.square(centred).mean(axis=-1, keepdims=True)
        scale, bias = (jnp.expand_dims(param[...], range(x.ndim - 1)) for param in (self.scale, self.bias))
        return centred * jax.lax.rsqrt(variance + self.eps) * scale + bias


def layer_norm(config: StackConfig) -> LayerNorm:
    """The layer norm of a block. Not flax's, which makes a step slower on a CPU."""
    return LayerNorm(config.width, config.norm_eps)


def embedding(num: int, width: int, rngs: nnx.Rngs) -> nnx.Embed:
    """An embedding table, looked up in float32 (a compute dtype would cast the whole table)."""
    return nnx.Embed(num, width, embedding_init=INIT, rngs=rngs)


class SelfAttention(nnx.Module):
    """Multi-head self-attention [B, L, D] -> [B, L, D], with one projection each for query, key and value."""

    def __init__(self, config: StackConfig, *, causal: bool, rngs: nnx.Rngs):
        self.num_heads, self.causal, self.kernel = config.num_heads, causal, config.attention
        self.query = linear(config.width, config.width, config, rngs)
        self.key = linear(config.width, config.width, config, rngs)
        self.value = linear(config.width, config.width, config, rngs)
        self.out = linear(config.width, config.width, config, rngs)

    def __call__(self, x_BLD: jax.Array, mask_BL: jax.Array) -> jax.Array:
        """Attention over the unmasked tokens."""
        B, L, D = x_BLD.shape
        heads = (B, L, self.num_heads, D // self.num_heads)
        query_BLHW, key_BLHW, value_BLHW = (p(x_BLD).reshape(heads) for p in (self.query, self.key, self.value))
        mixed_BLHW = attention(query_BLHW, key_BLHW, value_BLHW, mask_BL, self.causal, self.kernel)
        return self.out(mixed_BLHW.reshape(B, L, D))


class Mlp(nnx.Module):
    """Two projections with an activation between them, [B, L, D] -> [B, L, D]."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs):
        self.activation = config.activation
        mlp_width = config.mlp_width or 4 * config.width
        self.up = linear(config.width, mlp_width, config, rngs)
        self.down = linear(mlp_width, config.width, config, rngs)

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Apply to each token."""
        return self.down(ACTIVATIONS[self.activation](self.up(x_BLD)))


class Stack(nnx.Module):
    """`num_layers` blocks in one `jax.lax.scan`, so that compile time does not grow with depth.

    `layers` is one block whose arrays have a leading layer axis. Blocks are created by `block(config, rngs=rngs)` and
    called as `block(x_BLD, mask_BL, key, *more) -> x_BLD`; they keep the dtype of `x_BLD`.
    """

    def __init__(self, block: Callable[..., nnx.Module], config: StackConfig, *, rngs: nnx.Rngs):
        self.num_layers, self.remat = config.num_layers, config.remat
        graphdefs, params = zip(*(nnx.split(block(config, rngs=rngs)) for _ in range(config.num_layers)), strict=True)
        self.layers = nnx.merge(graphdefs[0], jax.tree.map(lambda *leaves: jnp.stack(leaves), *params))

    def __call__(
        self, x_BLD: jax.Array, mask_BL: jax.Array, key: jax.Array | None = None, *more: jax.Array
    ) -> jax.Array:
        """Run the blocks in order, with dropout if `key` is given; each gets all of `more`."""
        graphdef, params = nnx.split(self.layers)
        keys = None if key is None else jax.random.split(key, self.num_layers)
        return _scan(graphdef, self.remat, x_BLD, mask_BL, params, keys, more)


# Jitted and cached by the graph definition: outside of jit, a scan over a new closure is compiled at every call.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _scan(
    graphdef: Any,
    remat: Remat,
    x_BLD: jax.Array,
    mask_BL: jax.Array,
    params: Any,
    keys: jax.Array | None,
    more: tuple[jax.Array, ...],
) -> jax.Array:
    def layer(x_BLD: jax.Array, params_and_key: Any) -> tuple[jax.Array, None]:
        params, key = params_and_key
        return nnx.merge(graphdef, params)(x_BLD, mask_BL, key, *more), None

    if remat != "none":
        # CSE cannot merge operations across the iterations of a scan, so the barriers that prevent it are not needed.
        layer = jax.checkpoint(layer, prevent_cse=False, policy=POLICIES[remat])
    return jax.lax.scan(layer, x_BLD, (params, keys))[0]


def token_positions(mask_BL: jax.Array, max_positions: int) -> jax.Array:
    """Position of each token among the unmasked tokens of its row, so that padding on either side has no effect."""
    if mask_BL.shape[1] > max_positions:
        raise UserError(f"{mask_BL.shape[1]} tokens in a row, but the encoder has {max_positions} positions")
    return jnp.maximum(jnp.cumsum(mask_BL, axis=1) - 1, 0)


def pool(hidden_BLD: Array, mask_BL: Array, how: Literal["mean", "cls", "last"]) -> jax.Array:
    """One float32 vector per row [B, D]: the mean, first ("cls") or last unmasked token; zeros if there is none."""
    hidden_BLD, mask_BL = jnp.asarray(hidden_BLD, jnp.float32), jnp.asarray(mask_BL, bool)
    if how == "mean":
        count_B = jnp.maximum(mask_BL.sum(axis=1), 1)
        return jnp.where(mask_BL[:, :, None], hidden_BLD, 0).sum(axis=1) / count_B[:, None]
    if how == "cls":
        index_B = jnp.argmax(mask_BL, axis=1)
    elif how == "last":
        index_B = mask_BL.shape[1] - 1 - jnp.argmax(mask_BL[:, ::-1], axis=1)
    else:
        raise UserError(f"pooling is {how!r}; known: mean, cls, last")
    picked_BD = jnp.take_along_axis(hidden_BLD, index_B[:, None, None], axis=1)[:, 0]
    return jnp.where(mask_BL.any(axis=1)[:, None], picked_BD, 0)
