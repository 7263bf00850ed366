"""The matrix product of every projection: operands in the compute dtype, float32 accumulation, a custom gradient.

Autodiff computes the same gradients in a form that is slow on CPUs: in bfloat16 the products of the backward pass do
not use the matrix unit (AMX), and the bias's gradient becomes a slow window reduction. On GPU and TPU the only
difference is that gradients of weights are accumulated and kept in float32.

Shape letters: D inputs of a projection, E outputs. `x` and `y` have any number of leading dims.
"""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

PRODUCT = "product"  # name for remat policies


def project(x: jax.Array, kernel_DE: jax.Array, bias_E: jax.Array | None = None) -> jax.Array:
    """`x @ kernel_DE + bias_E`, [..., D] -> [..., E], in the dtype of `x`; kernel and bias may be float32."""
    return checkpoint_name(_project(x, kernel_DE, bias_E), PRODUCT)


@jax.custom_vjp
def _project(x: jax.Array, kernel_DE: jax.Array, bias_E: jax.Array | None) -> jax.Array:
    y = _dot(x, kernel_DE.astype(x.dtype), (x.ndim - 1,), (0,))
    if bias_E is not None:
        y += jnp.expand_dims(bias_E, range(x.ndim - 1))
    return y.astype(x.dtype)


def _forward(x: jax.Array, kernel_DE: jax.Array, bias_E: jax.Array | None) -> tuple[jax.Array, tuple]:
    return _project(x, kernel_DE, bias_E), (x, kernel_DE, bias_E)


def _backward(saved: tuple, y_gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    x, kernel_DE, bias_E = saved
    x_gradient = _dot(y_gradient, kernel_DE.astype(x.dtype), (x.ndim - 1,), (1,)).astype(x.dtype)
    rows = tuple(range(x.ndim - 1))
    bias_gradient = None
    if bias_E is not None:
        bias_gradient = y_gradient.astype(jnp.float32).sum(axis=rows).astype(bias_E.dtype)
    if x.dtype == jnp.float32:  # measured on a CPU: flattening the rows is faster in float32, much slower in bfloat16
        x, y_gradient, rows = x.reshape(-1, x.shape[-1]), y_gradient.reshape(-1, y_gradient.shape[-1]), (0,)
    return x_gradient, _dot(x, y_gradient, rows, rows).astype(kernel_DE.dtype), bias_gradient


_project.defvjp(_forward, _backward)


def _dot(a: jax.Array, b: jax.Array, a_dims: tuple[int, ...], b_dims: tuple[int, ...]) -> jax.Array:
    """float32 result for any operands: bfloat16 would round the sums, and on a CPU not use the matrix unit."""
    return jax.lax.dot_general(a, b, ((a_dims, b_dims), ((), ())), preferred_element_type=jnp.float32)
