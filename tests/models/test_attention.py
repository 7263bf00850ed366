"""The attention function: which kernel it selects, and the arguments and padding that cuDNN gets.

There is no GPU here: the tests pretend that JAX finds cuDNN, and programs are lowered for a GPU but never run on one.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.models import attention as attention_lib
from llmrec_jax.models.attention import attention
from llmrec_jax.models.gpt2 import Gpt2Block
from llmrec_jax.models.layers import Stack, StackConfig

MASK_BL = np.arange(8)[None] < np.array([8, 5, 1, 0])[:, None]


@pytest.fixture
def cudnn(monkeypatch):
    """JAX believes that cuDNN is installed."""
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)


def operands(dtype=jnp.bfloat16, width=8):
    return tuple(jnp.asarray(x, dtype) for x in np.random.default_rng(0).normal(size=(3, 4, 8, 2, width)))


def gradient(*static):
    """Attention's gradient to query, key and value."""
    return jax.grad(lambda *args: jnp.square(attention(*args, *static).astype(jnp.float32)).sum(), (0, 1, 2))


def kernels(fn, *args, platform="cuda"):
    """The cuDNN kernels that a program for `platform` calls, in order."""
    text = jax.jit(fn).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    return re.findall(r"@__cudnn\$fmha(\w+)", text)


@pytest.mark.parametrize("causal", [False, True])
def test_cudnn_runs_in_bfloat16_on_a_gpu_and_nowhere_else(cudnn, causal):
    fn = gradient(causal, "flash")
    assert kernels(fn, *operands(), MASK_BL) == ["Softmax", "SoftmaxBackward"]
    assert kernels(fn, *operands(), MASK_BL, platform="cpu") == []
    assert kernels(fn, *operands(), MASK_BL, platform="tpu") == []


@pytest.mark.parametrize(
    ("dtype", "width", "kernel"),
    [(jnp.float32, 8, "flash"), (jnp.bfloat16, 12, "flash"), (jnp.bfloat16, 264, "flash"), (jnp.bfloat16, 8, "xla")],
    ids=["float32", "odd width", "wide", "not asked for"],
)
def test_what_cudnn_does_not_take_xla_does(cudnn, dtype, width, kernel):
    assert kernels(gradient(True, kernel), *operands(dtype, width), MASK_BL) == []


def test_without_cudnn_the_program_is_the_plain_one():
    plain, asked = (jax.make_jaxpr(gradient(True, kernel))(*operands(), MASK_BL) for kernel in ("xla", "flash"))
    assert str(plain) == str(asked)


@pytest.mark.parametrize("causal", [False, True])
def test_the_lengths_say_what_the_mask_says(causal, monkeypatch):
    """What cuDNN is asked, answered by XLA: the same where there are tokens, finite where there are none."""

    def answers(kernel):
        def total(query, key, value):
            out_BLNH = kernel(query, key, value, MASK_BL, causal=causal)
            return jnp.square(out_BLNH).sum(), out_BLNH

        gradients, out_BLNH = jax.grad(total, (0, 1, 2), has_aux=True)(*operands(jnp.float32))
        return np.stack([out_BLNH, *gradients])

    expected = answers(attention_lib._xla)
    ask = jax.nn.dot_product_attention
    monkeypatch.setattr(jax.nn, "dot_product_attention", lambda *x, **how: ask(*x, **how | {"implementation": "xla"}))
    got = answers(attention_lib._cudnn)
    np.testing.assert_allclose(got[:, :3], expected[:, :3], atol=1e-5)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("remat", ["none", "dots"])
def test_a_choice_of_kernels_costs_a_cpu_nothing(remat, request):
    """A scanned, recomputed stack and its gradient: the same numbers, and no more memory, with cuDNN to choose."""
    x_BLD = jnp.asarray(np.random.default_rng(1).normal(size=(4, 8, 16)), jnp.bfloat16)

    def compiled(kernel):
        config = StackConfig(width=16, num_layers=3, num_heads=2, dtype=jnp.bfloat16, remat=remat, attention=kernel)
        graphdef, params = nnx.split(Stack(Gpt2Block, config, rngs=nnx.Rngs(0)))

        def total(params, x_BLD):
            return jnp.square(nnx.merge(graphdef, params)(x_BLD, MASK_BL).astype(jnp.float32)).sum()

        fn = jax.value_and_grad(total)
        return kernels(fn, params, x_BLD), jax.jit(fn).lower(params, x_BLD).compile(), params

    none, plain, params = compiled("xla")
    request.getfixturevalue("cudnn")
    some, choosing, _ = compiled("flash")
    assert none == []
    assert set(some) == {"Softmax", "SoftmaxBackward"}
    assert choosing.memory_analysis().temp_size_in_bytes <= plain.memory_analysis().temp_size_in_bytes
    jax.tree.map(np.testing.assert_array_equal, choosing(params, x_BLD), plain(params, x_BLD))
