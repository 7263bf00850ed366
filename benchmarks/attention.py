"""Attention and its gradient, compiled for one TPU chip with XLA's attention and with the splash kernel.

    python benchmarks/attention.py [--topology v5e:2x2] [--lengths 64 128 ...] [--json]

Needs the `[aot]` extra and no TPU. Gives the memory a chip needs and the bytes it moves, not its speed. The kernel
works on blocks of 128 tokens; lengths for which the library keeps XLA's attention are included for comparison.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no TPU host to ask
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # its lock is for programs that run on one
sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks.aot import program
from benchmarks.report import show
from llmrec_jax.models.attention import attention
from llmrec_jax.models.splash import splash

TOKENS, N, H = 32_768, 12, 64  # tokens in all; the heads of BERT-base and GPT-2
KERNELS: dict[str, Any] = {"xla": attention, "splash": splash}


def measure(kernel: str, topology: str, L: int) -> dict[str, Any]:
    """Compile projections, attention and the gradient to the input and all weights; bytes held and moved."""
    B, D = TOKENS // L, N * H

    def loss(x_BLD: jax.Array, kernels_3DD: jax.Array, mask_BL: jax.Array) -> jax.Array:
        heads = ((x_BLD @ kernel_DD).reshape(B, L, N, H) for kernel_DD in kernels_3DD)
        return jnp.square(KERNELS[kernel](*heads, mask_BL, causal=True).astype(jnp.float32)).sum()

    devices = topologies.get_topology_desc(topology, platform="tpu").devices[:1]
    alone = NamedSharding(Mesh(np.array(devices), ("chip",)), P())
    args = (
        jax.ShapeDtypeStruct((B, L, D), jnp.bfloat16),
        jax.ShapeDtypeStruct((3, D, D), jnp.bfloat16),
        jax.ShapeDtypeStruct((B, L), jnp.bool_),
    )
    traced = jax.jit(jax.grad(loss, (0, 1)), in_shardings=alone, out_shardings=alone).trace(*args)
    compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    moved = program.memory_bytes(program.operations(compiled.as_text()))
    work = f"attention, {kernel}, {L} tokens, {topology}"
    held = compiled.memory_analysis().temp_size_in_bytes
    return {"work": work, "value": moved / 1e9, "unit": "GB moved", "temporary GB": held / 1e9}


def main() -> None:
    """Compile all and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 160, 192, 256, 512])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measure(kernel, args.topology, length) for length in args.lengths for kernel in KERNELS]
    show(rows, f"{TOKENS:,} tokens, {N} heads of {H}, bfloat16, causal", as_json=args.json)


if __name__ == "__main__":
    main()
