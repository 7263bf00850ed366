"""Splash attention: JAX's flash attention for TPUs, on the mesh of the operands' sharding.

`attention` decides when to call it; this file checks the operands and calls the kernel.

Shape letters: those of `types`.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel_lib
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as mask_lib
from jax.sharding import PartitionSpec as P

LANES, LARGEST_BLOCK = 128, 512  # the kernel's blocks of tokens must be multiples of a TPU's lanes
BLOCKS = ("block_q", "block_kv", "block_kv_compute", "block_q_dkv", "block_kv_dkv", "block_kv_dkv_compute")


def takes(query_BLHW: jax.Array, mask_BL: jax.Array) -> bool:
    """Whether the kernel supports the operands and would not mostly compute padding."""
    B, L, H, W = query_BLHW.shape
    mesh, rows, heads = _mesh_of(query_BLHW)
    is_typed = query_BLHW.dtype == jnp.bfloat16 and mask_BL.dtype == bool and (W <= LANES or W % LANES == 0)
    is_long = L >= LANES and -L % LANES <= L / 3  # else XLA's attention moves fewer bytes: benchmarks/attention.py
    return is_typed and is_long and B % _size(mesh, rows) == 0 and H % _size(mesh, heads) == 0


def splash(
    query_BLHW: jax.Array,
    key_BLHW: jax.Array,
    value_BLHW: jax.Array,
    mask_BL: jax.Array,
    *,
    causal: bool,
    interpret: bool = False,
) -> jax.Array:
    """`attention` [B, L, H, W] with the kernel; results at masked tokens are finite but meaningless.

    XLA cannot shard a kernel, so a shard_map runs it on each device's rows and heads. With `interpret` it runs on any
    platform, slowly.
    """
    run = functools.partial(_on_device, causal=causal, interpret=interpret)
    mesh, rows, heads = _mesh_of(query_BLHW)
    if rows or heads:
        spec = P(rows, None, heads)
        run = jax.shard_map(run, mesh=mesh, in_specs=(spec, spec, spec, P(rows)), out_specs=spec, check_vma=False)
    return run(query_BLHW, key_BLHW, value_BLHW, mask_BL)


def _mesh_of(x: jax.Array) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """The mesh, the axes that shard rows and the axis (the last) that shards heads; no axes in a per-device program."""
    mesh = jax.typeof(x).sharding.mesh
    axes = () if mesh.manual_axes else mesh.axis_names
    return mesh, axes[:-1], axes[-1:]


def _size(mesh: Any, axes: tuple[str, ...]) -> int:
    return math.prod(mesh.shape[axis] for axis in axes)


def _on_device(
    query_BLHW: jax.Array,
    key_BLHW: jax.Array,
    value_BLHW: jax.Array,
    mask_BL: jax.Array,
    *,
    causal: bool,
    interpret: bool,
) -> jax.Array:
    _, L, H, W = query_BLHW.shape
    pad = -L % LANES
    query_BHLW, key_BHLW, value_BHLW = (
        jnp.pad(x, ((0, 0), (0, pad), (0, 0), (0, 0))).swapaxes(1, 2)
        for x in (query_BLHW * W**-0.5, key_BLHW, value_BLHW)
    )
    # Text and padding are two segments, so every token has keys.
    segment_BL = jnp.pad(mask_BL, ((0, 0), (0, pad))).astype(jnp.int32)
    mask = (mask_lib.CausalMask if causal else mask_lib.FullMask)((L + pad, L + pad))
    blocks = dict.fromkeys(BLOCKS, math.gcd(L + pad, LARGEST_BLOCK))
    kernel = kernel_lib.make_splash_mha(
        mask_lib.MultiHeadMask([mask] * H),
        block_sizes=kernel_lib.BlockSizes(**blocks, use_fused_bwd_kernel=True),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    segments = kernel_lib.SegmentIds(segment_BL, segment_BL)
    return jax.vmap(kernel)(query_BHLW, key_BHLW, value_BHLW, segments).swapaxes(1, 2)[:, :L]
