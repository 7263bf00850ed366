"""Attention and its gradient, compiled for one TPU chip with XLA's attention and with the splash kernel.

    python benchmarks/attention.py [--topology v5e:2x2] [--lengths 64 128 256 512] [--json]

Needs the `[aot]` extra and no TPU. Says what a chip holds and moves, nothing of its speed. The kernel is not in the
library: it works on blocks of 128 tokens and, unlike XLA's attention, is not cut over a mesh by the compiler.
"""

import argparse
import json
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
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash_lib
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as mask_lib
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from rich.console import Console
from rich.table import Table

from benchmarks.aot import program
from llmrec_jax.evaluate.report import versions
from llmrec_jax.models.attention import attention

TOKENS, N, H = 32_768, 12, 64  # tokens in all; the heads of BERT-base and GPT-2
BLOCK, LARGEST_BLOCK = 128, 512


def xla(query_BLNH: jax.Array, key_BLNH: jax.Array, value_BLNH: jax.Array, mask_BL: jax.Array) -> jax.Array:
    """The library's attention, causal."""
    return attention(query_BLNH, key_BLNH, value_BLNH, mask_BL, causal=True)


def splash(query_BLNH: jax.Array, key_BLNH: jax.Array, value_BLNH: jax.Array, mask_BL: jax.Array) -> jax.Array:
    """The same by the kernel: tokens padded to its blocks, heads before tokens, padding a segment of its own."""
    L, pad = mask_BL.shape[1], -mask_BL.shape[1] % BLOCK
    query, key, value = (
        jnp.pad(x, ((0, 0), (0, pad), (0, 0), (0, 0))).swapaxes(1, 2)
        for x in (query_BLNH * H**-0.5, key_BLNH, value_BLNH)
    )
    segment_BL = jnp.pad(mask_BL, ((0, 0), (0, pad))).astype(jnp.int32)
    block = min(L + pad, LARGEST_BLOCK)
    sizes = ("block_q", "block_kv", "block_kv_compute", "block_q_dkv", "block_kv_dkv", "block_kv_dkv_compute")
    kernel = splash_lib.make_splash_mha(
        mask_lib.MultiHeadMask([mask_lib.CausalMask((L + pad, L + pad))] * N),
        block_sizes=splash_lib.BlockSizes(**dict.fromkeys(sizes, block), use_fused_bwd_kernel=True),
        head_shards=1,
        q_seq_shards=1,
    )
    out_BNLH = jax.vmap(kernel)(query, key, value, splash_lib.SegmentIds(segment_BL, segment_BL))
    return out_BNLH.swapaxes(1, 2)[:, :L]


def measure(kernel: Any, topology: str, L: int) -> dict[str, Any]:
    """Compile projections, attention and the gradient to the input and all weights; bytes held and moved."""
    B, D = TOKENS // L, N * H

    def loss(x_BLD: jax.Array, kernels_3DD: jax.Array, mask_BL: jax.Array) -> jax.Array:
        heads = ((x_BLD @ kernel_DD).reshape(B, L, N, H) for kernel_DD in kernels_3DD)
        return jnp.square(kernel(*heads, mask_BL).astype(jnp.float32)).sum()

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
    work = f"attention, {kernel.__name__}, {L} tokens, {topology}"
    held = compiled.memory_analysis().temp_size_in_bytes
    return {"work": work, "value": moved / 1e9, "unit": "GB moved", "tokens": L, "temporary_bytes": int(held)}


def main() -> None:
    """Compile all and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measure(kernel, args.topology, length) for length in args.lengths for kernel in (xla, splash)]
    if args.json:
        print(json.dumps({"rows": rows, "versions": versions()}))
        return
    table = Table("work", "GB moved", "temporary GB", title=f"{TOKENS:,} tokens, {N} heads of {H}, bfloat16, causal")
    for row in rows:
        table.add_row(row["work"], f"{row['value']:.2f}", f"{row['temporary_bytes'] / 1e9:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
