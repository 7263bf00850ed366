"""The matrix product of every projection: operands in the compute dtype, sums in float32, gradients written out.

Written out because autodiff's own gradients are the same numbers in a form that XLA's CPU compiler runs slowly: a
GPT-2 step takes a sixth longer in float32, and in bfloat16 the products of the backward pass miss the matrix unit
(AMX) altogether. On GPU and TPU nothing changes but the weights' gradient, which is summed up and kept in float32.

Shape letters: D inputs of a projection, M outputs. `x` and `y` have any number of leading dims.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

PRODUCT = "product"  # what a remat policy may keep


def project(x: jax.Array, kernel_DM: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """`x @ kernel_DM` in the dtype of `x`; fits the `dot_general` argument of `nnx.Linear`."""
    return checkpoint_name(_matmul(x, kernel_DM), PRODUCT)


@jax.custom_vjp
def _matmul(x: jax.Array, kernel_DM: jax.Array) -> jax.Array:
    return _dot(x, kernel_DM, (x.ndim - 1,), (0,)).astype(x.dtype)


def _matmul_forward(x: jax.Array, kernel_DM: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _matmul(x, kernel_DM), (x, kernel_DM)


def _matmul_backward(saved: tuple[jax.Array, jax.Array], y_gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel_DM = saved
    x_gradient = _dot(y_gradient, kernel_DM, (x.ndim - 1,), (1,)).astype(x.dtype)
    if x.dtype == jnp.float32:  # measured on XLA's CPU: float32 is faster over one flat dim, bfloat16 far slower
        x, y_gradient = (array.reshape(-1, array.shape[-1]) for array in (x, y_gradient))
    rows = tuple(range(x.ndim - 1))
    return x_gradient, _dot(x, y_gradient, rows, rows).astype(kernel_DM.dtype)


_matmul.defvjp(_matmul_forward, _matmul_backward)


def _dot(a: jax.Array, b: jax.Array, a_dims: tuple[int, ...], b_dims: tuple[int, ...]) -> jax.Array:
    """float32, whatever the operands: a bfloat16 result would round the sums, and on a CPU miss the matrix unit."""
    return jax.lax.dot_general(a, b, ((a_dims, b_dims), ((), ())), preferred_element_type=jnp.float32)
