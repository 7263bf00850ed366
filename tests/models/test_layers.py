"""Layers that replace those of JAX give the same results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llmrec_jax.models.layers import gelu


@pytest.mark.parametrize(("dtype", "rounding"), [(jnp.float32, 1e-6), (jnp.bfloat16, 2**-7)])
def test_gelu_and_its_derivative_are_those_of_jax(dtype, rounding):
    largest = float(jnp.finfo(dtype).max)
    x_N = jnp.asarray([*np.linspace(-8, 8, 401), -largest, -1e4, 1e4, largest], dtype)
    expected = jax.vmap(jax.value_and_grad(lambda x: jax.nn.gelu(x, approximate=False)))(x_N.astype(jnp.float32))
    got = gelu(x_N), *jax.vmap(jax.value_and_grad(gelu))(x_N)
    for values_N, expected_N in zip(got, (expected[0], *expected), strict=True):
        assert values_N.dtype == dtype
        values_N = np.asarray(values_N, np.float32)
        assert np.isfinite(values_N).all()
        np.testing.assert_allclose(values_N, expected_N, rtol=rounding, atol=rounding)
