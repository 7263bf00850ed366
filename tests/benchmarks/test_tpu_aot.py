"""The ahead-of-time benchmark: its counts are right; a small step compiles for a TPU where the compiler is there."""

import importlib.util
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from benchmarks import tpu_aot
from tests.conftest import REPO


def test_matmul_flops_count_scans_as_often_as_they_run_and_recomputation_too():
    layers_LDD, x_BD = jnp.ones((5, 8, 8)), jnp.ones((10, 8))

    def loss(layers_LDD):
        layer = jax.checkpoint(lambda x_BD, w_DD: jnp.tanh(x_BD @ w_DD))
        return jax.lax.scan(lambda x_BD, w_DD: (layer(x_BD, w_DD), None), x_BD, layers_LDD)[0].sum()

    forward = 5 * 2 * 10 * 8 * 8
    assert tpu_aot.matmul_flops(jax.jit(loss).trace(layers_LDD).jaxpr.jaxpr) == forward
    # Forward, forward again, and one product each for the gradient of input and weights.
    assert tpu_aot.matmul_flops(jax.jit(jax.grad(loss)).trace(layers_LDD).jaxpr.jaxpr) == 4 * forward


def test_collectives_are_read_off_the_compiled_program():
    hlo = """
      %a = f32[8,4]{1,0} all-reduce(f32[8,4] %x), replica_groups={}
      %b = (f32[2], bf16[3,5]) all-gather-start(f32[1] %y), dimensions={0}
      %c = f32[7] add(f32[7] %all-reduce.1, f32[7] %z)
    """
    assert tpu_aot.collectives(hlo) == {
        "all-reduce": {"count": 1, "bytes": 8 * 4 * 4},
        "all-gather": {"count": 1, "bytes": 2 * 4 + 3 * 5 * 2},
    }


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no TPU compiler: install the [aot] extra")
def test_a_small_step_compiles_for_a_tpu(tmp_path):
    config = tmp_path / "small.py"
    config.write_text(
        "from llmrec_jax.config import *\n"
        "def config():\n"
        "    return Config(\n"
        "        data=DataConfig(max_history=8, max_tokens=16),\n"
        "        encoder=EncoderConfig(kind='gpt2', num_layers=2, width=64, num_heads=2),\n"
        "        mesh=MeshConfig(fsdp=2),\n"
        "        train=TrainConfig(batch_size=64),\n"
        "    )\n"
    )
    command = [sys.executable, "benchmarks/tpu_aot.py", "--config", config, "--topology", "v5e:2x4", "--json"]
    sizes = ["--texts", "128", "--items", "1000"]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    result = subprocess.run(
        [*command, *sizes], cwd=REPO, env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    row = json.loads(result.stdout)
    assert row["chips"] == 8
    assert 0 < row["hbm_bytes_per_chip"] < 2**30
    assert row["tokens_per_step"] == 128 * 16
    assert row["collectives"]["all-reduce"]["count"] > 0
