"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685) on the queries and values of an encoder's attention.

Only the adapters are trained; the training step selects them (`is_adapter`).

Shape letters: Y layers, D inputs, E outputs, Z rank.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util

from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.layers import Linear
from llmrec_jax.models.matmul import project

ADAPTED = ("query", "value")  # as in the paper


class Adapted(nnx.Module):
    """A projection plus a low-rank product: `x W + b + alpha / rank (x A) B`, with B zero at the start."""

    def __init__(self, linear: Linear, rank: int, alpha: float, *, rngs: nnx.Rngs):
        """Shares the weights of `linear`, which may be stacked over layers."""
        *layers, in_width, out_width = linear.kernel.shape
        self.kernel, self.bias, self.dtype, self.scale = linear.kernel, linear.bias, linear.dtype, alpha / rank
        self.lora_a = nnx.Param(in_width**-0.5 * jax.random.normal(rngs.params(), (*layers, in_width, rank)))
        self.lora_b = nnx.Param(jnp.zeros((*layers, rank, out_width)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] -> [..., E], in the projection's compute dtype."""
        x = x.astype(self.dtype)
        adapted = project(project(x, self.lora_a[...]), self.lora_b[...])
        return project(x, self.kernel[...], self.bias[...]) + self.scale * adapted


def add_adapters(encoder: Bert | Gpt2, rank: int, alpha: float, *, rngs: nnx.Rngs) -> None:
    """Add adapters to every layer of `encoder`, in place. Its outputs do not change until they are trained."""
    attention = encoder.stack.layers.attention
    for name in ADAPTED:
        setattr(attention, name, Adapted(getattr(attention, name), rank, alpha, rngs=rngs))


def is_adapter(path: tuple[str, ...]) -> bool:
    """Whether a parameter belongs to an adapter."""
    return path[-1].startswith("lora_")


def merge_adapters(params: dict[str, Any], alpha: float) -> dict[str, Any]:
    """The parameters of an encoder with `W + alpha / rank A B` instead of `W` and without adapters; host arrays."""
    flat = traverse_util.flatten_dict(params)
    merged = {path: np.asarray(array) for path, array in flat.items() if not is_adapter(path)}
    for *parent, name in flat:
        if name == "lora_a":
            a_YDZ, b_YZE = (np.asarray(flat[(*parent, name)]) for name in ("lora_a", "lora_b"))
            merged[(*parent, "kernel")] = merged[(*parent, "kernel")] + alpha / a_YDZ.shape[-1] * (a_YDZ @ b_YZE)
    return traverse_util.unflatten_dict(merged)
