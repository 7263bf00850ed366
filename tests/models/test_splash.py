"""Splash attention equals XLA's attention, on one device and sharded over a mesh; which programs use it.

There is no TPU here: the kernel is interpreted, and programs are lowered for a TPU but never run on one.
"""

import functools
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from llmrec_jax.config import MeshConfig
from llmrec_jax.models import attention as attention_lib
from llmrec_jax.models import splash as splash_lib
from llmrec_jax.models.attention import attention
from llmrec_jax.parallel import ROWS, make_mesh
from tests.conftest import REPO


def operands(B, L, N, H, dtype=jnp.bfloat16, mesh=None):
    """Query, key, value and a mask in which the last row has no token; cut over the mesh as a step cuts them."""
    heads = (jnp.asarray(x, dtype) for x in np.random.default_rng(0).normal(size=(3, B, L, N, H)))
    mask_BL = jnp.asarray(np.arange(L) < np.linspace(L, 0, B, dtype=int)[:, None])
    if mesh is None:
        return (*heads, mask_BL)
    cut = NamedSharding(mesh, P(*ROWS, None, "tensor"))
    return (*(jax.device_put(x, cut) for x in heads), jax.device_put(mask_BL, NamedSharding(mesh, ROWS)))


def answers(fn, query, key, value, mask_BL, **how):
    """The gradient to query, key and value of what tokens get; what tokens get, and what all get."""
    is_token_BL11 = mask_BL[:, :, None, None]

    def total(query, key, value):
        out_BLNH = fn(query, key, value, mask_BL, **how)
        tokens_BLNH = jnp.where(is_token_BL11, out_BLNH, 0)
        return jnp.square(tokens_BLNH.astype(jnp.float32)).sum(), (tokens_BLNH, out_BLNH)

    gradients, (tokens_BLNH, out_BLNH) = jax.grad(total, (0, 1, 2), has_aux=True)(query, key, value)
    return (*gradients, tokens_BLNH), out_BLNH


def lowered(platform, *args, kernel="flash"):
    """The program for `platform` of attention and its gradient."""
    fn = functools.partial(answers, attention, causal=True, kernel=kernel)
    return jax.jit(fn).trace(*args).lower(lowering_platforms=(platform,)).as_text()


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))


@pytest.mark.parametrize("is_cut", [False, True], ids=["alone", "on a mesh"])
@pytest.mark.parametrize("causal", [False, True])
def test_the_kernel_says_what_xla_says(causal, is_cut, mesh):
    """Texts of 260 tokens are three blocks; padding, and a row that is nothing else, harms none."""
    args = operands(4, 260, 2, 8, jnp.float32, mesh if is_cut else None)
    interpreted = jax.jit(functools.partial(answers, splash_lib.splash, causal=causal, interpret=True))
    got, out_BLNH = interpreted(*args)
    expected, _ = jax.jit(functools.partial(answers, attention_lib._xla, causal=causal))(*args)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, expected)
    assert np.isfinite(out_BLNH).all()


def test_a_program_for_a_tpu_calls_it_and_no_other_does():
    args = operands(4, 128, 2, 8)
    assert lowered("tpu", *args).count("tpu_custom_call") == 2  # forward and backward
    assert lowered("tpu", *args, kernel="xla").count("tpu_custom_call") == 0
    for platform in ("cpu", "cuda"):
        assert "tpu_custom_call" not in lowered(platform, *args)


def test_on_a_mesh_each_device_is_given_its_own_rows_and_heads(mesh):
    calls = [line for line in lowered("tpu", *operands(8, 128, 6, 8, mesh=mesh)).splitlines() if "tpu_custom" in line]
    assert len(calls) == 2
    for call in calls:
        assert "tensor<2x3x128x8xbf16>" in call
        assert "tensor<8x6x" not in call


@pytest.mark.parametrize(
    ("shape", "is_taken"),
    [
        ((8, 128, 6, 64), True),
        ((8, 192, 6, 64), True),
        ((8, 64, 6, 64), False),  # mostly padding
        ((8, 136, 6, 64), False),
        ((6, 128, 6, 64), False),  # no even shares of rows
        ((8, 128, 3, 64), False),  # no even shares of heads
        ((8, 128, 6, 192), False),
    ],
)
def test_what_it_does_not_take_xla_does(shape, is_taken, mesh):
    query, mask_BL = jax.device_put(
        (jnp.zeros(shape, jnp.bfloat16), jnp.ones(shape[:2], bool)), NamedSharding(mesh, P())
    )
    assert splash_lib.takes(query, mask_BL) == is_taken
    assert not splash_lib.takes(query.astype(jnp.float32), mask_BL)
    assert not splash_lib.takes(query, mask_BL.astype(jnp.int32))  # segments


ON_EIGHT_CHIPS = """
import re, jax, jax.numpy as jnp, numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from llmrec_jax.models.attention import attention
from llmrec_jax.parallel import AXES, ROWS

chips = np.array(topologies.get_topology_desc("v5e:2x4", platform="tpu").devices).reshape(2, 2, 2)
mesh = Mesh(chips, AXES, axis_types=(AxisType.Auto,) * 3)
heads = NamedSharding(mesh, P(*ROWS, None, "tensor"))
x_BLNH = jax.ShapeDtypeStruct((32, 256, 6, 64), jnp.bfloat16, sharding=heads)
mask_BL = jax.ShapeDtypeStruct((32, 256), jnp.bool_, sharding=NamedSharding(mesh, ROWS))
loss = lambda *args: jnp.square(attention(*args, True, "flash").astype(jnp.float32)).sum()
traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(x_BLNH, x_BLNH, x_BLNH, mask_BL)
text = traced.lower(lowering_platforms=("tpu",)).compile().as_text()
for name, result in re.findall(r"%(splash_\\w+)\\S* = (\\(.*?\\)) custom-call", text):
    print(name, *re.findall(r"bf16\\[[\\d,]*\\]", result))
print(*re.findall(r"all-gather|all-to-all|collective-permute", text))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no TPU compiler: install the [aot] extra")
def test_compiled_for_eight_chips_each_runs_it_on_its_share():
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    command = [sys.executable, "-c", ON_EIGHT_CHIPS]
    result = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=300, check=True)
    forward, backward, collectives = result.stdout.split("\n")[:3]
    assert forward.split() == ["splash_mha_fwd_segmented_residuals", "bf16[8,3,256,64]"]
    assert backward.split()[0] == "splash_mha_dkv_segmented_no_residuals"
    assert "bf16[8,3,256,64]" in backward
    assert collectives == ""  # nothing travels
